"""A step that was cut anywhere and is done again is in the store once, whole, in every table.

Method: one step spans two days of receipt and two months of event time, holds events of both kinds of rollups and
cancels some of them. It is cut at every table, before it and in the middle of its partitions, and then done again.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import step as steps
from streamgauge.adapters.clickhouse import store as store_module
from streamgauge.adapters.clickhouse.event_rows import event_rows
from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.meter import Formula, Meter
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.settled import Settled, hash_of, settled
from tests.support.usage import DAY_S, FIRST_DAY_S, HOUR, cancellation_of, claims_of, hashes, meter_of, totals
from tests.support.world import DAY_MS, START_MS, TENANT

METERS = (
    meter_of(Formula.SUM, None, "mtr_sum"),
    meter_of(Formula.LAST, None, "mtr_last"),
    meter_of(Formula.SUM, HOUR, "mtr_windowed"),
)
FIRST_OFFSETS = (0, 100, 200)


class Cut(Exception):
    """The crash."""


def events_of_step(first_offset: int) -> list[Settled]:
    """Twelve events: four of each meter, in two months, received on two days."""
    return [
        Settled(
            identifier=f"e{first_offset + at}",
            offset=first_offset + at,
            value=2 ** (at // 3) * 10 ** (first_offset // 100),
            meter=meter.id,
            keeps_latest=meter.keeps_latest,
            received_at_ms=START_MS + (at // 6) * DAY_MS,
            timestamp_ms=START_MS - (at // 3 % 2) * 33 * DAY_MS + first_offset * 1_000,
        )
        for at, meter in enumerate(METERS * 4)
    ]


def apply(store: UsageStore, first_offset: int, *, again: bool = False) -> None:
    events = events_of_step(first_offset)
    store.insert(settled(events), step=first_offset, again=again)
    taken = [cancellation_of(events[at], offset=first_offset + 50 + at) for at in (0, 1, 2, 9)]
    store.cancel(taken, step=first_offset, again=again)


def all_totals(store: UsageStore, meter: Meter) -> list[tuple[int, Decimal]]:
    return totals(store, meter, HOUR, start_s=FIRST_DAY_S - 60 * DAY_S, end_s=FIRST_DAY_S + 60 * DAY_S)


def said(store: UsageStore) -> list[object]:
    """All that can be asked of a store about these steps."""
    events = [event for first in FIRST_OFFSETS for event in events_of_step(first)]
    asked = hashes(*(each.hash for each in events))
    counted = store.counted(asked, since_ms=0, below_offset=999)
    return [
        [all_totals(store, meter) for meter in METERS],
        store.count_events(),
        store.count_claimed(since_ms=0),
        [[found.status for found in store.events_of(TENANT, each.identifier, each.hash)] for each in events],
        sorted(claim.identifier for claim in claims_of(store, asked, since_ms=0, below_offset=999)),
        sorted((each.offset, each.cancelled_at_ms or 0) for each in counted),
    ]


@pytest.fixture(scope="module")
def expected() -> list[object]:
    store = MemoryUsageStore()
    for first in FIRST_OFFSETS:
        apply(store, first)
    return said(store)


@pytest.mark.parametrize("beside_min", [0, 1_000])
@pytest.mark.parametrize("in_the_middle", [False, True])
@pytest.mark.parametrize("table", range(8))
def test_a_step_cut_anywhere_is_whole_when_it_is_done_again(
    new_clickhouse_store: Callable[[], ClickHouseStore],
    monkeypatch: pytest.MonkeyPatch,
    expected: list[object],
    table: int,
    in_the_middle: bool,
    beside_min: int,
) -> None:
    monkeypatch.setattr(store_module, "BESIDE_EVENTS_MIN", beside_min)
    store = new_clickhouse_store()
    apply(store, 0)
    written = iter(range(8))
    insert = steps.insert

    def cut(client: Client, database: str, target: steps.Target, rows: pa.Table) -> None:
        if next(written) == table:
            if in_the_middle:
                partition = target.partition_of(rows)
                insert(client, database, target, rows.filter(pc.equal(partition, partition[0])))
            raise Cut
        insert(client, database, target, rows)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "insert", cut)
        with pytest.raises(Cut):
            apply(store, 100)
    for _ in range(2):  # the second time all of it is there
        apply(store, 100, again=True)
    apply(store, 200)
    assert said(store) == expected


@pytest.mark.parametrize("missing", ["events", "identifiers", "sums", "latests", "latest_events"])
def test_a_step_of_which_one_table_was_not_written_is_whole_when_it_is_done_again(
    new_clickhouse_store: Callable[[], ClickHouseStore],
    monkeypatch: pytest.MonkeyPatch,
    expected: list[object],
    missing: str,
) -> None:
    """Tables of a large step are written beside each other: a crash may come after any of them."""
    store = new_clickhouse_store()
    apply(store, 0)
    insert = steps.insert

    def without(client: Client, database: str, target: steps.Target, rows: pa.Table) -> None:
        if target.table != missing:
            insert(client, database, target, rows)

    with monkeypatch.context() as patched:
        patched.setattr(steps, "insert", without)
        store.insert(settled(events_of_step(100)), step=100)
    apply(store, 100, again=True)
    apply(store, 200)
    assert said(store) == expected


@pytest.mark.parametrize("beside_min", [0, 1_000])
def test_events_are_written_beside_the_other_tables_if_they_are_many(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch, beside_min: int
) -> None:
    monkeypatch.setattr(store_module, "BESIDE_EVENTS_MIN", beside_min)
    store = new_clickhouse_store()
    identifiers_begun = threading.Event()
    came_first: list[bool] = []
    insert = steps.insert

    def noting(client: Client, database: str, target: steps.Target, rows: pa.Table) -> None:
        if target is steps.IDENTIFIERS:
            identifiers_begun.set()
        elif target is steps.EVENTS:
            came_first.append(not identifiers_begun.wait(5 if beside_min == 0 else 0.2))
        insert(client, database, target, rows)

    monkeypatch.setattr(steps, "insert", noting)
    apply(store, 0)
    assert came_first == [beside_min > 0]


@pytest.mark.parametrize(("failing", "other"), [("events", "latest_events"), ("sums", "events")])
def test_what_one_of_two_inserts_meets_is_told_when_the_other_has_ended(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch, failing: str, other: str
) -> None:
    monkeypatch.setattr(store_module, "BESIDE_EVENTS_MIN", 0)
    store = new_clickhouse_store()
    ended: list[str] = []
    insert = steps.insert

    def failing_one(client: Client, database: str, target: steps.Target, rows: pa.Table) -> None:
        if target.table == failing:
            raise Cut
        insert(client, database, target, rows)
        ended.append(target.table)

    monkeypatch.setattr(steps, "insert", failing_one)
    with pytest.raises(Cut):
        apply(store, 0)
    assert other in ended


def test_a_step_is_one_part_of_a_partition_however_large_it_is(
    new_clickhouse_store: Callable[[], ClickHouseStore],
) -> None:
    """A second part could be missing after a crash while the first one says that the step is there."""
    store = new_clickhouse_store()
    store._writer.command(f"SYSTEM STOP MERGES {store._database}.events")
    many = event_rows(pa.concat_tables([settled([Settled(identifier="a", offset=0)]).table] * 300_000))
    steps.insert(store._writer, store._database, steps.EVENTS, many)
    found = store._reader.query(
        "SELECT count(), sum(rows) FROM system.parts WHERE active AND database = {database:String} "
        "AND table = 'events'",
        parameters={"database": store._database},
    ).result_rows
    assert list(found) == [(1, 300_000)]


def test_a_step_done_again_does_not_take_the_step_before_it_for_its_own(
    new_clickhouse_store: Callable[[], ClickHouseStore],
) -> None:
    """They share partitions, the minute and the identifier."""
    store = new_clickhouse_store()
    before = Settled(identifier="a", offset=0, value=5)
    store.insert(settled([before]), step=0)
    store.insert(settled([replace(before, offset=1, value=7)]), step=1, again=True)
    assert totals(store, meter_of()) == [(-24, Decimal(12))]
    assert [each.log_offset for each in store.events_of(TENANT, "a", hash_of("a"))] == [0, 1]
