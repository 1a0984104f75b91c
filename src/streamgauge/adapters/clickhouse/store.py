"""`UsageStore` on ClickHouse SQL."""

import threading
from collections.abc import Callable, Iterator, Sequence
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
from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.adapters.clickhouse.event_rows import event_rows
from streamgauge.adapters.clickhouse.preparation import prepare
from streamgauge.adapters.clickhouse.rollups import ClickHouseRollups, with_step
from streamgauge.adapters.clickhouse.step import StepWriter
from streamgauge.adapters.clickhouse.stored_events import STORED_COLUMNS, stored_event
from streamgauge.adapters.clickhouse.stored_events import cancelled_sql as cancelled_sql_of
from streamgauge.adapters.clickhouse.summaries import SUMMARY_SETTINGS, cancelled_sql, summary_sql, window_total
from streamgauge.adapters.clickhouse.whole_parts import WholeParts
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation, CountedEvent
from streamgauge.domain.claims import CLAIM_SCHEMA, KnownClaims
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.rollups import fold
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

_LOOKUP_HASHES_MAX: Final = 10_000
_LOOKUP_SETTINGS: Final[dict[str, Any]] = {"max_threads": 1, "max_query_size": 2**20}
_SEEK_SETTINGS: Final[dict[str, Any]] = {**_LOOKUP_SETTINGS, "output_format_arrow_string_as_string": 1}
_IDENTIFIED: Final = "identifier = {identifier:String} AND account = {account:String} AND livemode = {livemode:Bool}"


