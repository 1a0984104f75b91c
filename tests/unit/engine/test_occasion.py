"""Occasions: the first time, and then at most once in a while."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from streamgauge.engine.occasion import Occasion

MINUTE_MS = 60_000


@pytest.fixture
def occasion() -> Occasion:
    made = Occasion(MINUTE_MS)
    assert made.is_due(0)  # the first time it is asked, whenever that is
    return made


def test_it_is_due_again_when_the_interval_has_passed(occasion: Occasion) -> None:
    moments_ms = (0, 1, MINUTE_MS - 1, MINUTE_MS, MINUTE_MS + 1, 2 * MINUTE_MS - 1, 2 * MINUTE_MS)
    assert [occasion.is_due(each) for each in moments_ms] == [False, False, False, True, False, False, True]


def test_asking_when_it_is_not_due_does_not_put_it_off(occasion: Occasion) -> None:
    assert not any(occasion.is_due(each) for each in range(0, MINUTE_MS, 1_000))
    assert occasion.is_due(MINUTE_MS)


def test_a_clock_that_was_set_back_does_not_put_it_off(occasion: Occasion) -> None:
    assert occasion.is_due(1_000 * MINUTE_MS)
    assert occasion.is_due(500 * MINUTE_MS)
    assert not occasion.is_due(500 * MINUTE_MS + 1)


def test_of_many_who_ask_at_once_one_is_told_to_do_it(occasion: Occasion) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(lambda _: occasion.is_due(MINUTE_MS), range(256))) == 1
