"""The contract of `UsageStore`, run on every adapter."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.span import Span
from streamgauge.domain.summary import Range
from streamgauge.engine.ports.usage_store import SummaryQuery, UsageStore
from tests.support.settled import Settled, hash_of, settled
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, Event, World, request

LIVE = Tenant(TENANT.account_id, livemode=True)
OTHER = Tenant("acct_other", livemode=False)
FIRST_DAY_MS = START_MS // DAY_MS * DAY_MS
FIRST_DAY_S = FIRST_DAY_MS // 1000
HOUR_S, DAY_S = 3_600, 86_400
HOUR, DAY = EventTimeWindow.HOUR, EventTimeWindow.DAY

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


@pytest.fixture(params=["memory", "clickhouse"])
def store(request: pytest.FixtureRequest) -> UsageStore:
    if request.param == "memory":
        return MemoryUsageStore()
    made: UsageStore = request.getfixturevalue("new_clickhouse_store")()
    return made


def meter_of(
    formula: Formula = Formula.SUM,
    window: EventTimeWindow | None = None,
    meter_id: str = "mtr_api_requests",
    tenant: Tenant = TENANT,
) -> Meter:
    return Meter(
        id=meter_id,
        tenant=tenant,
        display_name="",
        event_name="api_requests",
        formula=formula,
        event_time_window=window,
        created_ms=0,
        updated_ms=0,
        active_spans=(Span(0),),
    )


def totals(
    store: UsageStore,
    meter: Meter,
    grouping: EventTimeWindow | None = None,
    *,
    customer: str = "cus_1",
    start_s: int = FIRST_DAY_S - DAY_S,
    end_s: int = FIRST_DAY_S + 30 * DAY_S,
    limit: int = 1_000,
    before: int | None = None,
    after: int | None = None,
) -> list[tuple[int, Decimal]]:
    """(hours from the first day's start to the window's, value), as the store answers them."""
    found = store.totals(
        SummaryQuery(
            meter=meter,
            customer_id=customer,
            range=Range(start_s, end_s),
            grouping=grouping,
            limit=limit,
            start_s_before=before,
            start_s_after=after,
        )
    )
    for total in found:
        lengths_s = {None: end_s - start_s, HOUR: HOUR_S, DAY: DAY_S}
        assert total.window.end_s - total.window.start_s == lengths_s[grouping]
    return [((total.window.start_s - FIRST_DAY_S) // HOUR_S, total.value) for total in found]


def hashes(*numbers: int) -> NDArray[np.uint64]:
    return np.array(numbers, np.uint64)


def test_a_fresh_store_is_empty(store: UsageStore) -> None:
    assert list(store.claims(hashes(1, 2), since_ms=0, below_offset=10)) == []
    assert list(store.claimed_hashes(since_ms=0)) == []
    assert store.count_claimed(since_ms=0) == 0
    assert totals(store, meter_of()) == []
    assert list(store.events_of(TENANT, "a", 1)) == []


# --- inserting


def test_an_insert_repeated_under_its_token_is_stored_once(store: UsageStore) -> None:
    first = settled([Settled(identifier="a", offset=0, value=5), Settled(identifier="b", offset=1, value=7)])
    for _ in range(3):
        store.insert(first, "0-2")
    assert (totals(store, meter_of()), store.count_claimed(since_ms=0)) == ([(-24, Decimal(12))], 2)
    assert store.count_events() == 2


def test_an_insert_repeated_after_others_is_still_the_same_insert(store: UsageStore) -> None:
    inserts = [(settled([Settled(identifier=f"e{at}", offset=at, value=10**at)]), f"{at}-{at + 1}") for at in range(8)]
    for events, token in [*inserts, *inserts, *reversed(inserts)]:
        store.insert(events, token)
    assert totals(store, meter_of()) == [(-24, Decimal(11_111_111))]
    assert len(store.events_of(TENANT, "e0", hash_of("e0"))) == 1


def test_equal_events_under_another_token_are_another_insert(store: UsageStore) -> None:
    events = settled([Settled(identifier="a", offset=0, value=5)])
    store.insert(events, "0-1")
    store.insert(events, "1-2")
    assert totals(store, meter_of()) == [(-24, Decimal(10))]


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
    for _ in range(2):
        store.insert(settled(events), "0-200")
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


@pytest.mark.parametrize("view", ["sums_fold", "latests_fold"])
def test_an_insert_that_a_crash_cut_before_a_rollup_is_completed_when_repeated(
    new_clickhouse_store: Callable[[], ClickHouseStore], view: str
) -> None:
    """The crash is played by a view that is not there during the first attempt."""
    store = new_clickhouse_store()
    latest = meter_of(Formula.SUM, HOUR, "mtr_latest")
    events = settled(
        [
            Settled(identifier="a", offset=0, value=5),
            Settled(identifier="b", offset=1, value=7, meter=latest.id, keeps_latest=True),
        ]
    )
    store._writer.command(f"DETACH TABLE {store._database}.{view}")
    store.insert(events, "0-2")
    assert totals(store, meter_of() if view == "sums_fold" else latest) == []
    store._writer.command(f"ATTACH TABLE {store._database}.{view}")
    for _ in range(2):
        store.insert(events, "0-2")
    assert (totals(store, meter_of()), totals(store, latest)) == ([(-24, Decimal(5))], [(-24, Decimal(7))])
    assert store.count_claimed(since_ms=0) == 2


# --- claims


def test_only_counted_events_claim_their_identifier(store: UsageStore) -> None:
    events = [
        Settled(identifier=f"e{at}", offset=at, status=status)
        for at, status in enumerate((Fate.COUNTED, Fate.DUPLICATE, Fate.REJECTED))
    ]
    store.insert(settled(events), "0-3")
    found = store.claims(hashes(*(event.hash for event in events)), since_ms=0, below_offset=10)
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
        store.insert(settled([event]), f"{event.offset}")
    asked = hashes(*(event.hash for event in events), 12345)
    found = sorted(store.claims(asked, since_ms=since_ms, below_offset=below_offset), key=lambda c: c.received_at_ms)
    assert [claim.identifier for claim in found] == expected
    assert [claim.received_at_ms for claim in found] == [e.received_at_ms for e in events if e.identifier in expected]


def test_identifiers_that_share_a_hash_are_claimed_each_under_its_own_name(store: UsageStore) -> None:
    events = [
        Settled(identifier="a", offset=0, identifier_hash=2**63 + 1),
        Settled(identifier="b", offset=1, identifier_hash=2**63 + 1),
        Settled(identifier="a", offset=2, identifier_hash=2**63 + 1, tenant=LIVE),
        Settled(identifier="a", offset=3, identifier_hash=2**63 + 1, tenant=OTHER),
        Settled(identifier="c", offset=4, identifier_hash=2**64 - 1),
    ]
    store.insert(settled(events), "0-5")
    found = store.claims(hashes(2**63 + 1), since_ms=0, below_offset=9)
    assert {(claim.tenant, claim.identifier) for claim in found} == {
        (TENANT, "a"),
        (TENANT, "b"),
        (LIVE, "a"),
        (OTHER, "a"),
    }
    assert [event.log_offset for event in store.events_of(TENANT, "a", 2**63 + 1)] == [0]
    assert [event.log_offset for event in store.events_of(LIVE, "a", 2**63 + 1)] == [2]
    assert [claim.identifier for claim in store.claims(hashes(2**64 - 1, 0), since_ms=0, below_offset=9)] == ["c"]


def test_one_identifier_may_have_several_claims(store: UsageStore) -> None:
    for at in range(2):
        event = Settled(identifier="a", offset=at, received_at_ms=START_MS + at * 40 * DAY_MS)
        store.insert(settled([event]), f"{at}")
    found = store.claims(hashes(hash_of("a")), since_ms=0, below_offset=9)
    assert sorted(claim.received_at_ms for claim in found) == [START_MS, START_MS + 40 * DAY_MS]


def test_more_hashes_than_fit_into_one_query_are_all_looked_up(store: UsageStore) -> None:
    events = [Settled(identifier=f"e{at}", offset=at, identifier_hash=at * 7 + 2**62) for at in range(25_000)]
    store.insert(settled(events), "0-25000")
    found = store.claims(hashes(*(event.hash for event in events)), since_ms=0, below_offset=30_000)
    assert {claim.identifier for claim in found} == {event.identifier for event in events}


def test_claimed_hashes_are_all_that_the_filter_needs_oldest_first(store: UsageStore) -> None:
    events = [
        Settled(identifier=f"e{at}", offset=at, received_at_ms=START_MS + at * HOUR_MS, identifier_hash=2**64 - 1 - at)
        for at in range(72)
    ]
    events.append(Settled(identifier="no", offset=99, received_at_ms=START_MS, status=Fate.REJECTED))
    store.insert(settled(events), "0-73")
    since_ms = START_MS + 10 * HOUR_MS
    chunks = list(store.claimed_hashes(since_ms=since_ms))
    assert sorted(number for chunk, _ in chunks for number in chunk.tolist()) == sorted(e.hash for e in events[10:72])
    assert all(chunk.dtype == np.uint64 for chunk, _ in chunks)
    assert [last_ms for _, last_ms in chunks] == sorted(last_ms for _, last_ms in chunks)
    # A chunk's time is that of its latest claim, or a later one: forgetting by it never forgets too early.
    received_ms = {event.hash: event.received_at_ms for event in events}
    for chunk, last_ms in chunks:
        assert max(received_ms[number] for number in chunk.tolist()) <= last_ms <= START_MS + 71 * HOUR_MS
    assert store.count_claimed(since_ms=since_ms) == 62


# --- totals

# (hour of the first day, minute, value) in log order; together they tell every formula and window apart.
DAYS_OF_USAGE = [
    (0, 10, 1),
    (0, 50, 2),
    (0, 30, 4),  # received last in its hour
    (5, 0, 8),  # received last in its day
    (24, 0, 16),  # exactly at midnight
    (24, 0, 32),  # and the same moment again
    (47, 59, 64),
    (26, 0, 128),  # received last in its day
]


def insert_usage(store: UsageStore, meter: Meter, *, at_a_time: int = 3) -> None:
    events = [
        Settled(
            identifier=f"{meter.id}-{at}",
            offset=at,
            value=value,
            meter=meter.id,
            timestamp_ms=FIRST_DAY_MS + hour * HOUR_MS + minute * 60_000,
            keeps_latest=meter.keeps_latest,
        )
        for at, (hour, minute, value) in enumerate(DAYS_OF_USAGE)
    ]
    for start in range(0, len(events), at_a_time):
        store.insert(settled(events[start : start + at_a_time]), f"{meter.id}-{start}")


@pytest.mark.parametrize(
    ("formula", "window", "whole", "by_hour", "by_day"),
    [
        (Formula.SUM, None, 255, {0: 7, 5: 8, 24: 48, 26: 128, 47: 64}, {0: 15, 24: 240}),
        (Formula.COUNT, None, 8, {0: 3, 5: 1, 24: 2, 26: 1, 47: 1}, {0: 4, 24: 4}),
        (Formula.LAST, None, 64, {0: 2, 5: 8, 24: 32, 26: 128, 47: 64}, {0: 8, 24: 64}),
        (Formula.SUM, HOUR, 236, {0: 4, 5: 8, 24: 32, 26: 128, 47: 64}, {0: 12, 24: 224}),
        (Formula.COUNT, HOUR, 5, {0: 1, 5: 1, 24: 1, 26: 1, 47: 1}, {0: 2, 24: 3}),
        (Formula.LAST, HOUR, 64, {0: 4, 5: 8, 24: 32, 26: 128, 47: 64}, {0: 8, 24: 64}),
        (Formula.SUM, DAY, 136, {5: 8, 26: 128}, {0: 8, 24: 128}),
        (Formula.COUNT, DAY, 2, {5: 1, 26: 1}, {0: 1, 24: 1}),
        (Formula.LAST, DAY, 128, {5: 8, 26: 128}, {0: 8, 24: 128}),
    ],
)
@pytest.mark.parametrize("at_a_time", [1, 3, 8])
def test_totals_follow_the_formula_and_the_windows_newest_first(
    store: UsageStore,
    formula: Formula,
    window: EventTimeWindow | None,
    whole: int,
    by_hour: dict[int, int],
    by_day: dict[int, int],
    at_a_time: int,
) -> None:
    meter = meter_of(formula, window)
    insert_usage(store, meter, at_a_time=at_a_time)
    assert totals(store, meter) == [(-24, Decimal(whole))]
    assert totals(store, meter, HOUR) == [(hour, Decimal(value)) for hour, value in reversed(by_hour.items())]
    assert totals(store, meter, DAY) == [(hour, Decimal(value)) for hour, value in reversed(by_day.items())]


@pytest.mark.parametrize(
    ("formula", "window", "from_minute", "to_minute", "expected"),
    [
        (Formula.SUM, None, 10, 51, 7),  # the start is inclusive
        (Formula.SUM, None, 11, 50, 4),  # the end is exclusive
        (Formula.SUM, None, 51, 300, None),
        (Formula.SUM, None, 51, 301, 8),
        # What an event time window keeps is decided before the range cuts it.
        (Formula.SUM, HOUR, 10, 30, None),
        (Formula.SUM, HOUR, 30, 31, 4),
        (Formula.COUNT, DAY, 0, 300, None),
        (Formula.SUM, DAY, 27 * 60, 48 * 60, None),  # what was kept lies before the range
        (Formula.LAST, DAY, 300, 301, 8),
        (Formula.LAST, None, 0, 50, 4),
        (Formula.LAST, None, 0, 51, 2),
    ],
)
def test_a_range_is_half_open_and_cuts_by_the_minute(
    store: UsageStore,
    formula: Formula,
    window: EventTimeWindow | None,
    from_minute: int,
    to_minute: int,
    expected: int | None,
) -> None:
    meter = meter_of(formula, window)
    insert_usage(store, meter)
    found = totals(store, meter, start_s=FIRST_DAY_S + from_minute * 60, end_s=FIRST_DAY_S + to_minute * 60)
    assert [value for _, value in found] == ([] if expected is None else [Decimal(expected)])


@pytest.mark.parametrize("window", [None, HOUR])
@pytest.mark.parametrize(
    ("limit", "before", "after", "expected"),
    [
        (1, None, None, [47]),
        (2, None, None, [47, 26]),
        (5, None, None, [47, 26, 24, 5, 0]),
        (9, None, None, [47, 26, 24, 5, 0]),
        (2, 47, None, [26, 24]),  # before: the newest that start before it
        (9, 24, None, [5, 0]),
        (9, 25, None, [24, 5, 0]),
        (9, 0, None, []),
        (2, None, 0, [24, 5]),  # after: the oldest that start after it, newest of them first
        (9, None, 5, [47, 26, 24]),
        (1, None, 24, [26]),
        (9, None, 47, []),
        (9, None, -24, [47, 26, 24, 5, 0]),
    ],
)
def test_limits_and_cursors_cut_the_list_of_windows_in_both_directions(
    store: UsageStore,
    window: EventTimeWindow | None,
    limit: int,
    before: int | None,
    after: int | None,
    expected: list[int],
) -> None:
    meter = meter_of(Formula.SUM, window)
    insert_usage(store, meter)
    found = totals(
        store,
        meter,
        HOUR,
        limit=limit,
        before=None if before is None else FIRST_DAY_S + before * HOUR_S,
        after=None if after is None else FIRST_DAY_S + after * HOUR_S,
    )
    assert [hour for hour, _ in found] == expected


def test_totals_belong_to_one_meter_customer_account_and_mode(store: UsageStore) -> None:
    base = Settled(identifier="a", offset=0, value=1)
    others = [
        Settled(identifier="b", offset=1, value=10, meter="mtr_2"),
        Settled(identifier="c", offset=2, value=100, customer="cus_2"),
        Settled(identifier="d", offset=3, value=1_000, tenant=LIVE),
        Settled(identifier="e", offset=4, value=10_000, tenant=OTHER),
        Settled(identifier="f", offset=5, value=100_000, status=Fate.DUPLICATE),
        Settled(identifier="g", offset=6, value=1_000_000, status=Fate.REJECTED, code="no_meter"),
    ]
    store.insert(settled([base, *others]), "0-7")
    assert totals(store, meter_of()) == [(-24, Decimal(1))]
    assert totals(store, meter_of(meter_id="mtr_2")) == [(-24, Decimal(10))]
    assert totals(store, meter_of(), customer="cus_2") == [(-24, Decimal(100))]
    assert totals(store, meter_of(tenant=LIVE)) == [(-24, Decimal(1_000))]
    assert totals(store, meter_of(tenant=OTHER)) == [(-24, Decimal(10_000))]


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
    store.insert(settled(events), "0")
    ((_, total),) = totals(store, meter)
    assert Fraction(total) == sum(map(Fraction, values))


# --- what was stored is what was sent


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
    store.insert(settled(events), "'; --")
    for at, event in enumerate(events):
        (stored,) = store.events_of(event.tenant, event.identifier, event.hash)
        assert (stored.identifier, stored.event_name, stored.customer) == (event.identifier,) * 3
        assert stored.payload == event.payload
        (claim,) = store.claims(hashes(event.hash), since_ms=0, below_offset=999)
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
    store.insert(settled([first, second]), "1")
    store.insert(settled([Settled(identifier="a", offset=2, status=Fate.DUPLICATE)]), "2")
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
    store.insert(settled([event]), "0")
    (stored,) = store.events_of(TENANT, "a", event.hash)
    assert stored.timestamp_ms == timestamp_ms


def test_an_identifier_of_another_account_or_mode_is_not_found(store: UsageStore) -> None:
    store.insert(settled([Settled(identifier="a", offset=0)]), "0")
    for tenant in (LIVE, OTHER):
        assert list(store.events_of(tenant, "a", hash_of("a"))) == []
