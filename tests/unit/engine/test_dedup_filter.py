"""The deduplication filter: what was added is always recognised, what was not is seldom, and memory stays small."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgauge.engine import dedup_filter
from streamgauge.engine.dedup_filter import FILTER_FORMAT, DedupFilter, FilterImage, Segment

pytestmark = pytest.mark.usefixtures("both_ways")

SMALL = 2**10


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 1,024 to 4,096 hashes, so that a test meets many of them."""
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MIN", SMALL)
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_GROWN", 2 * SMALL)
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MAX", 4 * SMALL)


def add(into: DedupFilter | Segment, hashes: NDArray[np.uint64], last_ms: int, offsets: range = range(1)) -> None:
    into.add(hashes, last_ms, offsets.start, offsets.stop)


def may_contain(filter: DedupFilter, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Whether any segment names it."""
    answer = np.zeros(len(hashes), np.bool_)
    for each in filter.sought(hashes):
        answer[each.places] = True
    return answer


def random_hashes(count: int, seed: int) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


hash_lists = st.lists(st.integers(0, 2**64 - 1), max_size=60)


@given(st.lists(hash_lists, max_size=6), hash_lists)
def test_what_was_added_is_always_recognised(added: list[list[int]], others: list[int]) -> None:
    segment = Segment(64)
    whole = DedupFilter()
    for at_ms, group in enumerate(added):
        add(segment, np.array(group, np.uint64), at_ms)
        add(whole, np.array(group, np.uint64), at_ms)
    flat = [number for group in added for number in group]
    asked = np.array(flat + others, np.uint64)
    for answer in (segment.may_contain(asked), may_contain(whole, asked)):
        assert len(answer) == len(asked)
        assert answer[: len(flat)].all()
    assert whole.count == segment.count == len(flat)


@pytest.mark.usefixtures("small_segments")
@pytest.mark.parametrize("group", [1, 100, SMALL - 1, SMALL, SMALL + 1, 50_000])
def test_no_hash_is_lost_between_segments(group: int) -> None:
    hashes = random_hashes(20_000 if group > 1 else 3_000, seed=group)
    filter = DedupFilter()
    for start in range(0, len(hashes), group):
        add(filter, hashes[start : start + group], start)
    assert may_contain(filter, hashes).all()
    assert filter.count == len(hashes)


def test_an_empty_filter_contains_nothing() -> None:
    assert not may_contain(DedupFilter(), random_hashes(1_000, seed=1)).any()
    assert may_contain(DedupFilter(), np.empty(0, np.uint64)).tolist() == []
    assert DedupFilter().size_bytes == 0


@pytest.mark.parametrize("capacity", [2**16, 10**5, 2**20])
def test_a_full_segment_is_wrong_about_less_than_one_stranger_in_a_thousand(capacity: int) -> None:
    segment = Segment(capacity)
    add(segment, random_hashes(capacity, seed=7), 0)
    wrong = segment.may_contain(random_hashes(200_000, seed=8)).mean()
    assert wrong < 0.001


@pytest.mark.usefixtures("small_segments")
def test_segments_are_as_good_when_hashes_come_in_ascending_order() -> None:
    """As a store gives them, with the end of a segment somewhere among them."""
    expected = 32 * SMALL
    filter = DedupFilter(expected)
    add(filter, np.sort(random_hashes(expected, seed=7)), 0)
    strangers = random_hashes(400_000, seed=8)
    assert [len(each.places) < 0.001 * len(strangers) for each in filter.sought(strangers)] == [True] * 8


@pytest.mark.usefixtures("small_segments")
def test_a_rebuilt_filter_is_one_segment_for_all_that_was_expected() -> None:
    expected = 3 * SMALL
    filter = DedupFilter(expected)
    add(filter, random_hashes(expected, seed=3), 0)
    assert filter.size_bytes == Segment(expected).size_bytes


@pytest.mark.usefixtures("small_segments")
def test_memory_is_at_most_two_and_a_half_bytes_for_each_hash_when_full() -> None:
    filter = DedupFilter()
    # Segments double from 1 to 4 times the smallest, then stay: full after 1, 3, 7, 11, 15...
    for seed, size in enumerate([1, 2, 4, 4, 4]):
        add(filter, random_hashes(size * SMALL, seed), 0)
        assert filter.size_bytes <= 2.5 * filter.count


def test_memory_does_not_grow_with_what_is_asked() -> None:
    filter = DedupFilter()
    add(filter, random_hashes(10, seed=1), 0)
    before = filter.size_bytes
    may_contain(filter, random_hashes(100_000, seed=2))
    assert filter.size_bytes == before


@pytest.mark.usefixtures("small_segments")
def test_forgetting_drops_only_what_is_old() -> None:
    filter = DedupFilter()
    groups = [random_hashes(SMALL, seed) for seed in range(8)]
    for number, group in enumerate(groups):
        add(filter, group, 1_000 + number)
    sizes = [filter.size_bytes]
    for before_ms in (0, 1_000, 1_003, 1_007):
        filter.forget(before_ms)
        for number, group in enumerate(groups):
            if 1_000 + number >= before_ms:
                assert may_contain(filter, group).all(), (before_ms, number)
        sizes.append(filter.size_bytes)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] == sizes[0]  # a claim of exactly that moment is kept
    filter.forget(2_000)
    assert (filter.count, filter.size_bytes) == (0, 0)
    assert not may_contain(filter, groups[-1]).any()


@pytest.mark.usefixtures("small_segments")
def test_a_segment_is_kept_as_long_as_its_latest_claim() -> None:
    filter = DedupFilter()
    old, new = random_hashes(10, seed=1), random_hashes(10, seed=2)
    add(filter, old, 1_000)
    add(filter, new, 2_000)
    filter.forget(1_500)
    assert may_contain(filter, new).all()


@pytest.mark.usefixtures("small_segments")
def test_a_filter_that_forgot_everything_can_be_filled_again() -> None:
    filter = DedupFilter()
    add(filter, random_hashes(5 * SMALL, seed=1), 1_000)
    filter.forget(5_000)
    again = random_hashes(5 * SMALL, seed=2)
    add(filter, again, 6_000)
    assert may_contain(filter, again).all()


def test_a_hash_sets_the_bits_that_filters_were_kept_with() -> None:
    """Whoever changes them raises FILTER_FORMAT and these numbers: else a kept filter would exclude what it has."""
    segment = Segment(2**10)
    add(segment, np.sort(np.arange(1, 101, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)), 0)
    assert (FILTER_FORMAT, zlib.crc32(segment.image().blocks.data)) == (3, 1915290558)


@pytest.mark.usefixtures("small_segments")
def test_a_filter_made_of_its_image_goes_on_as_the_filter_would() -> None:
    hashes = random_hashes(9 * SMALL, seed=4)
    filter = DedupFilter(since_ms=7)
    add(filter, hashes[: 5 * SMALL], 1_000)
    image = FilterImage(0, 0, filter.since_ms, filter.images())
    taken_up = DedupFilter.of(image)
    for each in (filter, taken_up):
        add(each, hashes[5 * SMALL :], 2_000)
        each.forget(1_001)
    assert may_contain(taken_up, hashes).tolist() == may_contain(filter, hashes).tolist()
    assert (taken_up.count, taken_up.since_ms) == (filter.count, 1_001)
    assert [each.number for each in taken_up.images()] == [each.number for each in filter.images()] == [2, 3]


@pytest.mark.usefixtures("small_segments")
def test_no_two_segments_of_a_filter_have_one_number() -> None:
    filter = DedupFilter()
    numbers = []
    for at in range(5):
        add(filter, random_hashes(10, seed=at), at)
        numbers += [each.number for each in filter.images()]
        filter.forget(at + 1)
    assert numbers == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("small_segments")
def test_many_that_are_expected_become_equal_segments() -> None:
    expected = 9 * SMALL
    filter = DedupFilter(expected)
    for start in range(0, expected, 1_000):
        add(filter, random_hashes(min(1_000, expected - start), seed=start), 0)
    assert [each.capacity for each in filter.images()] == [3 * SMALL] * 3
    add(filter, random_hashes(1, seed=1), 1)
    assert [each.capacity for each in filter.images()] == [3 * SMALL] * 3 + [4 * SMALL]


@pytest.mark.usefixtures("small_segments")
def test_behind_a_small_first_segment_there_are_few_large_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_GROWN", 4 * SMALL)
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MAX", 16 * SMALL)
    filter = DedupFilter()
    for seed in range(30):
        add(filter, random_hashes(SMALL, seed), seed)
    assert [each.capacity // SMALL for each in filter.images()] == [1, 4, 8, 16, 16]


def test_each_block_lies_in_one_line_of_the_cache() -> None:
    segments = [Segment(capacity) for capacity in (1, 1_000, 100_000)]
    for each in segments:
        add(each, random_hashes(each.capacity, seed=1), 0)
    # A full segment shows its blocks themselves.
    assert [each.image().blocks.ctypes.data % 64 for each in segments] == [0, 0, 0]


@pytest.mark.usefixtures("small_segments")
def test_what_was_added_is_sought_where_it_stands_in_the_log() -> None:
    filter = DedupFilter()
    groups = [random_hashes(SMALL // 2, seed) for seed in range(8)]
    for number, group in enumerate(groups):
        add(filter, group, number, range(number * 1_000, number * 1_000 + 700))
    taken_up = DedupFilter.of(FilterImage(0, 0, 0, filter.images()))
    for each in (filter, taken_up):
        for number, group in enumerate(groups):
            places = [
                found.places
                for found in each.sought(group)
                if found.first_offset <= number * 1_000 and number * 1_000 + 700 <= found.next_offset
            ]
            assert np.unique(np.concatenate(places)).tolist() == list(range(len(group)))
        # The first segment has two groups, the second four.
        ranges = [(found.first_offset, found.next_offset) for found in each.sought(np.concatenate(groups))]
        assert ranges == [(0, 1_700), (2_000, 5_700), (6_000, 7_700)]