class ClickHouseStore:
    """Clients of their own for inserts, for queries, and for looking up claims: none of these waits for another."""

    def __init__(
        self, writer: Client, reader: Client, database: str = "streamgauge", *, seeker: Client | None = None
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._seeker = seeker or writer
        self._database = database
        self._reading = threading.Lock()
        with translated("create the usage store's tables"):
            prepare(writer, database)
        self._parts = WholeParts(writer, database)

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        with translated(f"insert {events.table.num_rows} events of the step at offset {step}"):
            writer = StepWriter(self._writer, self._database, again=again)
            # Rows of the step are those at its first offset or later: nothing after it was ever written.
            of_step = f"log_offset >= {step:d}"
            writer.write(steps.EVENTS, event_rows(events.table), f"log_partition = 0 AND {of_step}")
            writer.write(steps.IDENTIFIERS, events.identifiers, of_step)
            rows = fold(events.table)
            writer.write(steps.SUMS, with_step(rows.sums, _folded(step)), f"step >= {_folded(step):d}")
            writer.write(steps.LATESTS, with_step(rows.latests, _folded(step)), f"step >= {_folded(step):d}")
            writer.write(steps.LATEST_EVENTS, rows.latest_events, of_step)
        self._parts.check()

    def cancel(self, cancellations: Sequence[Cancellation], *, step: int, again: bool = False) -> None:
        if not cancellations:
            return
        with translated(f"cancel {len(cancellations)} events in the step at offset {step}"):
            writer = StepWriter(self._writer, self._database, again=again)
            of_step, number = f"log_offset >= {step:d}", _cancelled(step)
            writer.write(steps.CANCELLATIONS, cancellation_table(cancellations), of_step)
            writer.write(steps.SUMS, with_step(negative_sums(cancellations), number), f"step >= {number:d}")
            writer.write(steps.LATESTS_CANCELLED, latests_cancelled_rows(cancellations), of_step)
        self._parts.check()

    def claims(
        self, hashes: NDArray[np.uint64], *, since_ms: int, below_offset: int, from_offset: int = 0
    ) -> KnownClaims:
        nothing = KnownClaims.of(CLAIM_SCHEMA.empty_table(), np.empty(0, np.uint64))
        if not len(hashes):
            return nothing
        with translated("look up identifiers"):
            places = self._seek(
                hashes,
                lambda listed: (
                    _offsets_sql(self._database, listed, since_ms=since_ms, below_offset=below_offset)
                    # Leaves whole parts out.
                    + f" AND log_offset >= {from_offset:d}"
                ),
            )
            if not len(places):
                return nothing
            by_offset = places.sort_by("log_offset")
            offsets = by_offset["log_offset"].to_numpy()
            events = self._seek(
                offsets,
                lambda listed: (
                    f"SELECT {', '.join(CLAIM_SCHEMA.names)} "
                    f"FROM {self._database}.events WHERE log_partition = 0 AND log_offset IN ({listed}) "
                    f"AND {_received_since(since_ms)}"
                ),
            ).cast(CLAIM_SCHEMA)
            at = np.searchsorted(offsets, events["log_offset"].to_numpy())
            return KnownClaims.of(events, by_offset["identifier_hash"].to_numpy()[at])

    def counted(self, hashes: NDArray[np.uint64], *, since_ms: int, below_offset: int) -> Sequence[CountedEvent]:
        # Other threads than the applier's ask too, and must not wait for an insert: so the reader answers.
        found: list[CountedEvent] = []
        for listed in _lists(hashes):
            sql = _offsets_sql(self._database, listed, since_ms=since_ms, below_offset=below_offset)
            places = {int(offset): int(number) for offset, number in self._look_up("look up identifiers", sql)}
            if not places:
                continue
            sql = cancelled_at_sql(self._database, listed, below_offset=below_offset)
            cancelled = cancelled_at(self._look_up("look up cancellations", sql))
            for offsets in _lists(list(places)):
                sql = counted_sql(self._database, offsets, since_ms=since_ms)
                events = self._look_up("look up counted events", sql)
                found.extend(counted_event(row, places, cancelled) for row in events)
        return found

    def claimed_hashes(self, *, since_ms: int, from_offset: int = 0) -> Iterator[tuple[NDArray[np.uint64], int]]:
        since_ms = max(since_ms, 0)
        with translated("list the days that hold identifiers"):
            days = self._writer.query(
                "SELECT toYYYYMMDD(received_at) AS day, toUnixTimestamp64Milli(max(received_at)) "
                f"FROM {self._database}.events WHERE {_received_since(since_ms)} AND log_partition = 0 "
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
        with translated("count events"):
            (row,) = self._writer.query(f"SELECT count() FROM {self._database}.events").result_rows
        return int(row[0])

    def count_claimed(self, *, since_ms: int, from_offset: int = 0) -> int:
        with translated("count identifiers"):
            (row,) = self._writer.query(
                f"SELECT count() FROM {self._database}.identifiers WHERE counted AND {_day_since(since_ms)} "
                f"AND log_offset >= {from_offset:d}"
            ).result_rows
        return int(row[0])

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        seen = None
        if query.meter.keeps_latest:
            ((seen,),) = self._read("read cancellations", *cancelled_sql(query, self._database), SUMMARY_SETTINGS)
        sql, parameters = summary_sql(query, self._database, cancelled_up_to=seen)
        rows = self._read("read summaries", sql, parameters, SUMMARY_SETTINGS)
        return [window_total(query, row) for row in rows]

    def events_of(self, tenant: Tenant, identifier: str, identifier_hash: int) -> Sequence[StoredEvent]:
        rows = self._read(
            "look up an identifier",
            f"SELECT {STORED_COLUMNS} FROM {self._database}.events WHERE log_partition = 0 AND log_offset IN "
            f"(SELECT log_offset FROM {self._database}.identifiers WHERE identifier_hash = {identifier_hash:d}) "
            f"AND {_IDENTIFIED} ORDER BY log_offset",
            {"identifier": identifier, "account": tenant.account_id, "livemode": tenant.livemode},
            _LOOKUP_SETTINGS,
        )
        if not rows:
            return []
        # After the events: whatever was cancelled is then among them.
        cancelled = self._look_up("look up cancellations", cancelled_sql_of(self._database, [identifier_hash]))
        cancelled_at_ms = {int(offset): int(at_ms) for offset, at_ms in cancelled}
        return [stored_event(row, cancelled_at_ms) for row in rows]

    @property
    def audit(self) -> ClickHouseAudit:
        """Of the same tables, with the client that applying uses: the two exclude each other."""
        return ClickHouseAudit(self._writer, self._database, self.totals)

    @property
    def rollups(self) -> ClickHouseRollups:
        return ClickHouseRollups(self._writer, self._database, self._parts)

    def close(self) -> None:
        self._reader.close()
        if self._seeker is not self._writer:
            self._seeker.close()
        self._writer.close()

    def _seek(self, numbers: NDArray[np.uint64], sql_of: Callable[[str], str]) -> pa.Table:
        """The answer to a query for these numbers, one or more. A few stand in it as a list. Many are handed over as a
        column: each list of them would read nearly all of the table, and a column reads it once."""
        listed = "SELECT number FROM Python(streamgauge_numbers)"
        if len(numbers) <= _LOOKUP_HASHES_MAX:
            listed = ",".join(map(str, numbers.tolist()))
        # The embedded engine finds the column by the variable's name.
        streamgauge_numbers = pa.table({"number": numbers})
        found = self._seeker.query_arrow(sql_of(listed), settings=_SEEK_SETTINGS)
        del streamgauge_numbers
        return found

    def _look_up(self, doing: str, sql: str) -> Sequence[Sequence[Any]]:
        return self._read(doing, sql, {}, _LOOKUP_SETTINGS)

    def _read(
        self, doing: str, sql: str, parameters: dict[str, Any], settings: dict[str, Any] | None = None
    ) -> Sequence[Sequence[Any]]:
        # An embedded client answers one query at a time.
        with self._reading, translated(doing):
            found = self._reader.query(sql, parameters=parameters, settings=settings)
            return cast(Sequence[Sequence[Any]], found.result_rows)


def _lists(numbers: NDArray[np.uint64] | Sequence[int]) -> Iterator[str]:
    """The numbers as SQL lists them, in portions that fit into a query."""
    for start in range(0, len(numbers), _LOOKUP_HASHES_MAX):
        yield ",".join(map(str, list(numbers[start : start + _LOOKUP_HASHES_MAX])))


def _offsets_sql(database: str, listed: str, *, since_ms: int, below_offset: int) -> str:
    """(offset, hash) of the counted events with one of the `listed` hashes. Most are of none: the filter took them for
    known. So the hashes are read first, alone."""
    return (
        f"SELECT log_offset, identifier_hash FROM {database}.identifiers PREWHERE identifier_hash IN ({listed}) "
        f"WHERE counted AND {_day_since(since_ms)} AND log_offset < {below_offset:d}"
    )


def _received_since(since_ms: int) -> str:
    return f"received_at >= fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC')"


def _day_since(since_ms: int) -> str:
    """Of `identifiers`, which know the day of receipt alone: nothing is left out, and a part of a day too much."""
    return f"day >= toDate(fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC'))"


# A rollup's rows say of which step they are. A step folds its events in first, and then what it cancels.
def _folded(step: int) -> int:
    return 2 * step + 1


def _cancelled(step: int) -> int:
    return 2 * step + 2
