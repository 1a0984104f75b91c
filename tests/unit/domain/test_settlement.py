"""Fates: the first event with an identifier that can be counted counts, later ones are duplicates."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.account import Tenant
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.settlement import SETTLED_FATES, Claims, Settlement, settle
from tests.support.columns import received_events
from tests.support.world import TENANT, Event

pytestmark = pytest.mark.usefixtures("both_ways")

LIVE = Tenant(TENANT.account_id, livemode=True)


def settled(
    rows: Sequence[tuple[Tenant, str]],
    codes: Sequence[int],
    claimed: Sequence[bool],
    hashes: Sequence[int] | None = None,
) -> Settlement:
    events = received_events([(tenant, Event(name)) for tenant, name in rows])
    if hashes is None:
        numbers = hash_identifiers(events.identifier, events.tenant, events.tenants)
    else:
        numbers = np.array(hashes, np.uint64)
    claims = Claims(np.array(claimed, np.bool_), np.zeros(len(rows), np.int64))
    return settle(events, np.array(codes, np.uint8), numbers, claims)


def fates(
    rows: Sequence[tuple[Tenant, str]],
    codes: Sequence[int],
    claimed: Sequence[bool],
    hashes: Sequence[int] | None = None,
) -> list[str]:
    return [str(SETTLED_FATES[each]) for each in settled(rows, codes, claimed, hashes).fate]


def one_by_one(rows: Sequence[tuple[Tenant, str]], codes: Sequence[int], claimed: Sequence[bool]) -> list[str]:
    """The definition, without columns."""
    counted: set[tuple[Tenant, str]] = set()
    answers = []
    for row, code, is_claimed in zip(rows, codes, claimed, strict=True):
        if is_claimed or row in counted:
            answers.append("duplicate")
        elif code:
            answers.append("rejected")
        else:
            counted.add(row)
            answers.append("counted")
    return answers


@pytest.mark.parametrize(
    ("names", "codes", "claimed", "expected"),
    [
        ("a", [0], [0], ["counted"]),
        ("a", [3], [0], ["rejected"]),
        ("a", [0], [1], ["duplicate"]),
        ("a", [3], [1], ["duplicate"]),  # a repeat is one, whatever it carries
        ("aa", [0, 0], [0, 0], ["counted", "duplicate"]),
        ("aa", [0, 3], [0, 0], ["counted", "duplicate"]),
        ("aa", [3, 0], [0, 0], ["rejected", "counted"]),
        ("aa", [3, 3], [0, 0], ["rejected", "rejected"]),
        ("aba", [0, 0, 0], [0, 0, 0], ["counted", "counted", "duplicate"]),
        ("aaaa", [3, 0, 3, 0], [0] * 4, ["rejected", "counted", "duplicate", "duplicate"]),
        # Claims run out inside a step too: then the later event may be free while the earlier is not.
        ("aa", [0, 0], [1, 0], ["duplicate", "counted"]),
    ],
)
def test_the_first_that_can_be_counted_counts(
    names: str, codes: list[int], claimed: list[int], expected: list[str]
) -> None:
    assert fates([(TENANT, name) for name in names], codes, [bool(each) for each in claimed]) == expected


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 0, 3]), st.integers(0, 4)), min_size=1, max_size=12),
    st.booleans(),
)
def test_a_claim_that_ends_among_them_is_of_the_events_before_its_end(
    drawn: list[tuple[str, int, int]], are_claimed: bool
) -> None:
    """Events a second apart, each with a window of its own: what waits very long may be judged by several settings."""
    names, codes, windows_s = zip(*drawn, strict=True)
    events = received_events([Event(name) for name in names], records=len(names))
    numbers = hash_identifiers(events.identifier, events.tenant, events.tenants)
    # Claims from before, if there are any, end after the first two seconds.
    by_earlier = np.arange(len(names)) < 2 * are_claimed
    claims = Claims(by_earlier, events.received_at_ms - 1_000 * np.array(windows_s) + 1)
    expected = []
    counted_at: dict[str, int] = {}
    for at, (name, code, window_s) in enumerate(drawn):
        if by_earlier[at] or (name in counted_at and at - counted_at[name] < window_s):
            expected.append("duplicate")
        elif code:
            expected.append("rejected")
        else:
            counted_at[name] = at
            expected.append("counted")
    settlement = settle(events, np.array(codes, np.uint8), numbers, claims)
    assert [str(SETTLED_FATES[each]) for each in settlement.fate] == expected


def test_no_events_have_no_fates() -> None:
    events = received_events([Event("a")])
    empty = events.take(np.zeros(0, np.int64))
    claims = Claims(np.empty(0, np.bool_), np.empty(0, np.int64))
    nothing = settle(empty, np.empty(0, np.uint8), np.empty(0, np.uint64), claims)
    assert (len(nothing.fate), len(nothing.order)) == (0, 0)


@pytest.mark.parametrize(
    "rows",
    [
        [(TENANT, "a"), (TENANT, "b")],
        [(TENANT, "a"), (LIVE, "a")],
        [(TENANT, "a"), (TENANT, "b"), (TENANT, "a"), (LIVE, "a"), (TENANT, "b"), (LIVE, "a"), (LIVE, "b")],
        [(TENANT, "b"), (TENANT, "a"), (TENANT, "b"), (TENANT, "a")],
    ],
)
def test_identifiers_that_share_a_hash_are_told_apart(rows: list[tuple[Tenant, str]]) -> None:
    free = [False] * len(rows)
    assert fates(rows, [0] * len(rows), free, hashes=[7] * len(rows)) == one_by_one(rows, [0] * len(rows), free)


rows_of_events = st.lists(
    st.tuples(
        st.tuples(st.sampled_from([TENANT, LIVE]), st.sampled_from("abcd")),
        st.sampled_from([0, 0, 0, 3, 8]),
        st.sampled_from([False, False, False, True]),
        st.sampled_from([5, 5, 2**63, 2**64 - 1]),
    ),
    min_size=1,
    max_size=25,
)


@given(rows_of_events)
def test_fates_are_those_of_looking_at_one_event_after_the_other(
    drawn: list[tuple[tuple[Tenant, str], int, bool, int]],
) -> None:
    rows, codes, claimed, _ = zip(*drawn, strict=True)
    assert fates(rows, codes, claimed) == one_by_one(rows, codes, claimed)


@given(rows_of_events)
def test_fates_do_not_depend_on_hashes_also_when_they_collide(
    drawn: list[tuple[tuple[Tenant, str], int, bool, int]],
) -> None:
    rows, codes, claimed, numbers = zip(*drawn, strict=True)
    # One identifier has one hash; several may share it.
    hash_of = dict(zip(rows, numbers, strict=True))
    hashes = [hash_of[row] for row in rows]
    settlement = settled(rows, codes, claimed, hashes)
    assert [str(SETTLED_FATES[each]) for each in settlement.fate] == one_by_one(rows, codes, claimed)
    # The order is a permutation, by hash and within one identifier by log order: what the store relies on.
    assert sorted(settlement.order.tolist()) == list(range(len(rows)))
    in_order = [hashes[row] for row in settlement.order]
    assert in_order == sorted(in_order)
    for row in set(rows):
        own = [at for at in settlement.order.tolist() if rows[at] == row]
        assert own == sorted(own)
