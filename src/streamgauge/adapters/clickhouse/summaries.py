"""Summaries in SQL: the formula of a meter over windows of its rollups."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, overload

from streamgauge.adapters.clickhouse.schema import PACKED_LAST, PACKED_SURVIVOR, unpacked_second, unpacked_value
from streamgauge.domain.decimals import EXACT, VALUE_TYPE
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.domain.summary import MINUTE_S, WINDOW_S, Range
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

_START_OF = {EventTimeWindow.HOUR: "toStartOfHour", EventTimeWindow.DAY: "toStartOfDay"}

# What a customer has stands together, a granule in each part. So one thread reads it, all columns at once, and no more
# bytes than a granule has: a third less CPU than what the engine does by default, which is meant for large scans. There
# are no projections to look for, which would take another twentieth.
SUMMARY_SETTINGS: Final[dict[str, Any]] = {
    "max_threads": 1,
    "optimize_move_to_prewhere": 0,
    "max_read_buffer_size_local_fs": 65_536,
    "optimize_use_projections": 0,
    "optimize_use_implicit_projections": 0,
}

_OF_CUSTOMER = (
    "account = {account:String} AND livemode = {livemode:Bool} AND meter = {meter:String} "
    "AND customer = {customer:String} "
    "AND bucket >= toDateTime({from:Int64}, 'UTC') AND bucket < toDateTime({to:Int64}, 'UTC')"
)


def cancelled_sql(query: SummaryQuery, database: str) -> tuple[str, dict[str, Any]]:
    """SQL and parameters; the one row is the log offset of the newest cancellation among the minutes that
    `summary_sql` reads of a meter that keeps the latest, None without any."""
    sql = f"SELECT maxOrNull(log_offset) FROM {database}.latests_cancelled WHERE {_OF_CUSTOMER}"
    return sql, _parameters(query)


def summary_sql(
    query: SummaryQuery, database: str, *, has_cancellations: bool, cancelled_up_to: int | None = None
) -> tuple[str, dict[str, Any]]:
    """SQL and parameters; rows are (window start in Unix seconds, value), newest first.

    `has_cancellations`: whether anything was ever cancelled. `cancelled_up_to` is what `cancelled_sql` found. Later
    cancellations are left out: the SQL looks several times, and must see the same each time.
    """
    moment = "bucket" if query.meter.event_time_window is None else "at"
    window = "toDateTime({start:Int64}, 'UTC')" if query.grouping is None else f"{_START_OF[query.grouping]}({moment})"
    # A minute whose events were all cancelled still has its row in `sums`. To look for it is an eighth of the query.
    having = "HAVING sum(events) > 0 " if has_cancellations and not query.meter.keeps_latest else ""
    sql = (
        f"SELECT toUnixTimestamp({window}) AS window, {_value(query)} AS total "
        f"FROM {_source(query, database, with_cancellations=cancelled_up_to is not None)} "
        f"GROUP BY window {having}ORDER BY window DESC LIMIT {{limit:UInt32}}"
    )
    return sql, _parameters(query) | ({} if cancelled_up_to is None else {"cancelled_up_to": cancelled_up_to})


def _parameters(query: SummaryQuery) -> dict[str, Any]:
    start_s, end_s = query.range.start_s, query.range.end_s
    # An event time window is looked at whole, also where the range begins or ends inside it.
    kept_s = MINUTE_S if query.meter.event_time_window is None else WINDOW_S[query.meter.event_time_window]
    return {
        "account": query.meter.tenant.account_id,
        "livemode": query.meter.tenant.livemode,
        "meter": query.meter.id,
        "customer": query.customer_id,
        "start": start_s,
        "end": end_s,
        "from": start_s // kept_s * kept_s,
        "to": -(-end_s // kept_s) * kept_s,
        "limit": query.limit,
    }


def _source(query: SummaryQuery, database: str, *, with_cancellations: bool) -> str:
    """What is aggregated and stands behind FROM, with the moment that says into which window it falls: minutes by
    `bucket`, or for a meter with an event time window the one event that each such window keeps, by its time `at`.

    Which event is kept is decided over whole event time windows, before the range asked for cuts them.
    """
    if not query.meter.keeps_latest:
        return _rollup(database, "sums")
    if query.meter.event_time_window is None:
        return _latests(database, "last", PACKED_LAST, with_cancellations=with_cancellations)
    start_of = _START_OF[query.meter.event_time_window]
    minutes = _latests(database, "survivor", PACKED_SURVIVOR, with_cancellations=with_cancellations)
    return (
        f"(SELECT fromUnixTimestamp64Milli({unpacked_second('kept')}, 'UTC') AS at, {unpacked_value('kept')} AS scaled "
        f"FROM (SELECT max(survivor) AS kept FROM {minutes} GROUP BY {start_of}(bucket))) "
        "WHERE at >= toDateTime64({start:Int64}, 3, 'UTC') AND at < toDateTime64({end:Int64}, 3, 'UTC')"
    )


def _rollup(database: str, table: str) -> str:
    """Behind FROM, too: all columns of the rollup's minutes, not as a query of its own, which would take longer."""
    return f"{database}.{table} WHERE {_OF_CUSTOMER}"


