"""A usage store written before there were cancellations opens, counts as it did, and can cancel what it holds.

Method: `BEFORE` are the statements of that version as they were, never to be changed; everything else about writing
an event is the same today.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import store as store_module
from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import Formula
from tests.support.settled import Settled, settled
from tests.support.usage import FIRST_DAY_MS, HOUR, cancel, insert_usage, meter_of, totals, usage
from tests.support.world import TENANT

BEFORE = (
    """
CREATE TABLE IF NOT EXISTS {database}.events (
    account LowCardinality(String),
    livemode Bool,
    identifier_hash UInt64 CODEC(Delta, ZSTD(1)),
    identifier String CODEC(ZSTD(1)),
    event_name LowCardinality(String),
    meter LowCardinality(String),
    customer String,
    value Decimal(38, 15),
    timestamp DateTime64(3, 'UTC'),
    timestamp_given Bool,
    received_at DateTime64(3, 'UTC'),
    log_partition UInt16,
    log_offset UInt64,
    status LowCardinality(String),
    code LowCardinality(String),
    keeps_latest Bool,
    payload String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received_at)
ORDER BY identifier_hash
SETTINGS index_granularity = 1024, merge_selector_base = 15, fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
""",
    """
CREATE TABLE IF NOT EXISTS {database}.sums (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    events SimpleAggregateFunction(sum, UInt64),
    total SimpleAggregateFunction(sum, Decimal(76, 15))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
""",
    """
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.sums_fold TO {database}.sums AS
SELECT
    account, livemode, meter, customer,
    toStartOfMinute(timestamp) AS bucket,
    count() AS events,
    sum(toDecimal256(value, 15)) AS total
FROM {database}.events
WHERE status = 'counted' AND NOT keeps_latest
GROUP BY account, livemode, meter, customer, bucket
""",
    """
CREATE TABLE IF NOT EXISTS {database}.latests (
    account LowCardinality(String),
    livemode Bool,
    meter LowCardinality(String),
    customer String,
    bucket DateTime('UTC'),
    last AggregateFunction(argMax, Decimal(38, 15), UInt128),
    survivor AggregateFunction(argMax, Tuple(DateTime64(3, 'UTC'), Decimal(38, 15)), UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(bucket)
ORDER BY (account, livemode, meter, customer, bucket)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1, non_replicated_deduplication_window = 1000
""",
    """
CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.latests_fold TO {database}.latests AS
SELECT
    account, livemode, meter, customer,
    toStartOfMinute(timestamp) AS bucket,
    argMaxState(
        value, bitOr(bitShiftLeft(toUInt128(toUnixTimestamp64Milli(timestamp)), 64), toUInt128(log_offset))
    ) AS last,
    argMaxState((timestamp, value), log_offset) AS survivor
FROM {database}.events
WHERE status = 'counted' AND keeps_latest
GROUP BY account, livemode, meter, customer, bucket
""",
)

SUM, LAST, KEPT = (
    meter_of(Formula.SUM, meter_id="mtr_sum"),
    meter_of(Formula.LAST, meter_id="mtr_last"),
    meter_of(Formula.SUM, HOUR, "mtr_kept"),
)
METERS = (SUM, LAST, KEPT)
TOTALS = {SUM.id: 255, LAST.id: 64, KEPT.id: 236}


@pytest.fixture
def open_now(new_clickhouse_store: Callable[[], ClickHouseStore]) -> Iterator[Callable[[], ClickHouseStore]]:
    """Opens the same database with what prepares it today."""
    clients = new_clickhouse_store()
    yield lambda: ClickHouseStore(clients._writer, clients._reader, f"{clients._database}_before")


@pytest.fixture
def before(open_now: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch) -> ClickHouseStore:
    """A store as it was prepared then, with some days of usage."""

    def prepare(client: Client, database: str) -> None:
        client.command(f"CREATE DATABASE {database}")
        for statement in BEFORE:
            client.command(statement.format(database=database))

    with monkeypatch.context() as then:
        then.setattr(store_module, "prepare", prepare)
        store = open_now()
    for meter in METERS:
        insert_usage(store, meter)
    return store


def whole(store: ClickHouseStore) -> dict[str, int]:
    """The total of each meter over all time; a meter without any is left out."""
    return {meter.id: int(value) for meter in METERS for _, value in totals(store, meter)}


def rows(store: ClickHouseStore, table: str) -> int:
    ((count,),) = store._writer.query(f"SELECT count() FROM {store._database}.{table}").result_rows
    return int(count)


def cancel_the_last(store: ClickHouseStore) -> dict[str, int]:
    """Cancel of every meter the event with the latest timestamp; the totals then."""
    cancel(store, *(event for meter in METERS for event in usage(meter) if event.value == 64))
    return whole(store)


WITHOUT_THE_LAST = {SUM.id: 191, LAST.id: 128, KEPT.id: 172}


def test_a_store_from_before_cancellations_counts_as_it_did_and_cancels_what_it_holds(
    before: ClickHouseStore, open_now: Callable[[], ClickHouseStore]
) -> None:
    store = open_now()
    assert whole(store) == TOTALS
    assert cancel_the_last(store) == WITHOUT_THE_LAST
    (event,) = (event for event in usage(LAST) if event.value == 64)
    assert [each.status for each in store.events_of(TENANT, event.identifier, event.hash)] == [Fate.CANCELLED]


def test_counts_of_a_store_from_before_may_be_negative_now(
    before: ClickHouseStore, open_now: Callable[[], ClickHouseStore]
) -> None:
    """Unsigned ones would wrap around, and come out right only by wrapping back."""
    store = open_now()
    cancel_the_last(store)
    ((least, kind),) = store._writer.query(
        f"SELECT min(events), toTypeName(any(events)) FROM {store._database}.sums"
    ).result_rows
    assert (least, kind) == (-1, "SimpleAggregateFunction(sum, Int64)")


def test_opening_it_again_changes_nothing(before: ClickHouseStore, open_now: Callable[[], ClickHouseStore]) -> None:
    cancel_the_last(open_now())
    store = open_now()
    assert whole(store) == WITHOUT_THE_LAST
    assert rows(store, "latest_events") == len(usage(LAST)) + len(usage(KEPT))
    assert cancel_the_last(store) == WITHOUT_THE_LAST  # under its token it is the same call


def test_what_arrives_after_the_upgrade_counts_and_can_be_cancelled(
    before: ClickHouseStore, open_now: Callable[[], ClickHouseStore]
) -> None:
    store = open_now()
    cancel_the_last(store)
    late = [
        replace(event, identifier=f"late-{event.identifier}", offset=2_000 + event.offset, value=event.value * 1_000)
        for event in usage(LAST)
    ]
    store.insert(settled(late), "late")
    assert whole(store)[LAST.id] == 64_000
    cancel(store, *(event for event in late if event.value == 64_000), offset=3_000)
    assert whole(store)[LAST.id] == 128_000


def test_an_insert_from_before_repeated_under_its_token_is_still_the_same_insert(
    before: ClickHouseStore, open_now: Callable[[], ClickHouseStore]
) -> None:
    store = open_now()
    for meter in METERS:
        insert_usage(store, meter)
    assert whole(store) == TOTALS
    assert cancel_the_last(store) == WITHOUT_THE_LAST


@pytest.mark.parametrize("view", ["sums_fold", "latests_fold"])
def test_an_insert_that_a_crash_cut_before_the_upgrade_is_completed_after_it(
    before: ClickHouseStore, open_now: Callable[[], ClickHouseStore], view: str
) -> None:
    events = [
        Settled(identifier="s", offset=900, value=1, timestamp_ms=FIRST_DAY_MS, meter=SUM.id),
        Settled(identifier="k", offset=901, value=3, timestamp_ms=FIRST_DAY_MS, meter=KEPT.id, keeps_latest=True),
    ]
    before._writer.command(f"DETACH TABLE {before._database}.{view}")
    before.insert(settled(events), "900-902")
    before._writer.command(f"ATTACH TABLE {before._database}.{view}")
    store = open_now()
    store.insert(settled(events), "900-902")
    assert whole(store) == {SUM.id: 256, LAST.id: 64, KEPT.id: 235}
    cancel(store, *events, offset=1_000)
    assert whole(store) == TOTALS


@pytest.mark.parametrize("filled", ["not", "half", "wholly"])
def test_a_start_that_was_killed_while_it_upgraded_is_made_up_for_by_the_next(
    before: ClickHouseStore, open_now: Callable[[], ClickHouseStore], filled: str
) -> None:
    """What such a start leaves behind: the table without the view that feeds it, which is made last."""
    before._writer.command(
        f"CREATE TABLE {before._database}.latest_events ENGINE = MergeTree ORDER BY meter AS "
        "SELECT account, livemode, meter, customer, toStartOfMinute(timestamp) AS bucket, timestamp, value, log_offset "
        f"FROM {before._database}.events WHERE status = 'counted' AND keeps_latest "
        f"LIMIT { {'not': 0, 'half': 8, 'wholly': 16}[filled] }"
    )
    store = open_now()
    assert rows(store, "latest_events") == 16
    assert cancel_the_last(store) == WITHOUT_THE_LAST


def test_an_empty_store_from_before_opens(open_now: Callable[[], ClickHouseStore], before: ClickHouseStore) -> None:
    for table in ("events", "sums", "latests"):
        before._writer.command(f"TRUNCATE TABLE {before._database}.{table}")
    store = open_now()
    assert whole(store) == {}
    store.insert(settled([Settled(identifier="n", offset=5, meter=SUM.id)]), "new")
    assert totals(store, SUM) == [(-24, Decimal(1))]
