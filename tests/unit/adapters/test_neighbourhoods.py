"""Where several of a sample stand close together in the log, others are looked for; elsewhere nothing is read."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.adapters.clickhouse.claim_lookup import neighbourhoods


def test_what_stands_close_together_is_one_neighbourhood_read_a_little_beyond() -> None:
    offsets = np.array([1_000, 1_010, 1_030, 1_100, 9_000, 9_001, 9_002, 9_003], np.uint64)
    assert neighbourhoods(offsets, 10) == [(970, 1_130), (8_970, 9_033)]


def test_the_log_begins_at_0() -> None:
    assert neighbourhoods(np.array([0, 1, 2, 3], np.uint64), 100) == [(0, 303)]


def test_few_or_scattered_ones_are_no_neighbourhood() -> None:
    assert neighbourhoods(np.array([], np.uint64), 10) == []
    assert neighbourhoods(np.array([1, 2, 3], np.uint64), 10) == []
    assert neighbourhoods(np.arange(0, 100_000, 161, dtype=np.uint64), 10) == []


def test_where_most_was_not_sent_again_nothing_is_read() -> None:
    assert neighbourhoods(np.arange(0, 100_000, 30, dtype=np.uint64), 10) == [(0, 100_020)]
    assert neighbourhoods(np.arange(0, 100_000, 50, dtype=np.uint64), 10) == []


@given(st.lists(st.integers(0, 10**6), max_size=200, unique=True), st.integers(1, 10**4))
def test_what_is_read_is_bounded_by_how_many_are_asked_for(places: list[int], spacing: int) -> None:
    offsets = np.array(sorted(places), np.uint64)
    found = neighbourhoods(offsets, spacing)
    assert sum(last - first for first, last in found) <= 4 * spacing * len(offsets)
    assert all(before[0] < before[1] for before in found)
    inside = sum(any(first <= place <= last for first, last in found) for place in places)
    assert inside >= 4 * len(found)
