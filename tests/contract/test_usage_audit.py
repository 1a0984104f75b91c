"""The contract of `UsageAudit`, run on every adapter: that it finds everything that was stored."""

from decimal import Decimal

import pyarrow as pa
import pytest

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_audit import MemoryUsageAudit
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.fate import Fate
from streamgauge.domain.recount import RECOUNT_SCHEMA
from streamgauge.domain.summary import Range
from streamgauge.engine.ports.usage_audit import EVENTS_KEPT_SCHEMA, LATESTS_SCHEMA, SUMS_SCHEMA, UsageAudit
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.settled import Settled, settled
from tests.support.usage import DAY_S, FIRST_DAY_MS, FIRST_DAY_S, LIVE, cancel, cancellation_of
from tests.support.world import START_MS, TENANT

ALL = 2**64 - 1
FIRST_DAY = Range(FIRST_DAY_S, FIRST_DAY_S + DAY_S)


@pytest.fixture
def audit(store: UsageStore) -> UsageAudit:
    if isinstance(store, MemoryUsageStore):
        return MemoryUsageAudit(store)
    assert isinstance(store, ClickHouseStore)
    return store.audit


def at_minute(minute: int, second: int = 0) -> int:
    return FIRST_DAY_MS + minute * 60_000 + second * 1_000


def listed(table: pa.Table, *names: str) -> list[tuple[object, ...]]:
    return sorted(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_an_empty_store_has_nothing_of_anything(audit: UsageAudit) -> None:
    assert audit.events(0, ALL).schema == RECOUNT_SCHEMA
    assert audit.sums(FIRST_DAY).schema == SUMS_SCHEMA
    assert audit.latests(FIRST_DAY, 60).schema == LATESTS_SCHEMA
    assert audit.events_kept(FIRST_DAY).schema == EVENTS_KEPT_SCHEMA
    tables = (audit.events(0, ALL), audit.sums(FIRST_DAY), audit.latests(FIRST_DAY, 60), audit.events_kept(FIRST_DAY))
    assert [len(each) for each in tables] == [0, 0, 0, 0]
    assert (list(audit.cancellations(0, ALL)), list(audit.days())) == ([], [])


def test_an_event_reads_back_with_all_that_was_stored_of_it(store: UsageStore, audit: UsageAudit) -> None:
    event = Settled(
        identifier="it's\0 \\N é",
        offset=2**40,
        value=Decimal("-0.000000000000001"),
        timestamp_ms=START_MS - 123,
        timestamp_given=False,
        received_at_ms=START_MS + 1,
        tenant=LIVE,
        status=Fate.REJECTED,
        code="no_meter",
        keeps_latest=True,
        payload={"a": '"'},
        identifier_hash=ALL,
    )
    inserted = settled([event])
    store.insert(inserted, step=0)
    found = audit.events(0, ALL)
    assert found.schema == RECOUNT_SCHEMA
    table = inserted.table
    table = table.append_column("identifier_hash", pa.array(inserted.hashes))
    table = table.append_column("first_offset", table["log_offset"])
    table = table.append_column("first_received_at", table["received_at"])
    table = table.append_column("payload", table["payload_text"])
    assert found.to_pylist() == table.select(RECOUNT_SCHEMA.names).cast(RECOUNT_SCHEMA).to_pylist()


def test_events_are_found_by_the_bounds_of_their_hashes_both_included(store: UsageStore, audit: UsageAudit) -> None:
    numbers = [0, 1, 2**63 - 1, 2**63, ALL]
    store.insert(
        settled([Settled(identifier=f"e{at}", offset=at, identifier_hash=each) for at, each in enumerate(numbers)]),
        step=0,
    )
    for first, last, offsets in ((0, 0, [0]), (1, 2**63 - 1, [1, 2]), (2**63, ALL, [3, 4]), (0, ALL, [0, 1, 2, 3, 4])):
        assert sorted(audit.events(first, last)["log_offset"].to_pylist()) == offsets


def test_sums_stand_by_minute_and_leave_out_what_was_cancelled(store: UsageStore, audit: UsageAudit) -> None:
    events = [
        Settled(identifier="a", offset=0, value=Decimal("0.1"), timestamp_ms=at_minute(0)),
        Settled(identifier="b", offset=1, value=Decimal("0.2"), timestamp_ms=at_minute(0, 59)),
        Settled(identifier="c", offset=2, value=5, timestamp_ms=at_minute(1)),
        Settled(identifier="d", offset=3, value=7, timestamp_ms=at_minute(1), tenant=LIVE),
        Settled(identifier="e", offset=4, value=9, timestamp_ms=at_minute(1_440)),
        Settled(identifier="f", offset=5, value=0, timestamp_ms=at_minute(2), status=Fate.DUPLICATE),
        Settled(identifier="g", offset=6, value=4, timestamp_ms=at_minute(3)),
    ]
    store.insert(settled(events), step=0)
    cancel(store, events[0], events[6])
    found = audit.sums(FIRST_DAY)
    assert listed(found, "livemode", "start_s", "events", "total") == [
        (False, FIRST_DAY_S, 1, Decimal("0.2")),
        (False, FIRST_DAY_S + 60, 1, Decimal(5)),
        (True, FIRST_DAY_S + 60, 1, Decimal(7)),
    ]
    assert {FIRST_DAY_S // DAY_S, FIRST_DAY_S // DAY_S + 1} <= set(audit.days())
    assert len(audit.latests(FIRST_DAY, 60)) == len(audit.events_kept(FIRST_DAY)) == 0


def test_the_latest_stands_by_any_window_and_looks_past_what_was_cancelled(
    store: UsageStore, audit: UsageAudit
) -> None:
    events = [
        Settled(identifier=f"e{offset}", offset=offset, value=value, timestamp_ms=at_minute(minute), keeps_latest=True)
        for offset, minute, value in ((0, 5, 1), (1, 9, 2), (2, 5, 4), (3, 7, 8), (4, 9, 16), (5, 1_440, 32))
    ]
    store.insert(settled(events), step=0)
    columns = ("start_s", "last", "survivor_at_ms", "survivor")
    assert listed(audit.latests(FIRST_DAY, 60), *columns) == [
        (FIRST_DAY_S + 5 * 60, 4, at_minute(5), 4),
        (FIRST_DAY_S + 7 * 60, 8, at_minute(7), 8),
        (FIRST_DAY_S + 9 * 60, 16, at_minute(9), 16),
    ]
    cancel(store, events[4])
    assert listed(audit.latests(FIRST_DAY, DAY_S), *columns) == [(FIRST_DAY_S, 2, at_minute(7), 8)]
    assert listed(audit.events_kept(FIRST_DAY), "start_s", "events") == [
        (FIRST_DAY_S + 5 * 60, 2),
        (FIRST_DAY_S + 7 * 60, 1),
        (FIRST_DAY_S + 9 * 60, 1),
    ]
    assert len(audit.sums(FIRST_DAY)) == 0


def test_cancellations_read_back_as_they_were_stored(store: UsageStore, audit: UsageAudit) -> None:
    events = [Settled(identifier=f"e{at}", offset=at, value=Decimal("1.5"), tenant=TENANT) for at in range(3)]
    store.insert(settled(events), step=0)
    cancel(store, events[0], events[2], offset=10)
    assert sorted(audit.cancellations(0, ALL), key=lambda each: each.offset) == [
        cancellation_of(events[0], offset=10),
        cancellation_of(events[2], offset=11),
    ]
    assert [each.identifier for each in audit.cancellations(events[2].hash, events[2].hash)] == ["e2"]
