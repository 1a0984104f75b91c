"""`UsageAudit` on ClickHouse SQL: whole ranges of the tables, as Arrow."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse.cancellations import read_cancellations
from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.adapters.clickhouse.schema import PACKED_LAST, PACKED_SURVIVOR, unpacked_second, unpacked_value
from streamgauge.domain.cancellation import Cancellation
from streamgauge.domain.recount import RECOUNT_SCHEMA
from streamgauge.domain.summary import Range
from streamgauge.engine.ports.usage_audit import EVENTS_KEPT_SCHEMA, LATESTS_SCHEMA, SUMS_SCHEMA
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

# What does not fit into memory goes through the disk.
_SETTINGS: Final[dict[str, Any]] = {
    "output_format_arrow_string_as_string": 1,
    "max_bytes_before_external_group_by": 2**30,
    "max_bytes_before_external_sort": 2**30,
}
_ROLLUPS: Final = ("sums", "latests", "latest_events", "latests_cancelled")
_KEY: Final = "account, livemode, meter, customer"
_IN_RANGE: Final = "bucket >= toDateTime({start:Int64}, 'UTC') AND bucket < toDateTime({end:Int64}, 'UTC')"
_HASHES: Final = "identifier_hash >= {first:UInt64} AND identifier_hash <= {last:UInt64}"


class ClickHouseAudit:
    def __init__(self, client: Client, database: str, totals: Callable[[SummaryQuery], Sequence[WindowTotal]]) -> None:
        self._client = client
        self._database = database
        self._totals = totals

    def events(self, first_hash: int, last_hash: int) -> pa.Table:
        columns = ", ".join(
            f"toUnixTimestamp64Milli({each.name}) AS {each.name}_ms" if each.name in _MOMENTS else each.name
            for each in RECOUNT_SCHEMA
        )
        # An event that `identifiers` does not name, or not as it is, is missing here, as it is to every look-up.
        named = f"SELECT log_offset, identifier_hash, counted, day FROM {self._database}.identifiers WHERE {_HASHES}"
        sql = (
            f"SELECT {columns} FROM {self._database}.events INNER JOIN ({named}) AS named USING (log_offset) "
            "WHERE counted = (status = 'counted') AND day = toDate(received_at)"
        )
        return self._table("read events", sql, {"first": first_hash, "last": last_hash}, RECOUNT_SCHEMA)

    def unnamed(self, limit: int) -> Sequence[int]:
        with translated("look for events without an identifier"):
            rows = self._client.query(
                f"SELECT log_offset FROM {self._database}.events LEFT ANTI JOIN {self._database}.identifiers "
                f"USING (log_offset) ORDER BY log_offset LIMIT {limit:d}",
                settings={"join_algorithm": "grace_hash", "max_bytes_in_join": 2**30},
            ).result_rows
        return [int(row[0]) for row in rows]

    def cancellations(self, first_hash: int, last_hash: int) -> Sequence[Cancellation]:
        with translated("read cancellations"):
            return read_cancellations(self._client, self._database, _HASHES, {"first": first_hash, "last": last_hash})

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        return self._totals(query)

    def days(self) -> Sequence[int]:
        days: set[int] = set()
        for table in _ROLLUPS:
            with translated("list the days of the rollups"):
                rows = self._client.query(
                    f"SELECT DISTINCT intDiv(toUnixTimestamp(bucket), 86400) FROM {self._database}.{table}"
                ).result_rows
            days |= {int(row[0]) for row in rows}
        return sorted(days)

    def sums(self, range: Range) -> pa.Table:
        # The aliases are not the columns' names, which would stand for them inside of the aggregates.
        sql = (
            f"SELECT {_KEY}, toInt64(toUnixTimestamp(bucket)) AS start_s, sum(events) AS counted, sum(total) AS added "
            f"FROM {self._database}.sums WHERE {_IN_RANGE} GROUP BY {_KEY}, bucket HAVING counted != 0 OR added != 0"
        )
        return self._table("read sums", sql, _between(range), SUMS_SCHEMA)

    def latests(self, range: Range, step_s: int) -> pa.Table:
        cancelled = f"FROM {self._database}.latests_cancelled WHERE {_IN_RANGE}"
        minutes = (
            f"SELECT {_KEY}, bucket, last AS packed_last, survivor AS packed_survivor FROM {self._database}.latests "
            f"WHERE {_IN_RANGE} AND ({_KEY}, bucket) NOT IN (SELECT {_KEY}, bucket {cancelled}) UNION ALL "
            f"SELECT {_KEY}, bucket, {PACKED_LAST} AS packed_last, {PACKED_SURVIVOR} AS packed_survivor "
            f"FROM {self._database}.latest_events "
            f"WHERE {_IN_RANGE} AND ({_KEY}, bucket) IN (SELECT {_KEY}, bucket {cancelled}) "
            f"AND log_offset NOT IN (SELECT event_offset {cancelled})"
        )
        sql = (
            f"SELECT {_KEY}, start_s, {_decimal('latest')}, {unpacked_second('kept')}, {_decimal('kept')} FROM ("
            f"SELECT {_KEY}, intDiv(toInt64(toUnixTimestamp(bucket)), {step_s:d}) * {step_s:d} AS start_s, "
            f"max(packed_last) AS latest, max(packed_survivor) AS kept FROM ({minutes}) GROUP BY {_KEY}, start_s)"
        )
        return self._table("read the latest events", sql, _between(range), LATESTS_SCHEMA)

    def events_kept(self, range: Range) -> pa.Table:
        sql = (
            f"SELECT {_KEY}, toInt64(toUnixTimestamp(bucket)) AS start_s, toInt64(uniqExact(log_offset)) AS counted "
            f"FROM {self._database}.latest_events WHERE {_IN_RANGE} AND log_offset NOT IN "
            f"(SELECT event_offset FROM {self._database}.latests_cancelled WHERE {_IN_RANGE}) GROUP BY {_KEY}, bucket"
        )
        return self._table("read events that are kept", sql, _between(range), EVENTS_KEPT_SCHEMA)

    def _table(self, doing: str, sql: str, parameters: dict[str, Any], schema: pa.Schema) -> pa.Table:
        with translated(doing):
            found = self._client.query_arrow(sql, parameters=parameters, settings=_SETTINGS)
        # An answer without rows has no columns.
        return found.rename_columns(schema.names).cast(schema) if found.num_columns else schema.empty_table()


_MOMENTS: Final = ("timestamp", "received_at", "first_received_at")


def _between(range: Range) -> dict[str, Any]:
    return {"start": range.start_s, "end": range.end_s}


def _decimal(packed: str) -> str:
    """SQL of the value that a packed number holds."""
    return f"reinterpret(toInt128({unpacked_value(packed)}), 'Decimal(38, 15)')"
