"""`UsageStore` on ClickHouse SQL."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from streamgauge.adapters.clickhouse.audit import ClickHouseAudit
from streamgauge.adapters.clickhouse.cancellations import (
    cancellation_table,
    cancelled_at,
    cancelled_at_sql,
    counted_event,
    counted_sql,
)
from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.adapters.clickhouse.preparation import prepare
from streamgauge.adapters.clickhouse.rollups import ClickHouseRollups
from streamgauge.adapters.clickhouse.summaries import cancelled_sql, summary_sql, window_total
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation, CountedEvent
from streamgauge.domain.fate import Fate
from streamgauge.domain.payload_text import payload_of
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.engine.ports.usage_store import Claim, SummaryQuery, WindowTotal

# One insert is one block, so that one token names all of it; the applier bounds its size.
_INSERT_SETTINGS: Final[dict[str, Any]] = {
    "max_threads": 1,
    "max_insert_threads": 1,
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 10_000_000,
    "min_insert_block_size_bytes": 2**32,
    "input_format_parallel_parsing": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "throw_on_max_partitions_per_insert_block": 0,
}
_LOOKUP_HASHES_MAX: Final = 10_000
_LOOKUP_SETTINGS: Final[dict[str, Any]] = {"max_threads": 1, "max_query_size": 2**20}
_IDENTIFIED: Final = (
    "identifier_hash = {hash:UInt64} AND identifier = {identifier:String} "
    "AND account = {account:String} AND livemode = {livemode:Bool}"
)


class ClickHouseStore:
    """Two clients: one for applying and one for reading, so that a query does not wait for an insert."""

    def __init__(self, writer: Client, reader: Client, database: str = "streamgauge") -> None:
        self._writer = writer
        self._reader = reader
        self._database = database
        self._reading = threading.Lock()
        with translated("create the usage store's tables"):
            prepare(writer, database)

    def insert(self, events: SettledEvents, token: str) -> None:
        with translated(f"insert {events.table.num_rows} events as {token}"):
            self._insert("events", events.table, token)

    def cancel(self, cancellations: Sequence[Cancellation], token: str) -> None:
        if not cancellations:
            return
        # Both views into `sums` carry their token on. The engine keeps them apart by view; the word does so by itself.
        with translated(f"cancel {len(cancellations)} events as {token}"):
            self._insert("cancellations", cancellation_table(cancellations), f"cancel {token}")

    def claims(self, hashes: NDArray[np.uint64], *, since_ms: int, below_offset: int) -> Sequence[Claim]:
        found: list[Claim] = []
        for listed in _lists(hashes):
            with translated("look up identifiers"):
                rows = self._writer.query(
                    "SELECT account, livemode, identifier, toUnixTimestamp64Milli(received_at) "
                    f"FROM {self._database}.events "
                    f"WHERE identifier_hash IN ({listed}) AND status = 'counted' "
                    f"AND received_at >= fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC') "
                    f"AND log_offset < {below_offset:d}",
                    settings=_LOOKUP_SETTINGS,
                ).result_rows
            found.extend(Claim(Tenant(account, bool(live)), name, int(at_ms)) for account, live, name, at_ms in rows)
        return found

    def counted(self, hashes: NDArray[np.uint64], *, since_ms: int, below_offset: int) -> Sequence[CountedEvent]:
        # Other threads than the applier's ask too, and must not wait for an insert: so the reader answers.
        found: list[CountedEvent] = []
        for listed in _lists(hashes):
            sql = counted_sql(self._database, listed, since_ms=since_ms, below_offset=below_offset)
            events = self._read("look up counted events", sql, {}, _LOOKUP_SETTINGS)
            sql = cancelled_at_sql(self._database, listed, below_offset=below_offset)
            cancelled = cancelled_at(self._read("look up cancellations", sql, {}, _LOOKUP_SETTINGS)) if events else {}
            found.extend(counted_event(row, cancelled) for row in events)
        return found

    def claimed_hashes(self, *, since_ms: int) -> Iterator[tuple[NDArray[np.uint64], int]]:
        where = f"status = 'counted' AND received_at >= fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC')"
        with translated("list the days that hold identifiers"):
            days = self._writer.query(
                f"SELECT toYYYYMMDD(received_at) AS day, toUnixTimestamp64Milli(max(received_at)) "
                f"FROM {self._database}.events WHERE {where} GROUP BY day ORDER BY day"
            ).result_rows
        for day, last_ms in days:
            with (
                translated(f"read the identifiers of {day}"),
                self._writer.query_np_stream(
                    f"SELECT identifier_hash FROM {self._database}.events "
                    f"WHERE {where} AND toYYYYMMDD(received_at) = {day:d}",
                    settings={"max_block_size": 2**20, "preferred_block_size_bytes": 2**24},
                ) as blocks,
            ):
                for block in blocks:
                    yield cast(NDArray[np.uint64], block).reshape(-1), int(last_ms)

    def count_events(self) -> int:
        with translated("count events"):
            (row,) = self._writer.query(f"SELECT count() FROM {self._database}.events").result_rows
        return int(row[0])

    def count_claimed(self, *, since_ms: int) -> int:
        with translated("count identifiers"):
            (row,) = self._writer.query(
                f"SELECT count() FROM {self._database}.events WHERE status = 'counted' "
                f"AND received_at >= fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC')"
            ).result_rows
        return int(row[0])

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        seen = None
        if query.meter.keeps_latest:
            ((seen,),) = self._read("read cancellations", *cancelled_sql(query, self._database))
        sql, parameters = summary_sql(query, self._database, cancelled_up_to=seen)
        totals = [window_total(query, row) for row in self._read("read summaries", sql, parameters)]
        return totals if query.start_s_after is None else totals[::-1]

    def events_of(self, tenant: Tenant, identifier: str, identifier_hash: int) -> Sequence[StoredEvent]:
        rows = self._read(
            "look up an identifier",
            "SELECT event_name, status, code, meter, customer, value, toUnixTimestamp64Milli(timestamp), "
            "timestamp_given, toUnixTimestamp64Milli(received_at), log_offset, payload, "
            f"log_offset IN (SELECT event_offset FROM {self._database}.cancellations WHERE {_IDENTIFIED}) "
            f"FROM {self._database}.events WHERE {_IDENTIFIED} ORDER BY log_partition, log_offset",
            {
                "hash": identifier_hash,
                "identifier": identifier,
                "account": tenant.account_id,
                "livemode": tenant.livemode,
            },
        )
        return [_stored_event(identifier, row) for row in rows]

    @property
    def audit(self) -> ClickHouseAudit:
        """Of the same tables, with the client that applying uses: the two exclude each other."""
        return ClickHouseAudit(self._writer, self._database)

    @property
    def rollups(self) -> ClickHouseRollups:
        return ClickHouseRollups(self._writer, self._database)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _insert(self, table: str, rows: pa.Table, token: str) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, rows.schema) as file:
            file.write_table(rows)
        self._writer.raw_insert(
            f"{self._database}.{table}",
            column_names=rows.column_names,
            insert_block=memoryview(sink.getvalue()),
            fmt="Arrow",
            settings={**_INSERT_SETTINGS, "insert_deduplication_token": token},
        )

    def _read(
        self, doing: str, sql: str, parameters: dict[str, Any], settings: dict[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        # An embedded client answers one query at a time.
        with self._reading, translated(doing):
            found = self._reader.query(sql, parameters=parameters, settings=settings)
            return cast(Sequence[Sequence[Any]], found.result_rows)


def _lists(hashes: NDArray[np.uint64]) -> Iterator[str]:
    """The hashes as SQL lists them, in portions that fit into a query."""
    for start in range(0, len(hashes), _LOOKUP_HASHES_MAX):
        yield ",".join(map(str, hashes[start : start + _LOOKUP_HASHES_MAX].tolist()))


def _stored_event(identifier: str, row: Sequence[Any]) -> StoredEvent:
    name, status, code, meter, customer, value, timestamp_ms, given, received_at_ms, offset, payload, gone = row
    return StoredEvent(
        identifier=identifier,
        event_name=name,
        status=Fate.CANCELLED if gone else Fate(status),
        code=code,
        meter=meter,
        customer=customer,
        value=value,
        timestamp_ms=int(timestamp_ms),
        timestamp_given=bool(given),
        received_at_ms=int(received_at_ms),
        log_offset=int(offset),
        payload=payload_of(payload),
    )