def _latests(database: str, name: str, packed: str, *, with_cancellations: bool) -> str:
    """Behind FROM, too: the minutes, with the packed number `name` of each: those that hold a cancellation from their
    events, the rest, or all, from the rollup."""
    if not with_cancellations:
        return _rollup(database, "latests")
    cancelled = f"FROM {database}.latests_cancelled WHERE {_OF_CUSTOMER} AND log_offset <= {{cancelled_up_to:UInt64}}"
    return (
        f"(SELECT bucket, {name} FROM {_rollup(database, 'latests')} "
        f"AND bucket NOT IN (SELECT bucket {cancelled}) UNION ALL "
        f"SELECT bucket, max({packed}) AS {name} FROM {database}.latest_events WHERE {_OF_CUSTOMER} "
        f"AND bucket IN (SELECT bucket {cancelled}) AND log_offset NOT IN (SELECT event_offset {cancelled}) "
        "GROUP BY bucket)"
    )


def _value(query: SummaryQuery) -> str:
    """In 10^-15 for formulas over packed numbers, see `_is_scaled`."""
    windowed = query.meter.event_time_window is not None
    match query.meter.formula:
        case Formula.COUNT:
            return "count()" if windowed else "sum(events)"
        case Formula.SUM:
            return "sum(scaled)" if windowed else "sum(total)"
        case Formula.LAST:
            return "argMax(scaled, at)" if windowed else unpacked_value("max(last)")


def _is_scaled(query: SummaryQuery) -> bool:
    return query.meter.keeps_latest and query.meter.formula is not Formula.COUNT


class WindowTotals(Sequence[WindowTotal]):
    """Of the rows that `summary_sql` gives, each made when it is asked for: most lists are read page by page."""

    def __init__(self, query: SummaryQuery, rows: Sequence[Sequence[Any]]) -> None:
        self._rows = rows
        self._end_s = query.range.end_s
        self._window_s = None if query.grouping is None else WINDOW_S[query.grouping]
        self._is_scaled = _is_scaled(query)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, at: int) -> WindowTotal: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[WindowTotal]: ...
    def __getitem__(self, at: int | slice) -> WindowTotal | Sequence[WindowTotal]:
        return [self._made(row) for row in self._rows[at]] if isinstance(at, slice) else self._made(self._rows[at])

    def _made(self, row: Sequence[Any]) -> WindowTotal:
        start_s, value = int(row[0]), Decimal(row[1])
        end_s = self._end_s if self._window_s is None else start_s + self._window_s
        return WindowTotal(Range(start_s, end_s), value.scaleb(-VALUE_TYPE.scale, EXACT) if self._is_scaled else value)
