"""Counting rules: an event is judged by those that held when it was received."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.counting_rules import CountingRules, DatedRules, RulesHistory

HOUR_MS = 3_600_000


def rules(window_ms: int, *, accepts: bool = False) -> CountingRules:
    return CountingRules(accept_unknown_customers=accepts, dedup_window_ms=window_ms)


HISTORY = RulesHistory(
    [DatedRules(0, rules(100)), DatedRules(1_000, rules(500, accepts=True)), DatedRules(2_000, rules(50))]
)


@pytest.mark.parametrize(
    ("at_ms", "window_ms"), [(-1, 100), (0, 100), (999, 100), (1_000, 500), (1_999, 500), (2_000, 50)]
)
def test_rules_hold_from_their_stamp_on(at_ms: int, window_ms: int) -> None:
    moments = np.array([at_ms], np.int64)
    assert HISTORY.at(at_ms).dedup_window_ms == window_ms
    assert HISTORY.claims_from_ms(moments).tolist() == [at_ms - window_ms + 1]
    assert HISTORY.accepts_unknown_customers(moments).tolist() == [window_ms == 500]


def test_the_first_rules_hold_from_the_beginning_whatever_their_stamp_says() -> None:
    assert RulesHistory([DatedRules(7, rules(3))]).at(0) == rules(3)


def test_without_rules_there_is_no_history() -> None:
    with pytest.raises(ValueError, match="always"):
        RulesHistory([])


@given(st.lists(st.integers(1, 900), min_size=1, max_size=4), st.integers(0, 3_000))
def test_what_is_forgotten_is_asked_for_by_no_event_to_come(windows_ms: list[int], at_ms: int) -> None:
    history = RulesHistory([DatedRules(700 * place, rules(each)) for place, each in enumerate(windows_ms)])
    later = np.arange(at_ms, at_ms + 4_000, dtype=np.int64)
    assert history.looks_back_to_ms(at_ms) == history.claims_from_ms(later).min()


def test_rules_are_written_as_the_settings_are() -> None:
    assert str(rules(24 * HOUR_MS, accepts=True)) == "unknown_customers=accept dedup_window_hours=24"
    assert str(CountingRules()) == "unknown_customers=reject dedup_window_hours=840"
