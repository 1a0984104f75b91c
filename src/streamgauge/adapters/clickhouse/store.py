"""`UsageStore` on ClickHouse SQL."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from numpy.typing import NDArray

from streamgauge.adapters.clickhouse import step as steps
from streamgauge.adapters.clickhouse.audit import ClickHouseAudit
from streamgauge.adapters.clickhouse.cancellations import (
    cancellation_table,
    cancelled_at,
    cancelled_at_sql,
    counted_event,
    counted_sql,
    latests_cancelled_rows,
    negative_sums,
)
from streamgauge.adapters.clickhouse.claim_lookup import (
    LOOKUP_SETTINGS,
    ClaimLookup,
    day_since,
    lists,
    offsets_sql,
    received_since,
)
from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.adapters.clickhouse.event_rows import event_rows
from streamgauge.adapters.clickhouse.preparation import prepare
from streamgauge.adapters.clickhouse.rollups import ClickHouseRollups, with_step
from streamgauge.adapters.clickhouse.step import StepWriter
from streamgauge.adapters.clickhouse.stored_events import STORED_COLUMNS, stored_event
from streamgauge.adapters.clickhouse.stored_events import cancelled_sql as cancelled_sql_of
from streamgauge.adapters.clickhouse.summaries import SUMMARY_SETTINGS, WindowTotals, cancelled_sql, summary_sql
from streamgauge.adapters.clickhouse.whole_parts import WholeParts
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation, CountedEvent
from streamgauge.domain.claims import ClaimRange, KnownClaims
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.rollups import fold
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

# Of so many events in a step `events` is written beside the other tables. Smaller ones are soon done, and leave the
# other core to acknowledging.
BESIDE_EVENTS_MIN: Final = 60_000


class ClickHouseStore:
    """Clients of their own for inserts, for those of `events`, for queries, and for looking up claims: none of these
    waits for another. What shares one takes turns."""

    def __init__(
        self,
        writer: Client,
        reader: Client,
        database: str = "streamgauge",
        *,
        events_writer: Client | None = None,
        seeker: Client | None = None,
    ) -> None:
        self._writer = writer
        self._events_writer = events_writer or writer
        self._inserting = ThreadPoolExecutor(1, thread_name_prefix="insert-events")
        self._reader = reader
        self._claims = ClaimLookup(seeker or writer, database)
        self._database = database
        self._reading = threading.Lock()
        with translated("create the usage store's tables"):
            prepare(writer, database)
        self._parts = WholeParts(writer, database)
        # Where nothing was ever cancelled nobody looks for it: 2 to 4 ms of each receipt and each meter that keeps the
        # latest. Whoever cancels does it here, or did before.
        self._has_cancellations = self._count("cancellations") > 0

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        with translated(f"insert {events.table.num_rows} events of the step at offset {step}"):
            # Rows of the step are those at its first offset or later: nothing after it was ever written.
            of_step = f"log_offset >= {step:d}"
            # Half of the work is `events`. Each table by itself is there or not, so the order does not matter.
            storing = self._inserting.submit(self._insert_events, events.table, of_step, again=again)
            if events.table.num_rows < BESIDE_EVENTS_MIN:
                storing.result()
            try:
                writer = StepWriter(self._writer, self._database, again=again)
                writer.write(steps.IDENTIFIERS, events.identifiers, of_step)
                rows = fold(events.table)
                writer.write(steps.SUMS, with_step(rows.sums, _folded(step)), f"step >= {_folded(step):d}")
                writer.write(steps.LATESTS, with_step(rows.latests, _folded(step)), f"step >= {_folded(step):d}")
                writer.write(steps.LATEST_EVENTS, rows.latest_events, of_step)
            finally:
                storing.result()
        self._parts.check()

    def _insert_events(self, events: pa.Table, of_step: str, *, again: bool) -> None:
        writer = StepWriter(self._events_writer, self._database, again=again)
        writer.write(steps.EVENTS, event_rows(events), f"log_partition = 0 AND {of_step}")

    def cancel(self, cancellations: Sequence[Cancellation], *, step: int, again: bool = False) -> None:
        if not cancellations:
            return
        self._has_cancellations = True  # before one is there to be seen
        with translated(f"cancel {len(cancellations)} events in the step at offset {step}"):
            writer = StepWriter(self._writer, self._database, again=again)
            of_step, number = f"log_offset >= {step:d}", _cancelled(step)
            writer.write(steps.CANCELLATIONS, cancellation_table(cancellations), of_step)
            writer.write(steps.SUMS, with_step(negative_sums(cancellations), number), f"step >= {number:d}")
            writer.write(steps.LATESTS_CANCELLED, latests_cancelled_rows(cancellations), of_step)
        self._parts.check()

    def claims(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        return self._claims.all_of(hashes, where)

    def neighbouring_claims(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        return self._claims.neighbouring(hashes, where)

    def counted(self, hashes: NDArray[np.uint64], *, since_ms: int, below_offset: int) -> Sequence[CountedEvent]:
        # Other threads than the applier's ask too, and must not wait for an insert: so the reader answers.
        found: list[CountedEvent] = []
        for listed in lists(hashes):
            sql = offsets_sql(self._database, listed, since_ms=since_ms, below_offset=below_offset)
            places = {int(offset): int(number) for offset, number in self._look_up("look up identifiers", sql)}
            if not places:
                continue
            cancelled = {}
            if self._has_cancellations:
                sql = cancelled_at_sql(self._database, listed, below_offset=below_offset)
                cancelled = cancelled_at(self._look_up("look up cancellations", sql))
            for offsets in lists(list(places)):
                sql = counted_sql(self._database, offsets, since_ms=since_ms)
                events = self._look_up("look up counted events", sql)
                found.extend(counted_event(row, places, cancelled) for row in events)
        return found

    def claimed_hashes(self, *, since_ms: int, from_offset: int = 0) -> Iterator[tuple[NDArray[np.uint64], int]]:
        since_ms = max(since_ms, 0)
        with translated("list the days that hold identifiers"):
            days = self._writer.query(
                "SELECT toYYYYMMDD(received_at) AS day, toUnixTimestamp64Milli(max(received_at)) "
                f"FROM {self._database}.events WHERE {received_since(since_ms)} AND log_partition = 0 "
                f"AND log_offset >= {from_offset:d} GROUP BY day ORDER BY day"
            ).result_rows
        for day, last_ms in days:
            with (
                translated(f"read the identifiers of {day}"),
                self._writer.query_np_stream(
                    f"SELECT identifier_hash FROM {self._database}.identifiers "
                    f"WHERE counted AND toYYYYMMDD(day) = {day:d} AND log_offset >= {from_offset:d}",
                    settings={"max_block_size": 2**20, "preferred_block_size_bytes": 2**24},
                ) as blocks,
            ):
                for block in blocks:
                    yield cast(NDArray[np.uint64], block).reshape(-1), int(last_ms)

    def count_events(self) -> int:
        return self._count("events")

    def count_claimed(self, *, since_ms: int, from_offset: int = 0) -> int:
        with translated("count identifiers"):
            (row,) = self._writer.query(
                f"SELECT count() FROM {self._database}.identifiers WHERE counted AND {day_since(since_ms)} "
                f"AND log_offset >= {from_offset:d}"
            ).result_rows
        return int(row[0])

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        seen, has_cancellations = None, self._has_cancellations
        if query.meter.keeps_latest and has_cancellations:
            ((seen,),) = self._read("read cancellations", *cancelled_sql(query, self._database), SUMMARY_SETTINGS)
        sql, parameters = summary_sql(query, self._database, has_cancellations=has_cancellations, cancelled_up_to=seen)
        rows = self._read("read summaries", sql, parameters, SUMMARY_SETTINGS)
        if self._has_cancellations and not has_cancellations:
            return self.totals(query)  # the first of all came meanwhile: it may have left a row with nothing in it
        return WindowTotals(query, rows)

    def events_of(self, tenant: Tenant, identifier: str, identifier_hash: int) -> Sequence[StoredEvent]:
        # Two queries, since as one that has the first inside of it they take half as long again.
        places = self._look_up(
            "look up an identifier",
            f"SELECT log_offset FROM {self._database}.identifiers WHERE identifier_hash = {identifier_hash:d}",
        )
        rows = [
            row
            for listed in lists([int(offset) for (offset,) in places])
            for row in self._look_up(
                "look up events",
                f"SELECT account, livemode, {STORED_COLUMNS} FROM {self._database}.events "
                f"WHERE log_partition = 0 AND log_offset IN ({listed})",
            )
        ]
        # Identifiers may share a hash. To leave the others out, and to sort, is cheaper here than in the store.
        wanted = (tenant.account_id, tenant.livemode, identifier)
        events = [row for account, livemode, *row in rows if (account, bool(livemode), row[0]) == wanted]
        cancelled_at_ms: dict[int, int] = {}
        if events and self._has_cancellations:
            # After the events: whatever was cancelled is then among them.
            cancelled = self._look_up("look up cancellations", cancelled_sql_of(self._database, [identifier_hash]))
            cancelled_at_ms = {int(offset): int(at_ms) for offset, at_ms in cancelled}
        return sorted((stored_event(row, cancelled_at_ms) for row in events), key=lambda each: each.log_offset)

    @property
    def audit(self) -> ClickHouseAudit:
        """Of the same tables, with the client that applying uses: the two exclude each other."""
        return ClickHouseAudit(self._writer, self._database, self.totals)

    @property
    def rollups(self) -> ClickHouseRollups:
        return ClickHouseRollups(self._writer, self._database, self._parts)

    def close(self) -> None:
        self._inserting.shutdown()
        self._reader.close()
        self._claims.close()
        self._events_writer.close()
        self._writer.close()

    def _count(self, table: str) -> int:
        with translated(f"count {table}"):
            (row,) = self._writer.query(f"SELECT count() FROM {self._database}.{table}").result_rows
        return int(row[0])

    def _look_up(self, doing: str, sql: str) -> Sequence[Sequence[Any]]:
        return self._read(doing, sql, {}, LOOKUP_SETTINGS)

    def _read(
        self, doing: str, sql: str, parameters: dict[str, Any], settings: dict[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        # An embedded client answers one query at a time.
        with self._reading, translated(doing):
            found = self._reader.query(sql, parameters=parameters, settings=settings)
            return cast(Sequence[Sequence[Any]], found.result_rows)


# A rollup's rows say of which step they are. A step folds its events in first, and then what it cancels.
def _folded(step: int) -> int:
    return 2 * step + 1


def _cancelled(step: int) -> int:
    return 2 * step + 2
