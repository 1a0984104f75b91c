"""The compiled functions that applying is made of: what they find is what NumPy and Python find, and columns that do
not fit together are refused, wherever they would lead."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge import native

pytestmark = pytest.mark.skipif(native.compiled is None, reason="the compiled part is not built here")
compiled: Any = native.compiled

NOTHING = np.empty(0, np.int64)


def offsets_of(texts: list[bytes]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.cumsum([0, *map(len, texts)]).astype(np.int32)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=60))
def test_rows_are_ordered_by_hash_and_equal_ones_stay_in_order(hashes: list[int]) -> None:
    order = np.empty(len(hashes), np.int64)
    compiled.hash_order(np.array(hashes, np.uint64), order)
    assert order.tolist() == sorted(range(len(hashes)), key=lambda row: hashes[row])


def shaped(shape: str, count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    random = np.random.default_rng(count)
    some = random.integers(0, 2**64 - 1, count, np.uint64)
    match shape:
        case "as hashes are":
            return some
        case "few":
            return some % np.uint64(7)
        case "one":
            return np.full(count, 2**63, np.uint64)
        case "two far apart":
            return (some & np.uint64(1)) << np.uint64(63)
        case "many with the same high bits":
            return (some & np.uint64(2**20 - 1)) | (some & np.uint64(1) << np.uint64(63))
        case "one bucket is large":
            return np.where(random.random(count) < 0.4, some >> np.uint64(40), some)
    raise AssertionError(shape)


SHAPES = (
    "as hashes are",
    "few",
    "one",
    "two far apart",
    "many with the same high bits",
    "one bucket is large",
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 2, 31, 95, 96, 97, 193, 5_000, 200_000])
def test_rows_are_ordered_however_many_there_are_and_whatever_they_share(shape: str, count: int) -> None:
    hashes = shaped(shape, count)
    order = np.empty(count, np.int64)
    compiled.hash_order(hashes, order)
    assert (order == np.argsort(hashes, kind="stable")).all()


@pytest.mark.parametrize("bits", range(1, 24))
def test_rows_are_ordered_however_many_bits_differ(bits: int) -> None:
    hashes = shaped("as hashes are", 5_000) % np.uint64(2**bits)
    order = np.empty(len(hashes), np.int64)
    compiled.hash_order(hashes, order)
    assert (order == np.argsort(hashes, kind="stable")).all()


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"a", b"b", b""]), max_size=40), st.randoms())
def test_texts_are_numbered_by_their_first_occurrence(texts: list[bytes], random: Any) -> None:
    places = [random.randrange(-1, len(texts)) for _ in range(2 * len(texts))]
    numbers = np.empty(len(places), np.int32)
    firsts = compiled.distinct_texts(offsets_of(texts), b"".join(texts), np.array(places, np.int64), numbers)
    known: dict[bytes, int] = {}
    expected = [-1 if place < 0 else known.setdefault(texts[place], len(known)) for place in places]
    assert numbers.tolist() == expected
    assert [texts[place] for place in np.frombuffer(firsts, np.int64)] == list(known)


@pytest.mark.parametrize("distinct", [1, 511, 512, 513, 5_000])
def test_numbers_are_numbered_however_many_there_are(distinct: int) -> None:
    given_numbers = np.random.default_rng(distinct).integers(0, distinct, 3 * distinct) * 2**40
    numbers = np.empty(len(given_numbers), np.int32)
    firsts = np.frombuffer(compiled.distinct_numbers(given_numbers, numbers), np.int64)
    assert (given_numbers[firsts][numbers] == given_numbers).all()
    assert len(set(given_numbers[firsts].tolist())) == len(firsts)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-(2**127), 2**127 - 1)), max_size=40))
def test_sums_of_groups_are_exact_whatever_the_values(rows: list[tuple[int, int]]) -> None:
    values = b"".join(value.to_bytes(16, "little", signed=True) for _, value in rows)
    counts, sums = np.empty(4, np.int64), bytearray(4 * 32)
    compiled.sum_by_group(np.array([group for group, _ in rows], np.int32), values, counts, sums)
    for group in range(4):
        own = [value for number, value in rows if number == group]
        assert counts[group] == len(own)
        assert int.from_bytes(sums[32 * group : 32 * group + 32], "little", signed=True) == sum(own)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-5, 5)), max_size=40))
def test_of_a_group_the_latest_and_the_last_are_found(rows: list[tuple[int, int]]) -> None:
    latest, last = np.empty(4, np.int64), np.empty(4, np.int64)
    groups, times = (np.array(each) for each in zip(*rows, strict=True)) if rows else (NOTHING, NOTHING)
    compiled.latest_by_group(groups.astype(np.int32), times.astype(np.int64), latest, last)
    for group in range(4):
        own = [row for row, (number, _) in enumerate(rows) if number == group]
        assert last[group] == (own[-1] if own else -1)
        assert latest[group] == (max(own, key=lambda row: (rows[row][1], row)) if own else -1)


@given(st.lists(st.lists(st.integers(0, 3), max_size=4, unique=True), max_size=10), st.integers(-1, 3), st.randoms())
def test_the_entry_with_the_key_of_the_meter_is_found(payloads: list[list[int]], wanted: int, random: Any) -> None:
    meters = [random.randrange(-1, 2) for _ in payloads]
    found = np.empty(len(payloads), np.int64)
    offsets = np.cumsum([0, *map(len, payloads)]).astype(np.int32)
    keys = np.array([key for payload in payloads for key in payload], np.int32)
    key_of_meter = [wanted, 3]
    compiled.entries(offsets, keys, np.array(meters, np.int32), np.array(key_of_meter, np.int32), found)
    for row, (payload, meter) in enumerate(zip(payloads, meters, strict=True)):
        key = key_of_meter[meter] if meter >= 0 else -1
        assert found[row] == (offsets[row] + payload.index(key) if key in payload else -1)


def test_values_at_places_are_read_and_the_caller_names_the_codes() -> None:
    texts = [b"1.5", b"x", b"-0.000000000000001", b"1" * 16]
    values, code, canonical = np.empty((5, 2), np.int64), np.empty(5, np.uint8), np.empty(5, np.uint8)
    places = np.array([2, 0, -1, 1, 3], np.int64)
    compiled.parse_decimals(offsets_of(texts), b"".join(texts), places, bytes([7, 8, 9]), values, code, canonical)
    numbers = [int.from_bytes(each.tobytes(), "little", signed=True) for each in values]
    assert [Decimal(each).scaleb(-15) for each in numbers] == [Decimal("-1e-15"), Decimal("1.5"), 0, 0, 0]
    assert code.tolist() == [0, 0, 9, 7, 8]
    assert canonical.tolist() == [0, 1, 0, 0, 0]


def int32(*numbers: int) -> Any:
    return np.array(numbers, np.int32)


def int64(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


WRONG = {
    "hashes: a tenant that is not listed": ("hash_texts", int32(0, 1), b"a", int32(1), int64(0), bytearray(8)),
    "hashes: offsets beyond the data": ("hash_texts", int32(0, 2), b"a", int32(0), int64(0), bytearray(8)),
    "hashes: offsets that fall": ("hash_texts", int32(1, 0), b"a", int32(0), int64(0), bytearray(8)),
    "hashes: no offset": ("hash_texts", b"", b"a", b"", int64(0), bytearray(0)),
    "hashes: too little room": ("hash_texts", int32(0, 1), b"a", int32(0), int64(0), bytearray(4)),
    "order: too little room": ("hash_order", int64(1, 2), bytearray(8)),
    "filter: half a block": ("filter_add", bytearray(32), int64(1)),
    "filter: no block": ("filter_add", bytearray(0), int64(1)),
    "filter: too little room": ("filter_test", bytearray(64), int64(1, 2), bytearray(1)),
    "fates: a row that is not there": ("settle", int64(1), int64(0), b"\0", b"\0", bytearray(1)),
    "fates: a negative row": ("settle", int64(-1), int64(0), b"\0", b"\0", bytearray(1)),
    "fates: groups that fall": ("settle", int64(0, 1), int64(1, 0), b"\0\0", b"\0\0", bytearray(2)),
    "fates: groups beyond the rows": ("settle", int64(0), int64(5), b"\0", b"\0", bytearray(1)),
    "fates: fewer codes than rows": ("settle", int64(0), int64(0), b"", b"\0", bytearray(1)),
    "entries: beyond the keys": ("entries", int32(0, 2), int32(0), int32(0), int32(0), bytearray(8)),
    "entries: a meter that is not there": ("entries", int32(0, 1), int32(0), int32(1), int32(0), bytearray(8)),
    "entries: offsets that fall": ("entries", int32(1, 0), int32(0), int32(0), int32(0), bytearray(8)),
    "texts: a place beyond them": ("distinct_texts", int32(0, 1), b"a", int64(1), bytearray(4)),
    "decimals: a place beyond the texts": (
        *("parse_decimals", int32(0, 1), b"1", int64(1)),
        *(b"\1\2\3", bytearray(16), bytearray(1), bytearray(1)),
    ),
    "decimals: too few codes": (
        *("parse_decimals", int32(0, 1), b"1", int64(0)),
        *(b"\1", bytearray(16), bytearray(1), bytearray(1)),
    ),
    "sums: a group that is not there": ("sum_by_group", int32(1), bytes(16), bytearray(8), bytearray(32)),
    "sums: a negative group": ("sum_by_group", int32(-1), bytes(16), bytearray(8), bytearray(32)),
    "sums: fewer values than rows": ("sum_by_group", int32(0, 0), bytes(16), bytearray(8), bytearray(32)),
    "latest: a group that is not there": ("latest_by_group", int32(1), int64(1), bytearray(8), bytearray(8)),
}


@pytest.mark.parametrize("case", WRONG)
def test_columns_that_do_not_fit_together_are_refused(case: str) -> None:
    name, *columns = WRONG[case]
    with pytest.raises(ValueError):
        getattr(compiled, str(name))(*columns)


@pytest.mark.parametrize("name", [each[0] for each in WRONG.values()])
def test_what_is_no_column_is_refused(name: str) -> None:
    with pytest.raises(TypeError):
        getattr(compiled, name)("text", 1)
