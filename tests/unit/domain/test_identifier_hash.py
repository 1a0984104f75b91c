"""The hash of an identifier is stored for ever: it must never change, and depend on nothing but the identifier."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.account import Tenant
from streamgauge.domain.identifier_hash import hash_identifiers

pytestmark = pytest.mark.usefixtures("both_ways")

TENANT = Tenant("acct_1", livemode=False)
LIVE = Tenant("acct_1", livemode=True)
OTHER = Tenant("acct_2", livemode=False)

identifiers = st.text(max_size=100)


def hashes_of(names: list[str], tenant: Tenant = TENANT) -> list[int]:
    return [int(each) for each in hash_identifiers(pa.array(names, pa.string()), _zeros(len(names)), [tenant])]


def _zeros(count: int) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.zeros(count, np.int32)


def by_hand(name: str, tenant: Tenant) -> int:
    """The definition, in whole numbers: FNV-1a of the tenant as seed, words mixed in one by one, SplitMix64's end."""
    state = 0xCBF29CE484222325
    for byte in tenant.account_id.encode() + bytes([tenant.livemode]):
        state = (state ^ byte) * 0x100000001B3 % 2**64
    data = name.encode()
    state ^= len(data)
    for start in range(0, len(data), 8):
        word = int.from_bytes(data[start : start + 8].ljust(8, b"\0"), "little")
        state = (state ^ word) * 0x9E3779B97F4A7C15 % 2**64
        state ^= state >> 32
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % 2**64
    return state ^ (state >> 31)


@pytest.mark.parametrize(
    ("name", "tenant", "expected"),
    [
        ("", TENANT, 0x776B47231895AA56),
        ("a", TENANT, 0x79B8EEF01BDCD365),
        ("a", LIVE, 0x9F84B232B5D95C52),
        ("a", OTHER, 0x5E4029CC534E038D),
        ("\0", TENANT, 0xB1E7F0972B9776E9),
        ("12345678", TENANT, 0xF7764443FCBD0D6C),
        ("123456789", TENANT, 0x93DB31EA98B9E3B7),
        ("0b6b1c1e-3c2a-4c5e-9a3f-2f3c8d1e7a90", TENANT, 0xF340B21D5C319DF1),
        ("évènement 🪣", LIVE, 0x18B173AA4759A429),
        ("x" * 100, Tenant("acct_é", livemode=False), 0x2A3FE68A992252F4),
    ],
)
def test_the_hash_of_an_identifier_never_changes(name: str, tenant: Tenant, expected: int) -> None:
    assert hashes_of([name], tenant) == [expected]


@given(st.lists(identifiers, max_size=50), st.sampled_from([TENANT, LIVE, OTHER]))
def test_a_column_is_hashed_as_its_definition_says(names: list[str], tenant: Tenant) -> None:
    assert hashes_of(names, tenant) == [by_hand(name, tenant) for name in names]


@given(st.lists(identifiers, min_size=1, max_size=30), st.data())
def test_a_hash_does_not_depend_on_the_slice_in_which_it_is_computed(names: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(names)))
    length = data.draw(st.integers(0, len(names) - start))
    column = pa.array(names, pa.string()).slice(start, length)
    assert hash_identifiers(column, _zeros(length), [TENANT]).tolist() == hashes_of(names)[start : start + length]


@given(st.permutations([f"{number:0{number}}" for number in range(101)]))
def test_identifiers_of_every_length_hash_the_same_in_any_order(names: list[str]) -> None:
    assert dict(zip(names, hashes_of(names), strict=True)) == {name: hashes_of([name])[0] for name in names}


@given(st.lists(st.tuples(identifiers, st.integers(0, 2)), max_size=30))
def test_tenants_may_be_mixed_in_one_column(rows: list[tuple[str, int]]) -> None:
    tenants = [TENANT, LIVE, OTHER]
    column = pa.array([name for name, _ in rows], pa.string())
    numbers = np.array([number for _, number in rows], np.int32)
    expected = [by_hand(name, tenants[number]) for name, number in rows]
    assert hash_identifiers(column, numbers, tenants).tolist() == expected


def test_what_only_pads_an_identifier_changes_its_hash() -> None:
    names = ["", "\0", "\0\0", "a", "a\0", "a\0\0\0\0\0\0\0", "a\0\0\0\0\0\0\0\0", " a", "a "]
    assert len(set(hashes_of(names))) == len(names)


@pytest.mark.parametrize("form", ["evt-{}", "{:036d}", "{:x}"])
def test_consecutive_identifiers_spread_evenly_over_the_range(form: str) -> None:
    count = 64_000
    found = np.array(hashes_of([form.format(number) for number in range(count)]), np.uint64)
    assert len(np.unique(found)) == count
    # 64 equal parts by the highest and by the lowest bits: 1,000 each, and 5 standard deviations (32) are 160.
    for part in (found >> np.uint64(58), found & np.uint64(63)):
        assert np.abs(np.bincount(part.astype(np.int64), minlength=64) - count // 64).max() < 160
    ones = [int(np.count_nonzero(found & (np.uint64(1) << np.uint64(bit)))) for bit in range(64)]
    assert max(abs(each - count // 2) for each in ones) < 5 * 127  # standard deviation of a fair bit: 126.5
