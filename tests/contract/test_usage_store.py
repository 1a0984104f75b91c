"""The contract of `UsageStore`, run on every adapter: what is stored, claimed and read back.

Totals are in `test_usage_store_totals.py`, cancellations in `test_usage_store_cancellations.py` and
`test_usage_store_counted.py`.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.claims import ClaimRange, KnownClaims
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.settled import Settled, hash_of, settled
from tests.support.usage import DAY_S, FIRST_DAY_MS, FIRST_DAY_S, HOUR, LIVE, OTHER, claims_of, hashes, meter_of, totals
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, Event, World, request

STRANGE_TEXTS = [
    "plain",
    "it's",
    '"quoted"',
    "back\\slash",
    "\\",
    "\\'",
    "\\N",
    "\\x41",
    "nul\0inside",
    "\0",
    "new\nline",
    "\r\n\t\b\f\v",
    " spaces around ",
    "emoji 🪣 and é",
    "e\u0301",  # not the same as é, although it looks like it
    "\u2028\ufeff\u202e",
    "\U0010ffff\x7f\x80",
    "'; DROP TABLE events; --",
    "{identifier:String}",
    "%(x)s %s %",
    "/* ? */ -- #",
    "NULL",
    "x" * 100,
]


def test_a_fresh_store_is_empty(store: UsageStore) -> None:
    assert list(claims_of(store, hashes(1, 2), since_ms=0, below_offset=10)) == []
    assert list(store.claimed_hashes(since_ms=0)) == []
    assert store.count_claimed(since_ms=0) == 0
    assert totals(store, meter_of()) == []
    assert list(store.events_of(TENANT, "a", 1)) == []


# --- inserting


def test_one_insert_may_span_days_months_and_meters(store: UsageStore) -> None:
    events = [
        Settled(
            identifier=f"e{at}",
            offset=at,
            value=1,
            received_at_ms=START_MS + at * DAY_MS,
            timestamp_ms=START_MS + at * DAY_MS,
            meter=f"mtr_{at % 2}",
            keeps_latest=at % 2 == 1,
        )
        for at in range(200)
    ]
    store.insert(settled(events), step=0)
    end_s = FIRST_DAY_S + 300 * DAY_S
    assert [value for _, value in totals(store, meter_of(meter_id="mtr_0"), end_s=end_s)] == [100]
    assert [value for _, value in totals(store, meter_of(Formula.SUM, HOUR, "mtr_1"), end_s=end_s)] == [100]


def test_one_insert_may_hold_both_modes_of_an_account_and_other_accounts(store: UsageStore) -> None:
    """All the way from the log, because the columns are made there."""
    world = World(store=store)
    world.control.add_account(Account(id=OTHER.account_id, name="", created_ms=0))
    tenants = (TENANT, LIVE, OTHER)
    meters = {}
    for tenant in tenants:
        meters[tenant] = world.add_meter(tenant=tenant, meter_id=f"mtr_{tenant.account_id}_{tenant.livemode}")
        world.add_customer(tenant=tenant)
    requests = [request([Event("a", value=str(10**at))], tenant) for at, tenant in enumerate(tenants)]
    world.accept_requests(*requests, *requests)
    world.accept(Event("b", event_name="unknown"), Event("c", value="5"), tenant=LIVE)
    world.apply()
    assert [world.total(meters[tenant]) for tenant in tenants] == [1, 15, 100]
    assert [world.fates("a", tenant) for tenant in tenants] == [["counted", "duplicate"]] * 3
    assert world.fates("b", LIVE) == ["no_meter"]


# --- claims


def test_only_counted_events_claim_their_identifier(store: UsageStore) -> None:
    events = [
        Settled(identifier=f"e{at}", offset=at, status=status)
        for at, status in enumerate((Fate.COUNTED, Fate.DUPLICATE, Fate.REJECTED))
    ]
    store.insert(settled(events), step=0)
    found = claims_of(store, hashes(*(event.hash for event in events)), since_ms=0, below_offset=10)
    assert [claim.identifier for claim in found] == ["e0"]
    assert store.count_claimed(since_ms=0) == 1


@pytest.mark.parametrize(
    ("since_ms", "below_offset", "expected"),
    [
        (0, 100, ["old", "middle", "new"]),
        (-5, 100, ["old", "middle", "new"]),
        (START_MS - 1_000, 100, ["old", "middle", "new"]),  # at or after
        (START_MS - 999, 100, ["middle", "new"]),
        (START_MS + 1_000, 100, ["new"]),
        (START_MS + 1_001, 100, []),
        (0, 12, ["old", "middle"]),  # below, not at
        (0, 11, ["old"]),
        (0, 10, []),
        (START_MS, 12, ["middle"]),
    ],
)
def test_claims_are_those_since_a_moment_and_below_an_offset(
    store: UsageStore, since_ms: int, below_offset: int, expected: list[str]
) -> None:
    events = [
        Settled(identifier="old", offset=10, received_at_ms=START_MS - 1_000),
        Settled(identifier="middle", offset=11, received_at_ms=START_MS),
        Settled(identifier="new", offset=12, received_at_ms=START_MS + 1_000),
    ]
    for event in events:
        store.insert(settled([event]), step=event.offset)
    asked = hashes(*(event.hash for event in events), 12345)
    found = sorted(
        claims_of(store, asked, since_ms=since_ms, below_offset=below_offset), key=lambda c: c.received_at_ms
    )
    assert [claim.identifier for claim in found] == expected
    known = store.claims(asked, ClaimRange(since_ms, 0, below_offset))
    names = known.events["identifier"].take(pa.array(known.rows)).to_pylist()
    assert dict(zip(names, known.hashes.tolist(), strict=True)) == {name: hash_of(name) for name in expected}
    assert [claim.received_at_ms for claim in found] == [e.received_at_ms for e in events if e.identifier in expected]


@pytest.mark.parametrize(("first", "end"), [(0, 40), (10, 30), (11, 30), (10, 29), (20, 21), (21, 25), (30, 40)])
def test_claims_are_those_of_a_part_of_the_log(store: UsageStore, first: int, end: int) -> None:
    offsets = (9, 10, 11, 20, 29, 30)
    events = [Settled(identifier=f"e{offset}", offset=offset) for offset in offsets]
    for event in events:
        store.insert(settled([event]), step=event.offset)
    asked = hashes(*(event.hash for event in events))
    known = store.claims(asked, ClaimRange(0, first, end))
    assert sorted(known.events["log_offset"].to_pylist()) == [each for each in offsets if first <= each < end]


def test_of_what_is_sent_again_most_is_found_among_neighbours_and_all_of_it_is_claimed(store: UsageStore) -> None:
    events = [
        Settled(
            identifier=f"e{offset}",
            offset=offset,
            tenant=(TENANT, LIVE, OTHER)[offset % 3],
            status=Fate.DUPLICATE if offset % 10 == 7 else Fate.COUNTED,
            received_at_ms=START_MS + offset,
        )
        for offset in range(9_000)
    ]
    for start in range(0, len(events), 3_000):
        store.insert(settled(events[start : start + 3_000]), step=start)
    again = [each for each in events if 1_000 <= each.offset < 2_200 or 6_000 <= each.offset < 7_500]
    asked = np.unique(hashes(*(each.hash for each in again), *range(50)))
    # Of the first the receipt is the lower bound, of the second the place in the log.
    where = ClaimRange(START_MS + 1_300, 1_200, 7_400)
    later = ClaimRange(START_MS + 1_000, 1_300, 7_400)

    def found(known: KnownClaims) -> dict[int, int]:
        """Offset and hash of each."""
        assert known.hashes.tolist() == sorted(known.hashes.tolist())
        offsets = known.events["log_offset"].take(pa.array(known.rows)).to_pylist()
        return dict(zip(offsets, known.hashes.tolist(), strict=True))

    counted = {each.offset: each.hash for each in events if each.status is Fate.COUNTED}
    expected = {each.offset: each.hash for each in again if 1_300 <= each.offset < 7_400 and each.offset in counted}
    for each in (where, later):
        assert found(store.claims(asked, each)) == expected
        near = found(store.neighbouring_claims(asked, each))
        assert near.items() <= counted.items()
        assert all(1_300 <= offset < 7_400 for offset in near)
        assert len(near.keys() & expected.keys()) > len(expected) // 3


def test_a_few_have_no_neighbours_worth_reading(store: UsageStore) -> None:
    store.insert(settled([Settled(identifier="a", offset=0)]), step=0)
    for asked in (hashes(), hashes(5), np.arange(1_000, dtype=np.uint64)):
        assert len(store.neighbouring_claims(asked, ClaimRange(0, 0, 9))) == 0


def test_identifiers_that_share_a_hash_are_claimed_each_under_its_own_name(store: UsageStore) -> None:
    events = [
        Settled(identifier="a", offset=0, identifier_hash=2**63 + 1),
        Settled(identifier="b", offset=1, identifier_hash=2**63 + 1),
        Settled(identifier="a", offset=2, identifier_hash=2**63 + 1, tenant=LIVE),
        Settled(identifier="a", offset=3, identifier_hash=2**63 + 1, tenant=OTHER),
        Settled(identifier="c", offset=4, identifier_hash=2**64 - 1),
    ]
    store.insert(settled(events), step=0)
    found = claims_of(store, hashes(2**63 + 1), since_ms=0, below_offset=9)
    assert {(claim.tenant, claim.identifier) for claim in found} == {
        (TENANT, "a"),
        (TENANT, "b"),
        (LIVE, "a"),
        (OTHER, "a"),
    }
    assert [event.log_offset for event in store.events_of(TENANT, "a", 2**63 + 1)] == [0]
    assert [event.log_offset for event in store.events_of(LIVE, "a", 2**63 + 1)] == [2]
    assert [claim.identifier for claim in claims_of(store, hashes(2**64 - 1, 0), since_ms=0, below_offset=9)] == ["c"]


def test_one_identifier_may_have_several_claims(store: UsageStore) -> None:
    for at in range(2):
        event = Settled(identifier="a", offset=at, received_at_ms=START_MS + at * 40 * DAY_MS)
        store.insert(settled([event]), step=at)
    found = claims_of(store, hashes(hash_of("a")), since_ms=0, below_offset=9)
    assert sorted(claim.received_at_ms for claim in found) == [START_MS, START_MS + 40 * DAY_MS]


def test_more_hashes_than_fit_into_one_query_are_all_looked_up(store: UsageStore) -> None:
    events = [Settled(identifier=f"e{at}", offset=at, identifier_hash=at * 7 + 2**62) for at in range(25_000)]
    store.insert(settled(events), step=0)
    found = claims_of(store, hashes(*(event.hash for event in events)), since_ms=0, below_offset=30_000)
    assert {claim.identifier for claim in found} == {event.identifier for event in events}


def test_claimed_hashes_are_all_that_the_filter_needs_oldest_first(store: UsageStore) -> None:
    events = [
        Settled(identifier=f"e{at}", offset=at, received_at_ms=START_MS + at * HOUR_MS, identifier_hash=2**64 - 1 - at)
        for at in range(72)
    ]
    events.append(Settled(identifier="no", offset=99, received_at_ms=START_MS, status=Fate.REJECTED))
    store.insert(settled(events), step=0)
    since_ms = START_MS + 10 * HOUR_MS
    chunks = list(store.claimed_hashes(since_ms=since_ms))
    found = [number for chunk, _ in chunks for number in chunk.tolist()]
    # More of the same day may come along: the filter then sends more to the exact look-up.
    assert {e.hash for e in events[10:72]} <= set(found) <= {e.hash for e in events[:72]}
    assert len(found) == len(set(found)) == store.count_claimed(since_ms=since_ms)
    assert all(chunk.dtype == np.uint64 for chunk, _ in chunks)
    assert [last_ms for _, last_ms in chunks] == sorted(last_ms for _, last_ms in chunks)
    # A chunk's time is that of its latest claim, or a later one: forgetting by it never forgets too early.
    received_ms = {event.hash: event.received_at_ms for event in events}
    for chunk, last_ms in chunks:
        assert max(received_ms[number] for number in chunk.tolist()) <= last_ms <= START_MS + 71 * HOUR_MS


@pytest.mark.parametrize("from_offset", [0, 1, 30, 71, 72, 10**6])
def test_claimed_hashes_may_be_those_from_an_offset_on(store: UsageStore, from_offset: int) -> None:
    events = [Settled(identifier=f"e{at}", offset=at, received_at_ms=START_MS + at * HOUR_MS) for at in range(72)]
    for first in range(0, 72, 24):
        store.insert(settled(events[first : first + 24]), step=first)
    found = [number for chunk, _ in store.claimed_hashes(since_ms=0, from_offset=from_offset) for number in chunk]
    assert sorted(found) == sorted(event.hash for event in events[from_offset:])
    assert store.count_claimed(since_ms=0, from_offset=from_offset) == len(found)


# --- what was stored is what was sent


@pytest.mark.parametrize("window", [None, HOUR])
@pytest.mark.parametrize(
    "values",
    [
        ["0.1", "0.2"],
        ["999999999999999", "0.000000000000001"],
        ["-999999999999999", "0.000000000000001", "-0.000000000000001"],
        ["12345678901234567890123.123456789012345", "0.000000000000001"],  # 38 digits: beyond what floats and 28 hold
        ["99999999999999999999999.999999999999999"] * 50,  # and their sum beyond 38
        ["-0.5", "0.5"],
    ],
)
def test_sums_are_exact_however_many_digits_they_have(
    store: UsageStore, window: EventTimeWindow | None, values: Sequence[str]
) -> None:
    meter = meter_of(Formula.SUM, window)
    events = [
        Settled(
            identifier=f"e{at}",
            offset=at,
            value=Decimal(value),
            keeps_latest=meter.keeps_latest,
            timestamp_ms=FIRST_DAY_MS + at * HOUR_MS,
        )
        for at, value in enumerate(values)
    ]
    store.insert(settled(events), step=0)
    ((_, total),) = totals(store, meter)
    assert Fraction(total) == sum(map(Fraction, values))


def test_every_text_survives_the_way_through_the_store(store: UsageStore) -> None:
    events = [
        Settled(
            identifier=text,
            offset=at,
            value=at + 1,
            event_name=text,
            customer=text,
            meter=f"mtr_{at}",
            payload={text: text, "also": "value"},
            tenant=Tenant(f"acct {text}", livemode=at % 2 == 0),
        )
        for at, text in enumerate(STRANGE_TEXTS)
    ]
    store.insert(settled(events), step=0)
    for at, event in enumerate(events):
        (stored,) = store.events_of(event.tenant, event.identifier, event.hash)
        assert (stored.identifier, stored.event_name, stored.customer) == (event.identifier,) * 3
        assert stored.payload == event.payload
        (claim,) = claims_of(store, hashes(event.hash), since_ms=0, below_offset=999)
        assert (claim.tenant, claim.identifier) == (event.tenant, event.identifier)
        meter = meter_of(meter_id=event.meter, tenant=event.tenant)
        assert totals(store, meter, customer=event.customer) == [(-24, Decimal(at + 1))]
        assert totals(store, meter, customer=event.customer + " ") == []


def test_an_event_is_read_back_with_everything_that_was_settled_in_log_order(store: UsageStore) -> None:
    first = Settled(
        identifier="a",
        offset=3,
        value=Decimal("-1.5"),
        timestamp_ms=START_MS - 123_456,
        received_at_ms=START_MS + 789,
        payload={"b": "2", "a": "1"},
    )
    second = Settled(
        identifier="a", offset=1, status=Fate.REJECTED, code="no_meter", meter="", customer="", timestamp_given=False
    )
    store.insert(settled([first, second]), step=1)
    store.insert(settled([Settled(identifier="a", offset=2, status=Fate.DUPLICATE)]), step=2)
    stored = store.events_of(TENANT, "a", hash_of("a"))
    assert [event.log_offset for event in stored] == [1, 2, 3]
    assert [(event.status, event.code, event.timestamp_given) for event in stored] == [
        (Fate.REJECTED, "no_meter", False),
        (Fate.DUPLICATE, "", True),
        (Fate.COUNTED, "", True),
    ]
    assert (stored[2].value, stored[2].meter, stored[2].customer) == (Decimal("-1.5"), first.meter, first.customer)
    assert (stored[2].timestamp_ms, stored[2].received_at_ms) == (first.timestamp_ms, first.received_at_ms)
    assert list(stored[2].payload.items()) == [("b", "2"), ("a", "1")]


@pytest.mark.parametrize("timestamp_ms", [-62_135_596_800_000, -1, 0, 2**32 * 1000, 253_402_300_799_999])
def test_the_timestamp_of_a_rejected_event_is_kept_however_far_away_it_lies(
    store: UsageStore, timestamp_ms: int
) -> None:
    event = Settled(identifier="a", offset=0, status=Fate.REJECTED, code="no_meter", timestamp_ms=timestamp_ms)
    store.insert(settled([event]), step=0)
    (stored,) = store.events_of(TENANT, "a", event.hash)
    assert stored.timestamp_ms == timestamp_ms


def test_an_identifier_of_another_account_or_mode_is_not_found(store: UsageStore) -> None:
    store.insert(settled([Settled(identifier="a", offset=0)]), step=0)
    for tenant in (LIVE, OTHER):
        assert list(store.events_of(tenant, "a", hash_of("a"))) == []
