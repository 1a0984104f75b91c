"""`UsageWatch` on ClickHouse SQL: few queries for all customers, each as cheap as what it looks at.

Whom a part of the log touched is read from `events` and `cancellations` by offset; how much somebody has used, from
the rollups that summaries are read from.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar, cast

import msgspec
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.adapters.clickhouse.schema import PACKED_LAST, PACKED_SURVIVOR, unpacked_second, unpacked_value
from streamgauge.domain.decimals import EXACT, VALUE_TYPE
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.summary import Range
from streamgauge.domain.touched_usage import Touched
from streamgauge.engine.ports.usage_watch import UsageKey

T = TypeVar("T")

# Customers that one query names.
_ASKED_MAX: Final = 10_000
# Watching must not take cores from applying. Names may be long, and travel in the parameters.
_SETTINGS: Final[dict[str, Any]] = {"max_threads": 1, "max_query_size": 2**28}
_START_OF: Final = {EventTimeWindow.HOUR: "toStartOfHour", EventTimeWindow.DAY: "toStartOfDay"}

# Lists travel as one text: as an array parameter 5,000 names took twice as long, as text of the query three times.
_METERS: Final = "SELECT arrayJoin(JSONExtract({meters:String}, 'Array(String)'))"
_CUSTOMERS: Final = "SELECT arrayJoin(JSONExtract({customers:String}, 'Array(String)'))"
_ASKED: Final = "SELECT arrayJoin(JSONExtract({asked:String}, 'Array(Tuple(String, Bool, String, String))'))"

_DAY: Final = (
    "if(meter IN (SELECT arrayJoin(JSONExtract({by_day:String}, 'Array(String)'))), "
    "toUnixTimestamp(toStartOfDay(timestamp)), 0)"
)

# The nearest float lies within 2^-52 of a value; this is well above that, so what comes out is a bound.
_BOUND: Final = "toFloat64(%(value)s) + abs(toFloat64(%(value)s)) * 1e-14"
# Rows of both kinds: whose usage, on which day, where in the log, what is added to a sum. Of 100,000 events this takes
# half the time that it took with account and mode beside the meter, and with the meter as LowCardinality in the answer.
# The sum is a Decimal(38, 15): 23 digits before the point, and a step of the watch has far fewer events than the 10^8
# with the largest value that there is room for.
_IN_RANGE: Final = f"""
log_offset >= {{first:UInt64}} AND log_offset < {{next:UInt64}} AND meter IN ({_METERS})
"""
_TOUCHED: Final = f"""
SELECT
    toString(meter), customer, %(day)s AS day, sum(events),
    %(rise)s, if(min(events) = 0, inf, %(highest)s), max(log_offset)
FROM (
    SELECT meter, customer, timestamp, log_offset, 1 AS events, value AS added
    FROM %(database)s.events
    WHERE log_partition = {{partition:UInt16}} AND status = 'counted' AND {_IN_RANGE}
    UNION ALL
    SELECT meter, customer, timestamp, log_offset, 0 AS events, -value AS added
    FROM %(database)s.cancellations
    WHERE {_IN_RANGE}
)
GROUP BY meter, customer, day
"""


class ClickHouseUsageWatch:
    """With a client of its own, since an embedded one answers one query at a time and readers must not wait."""

    def __init__(self, client: Client, database: str = "streamgauge", partition: int = 0) -> None:
        self._client = client
        self._database = database
        self._partition = partition
        self._asking = threading.Lock()

    def touched(
        self, meters: Collection[str], first_offset: int, next_offset: int, *, by_day: Collection[str]
    ) -> Sequence[Touched]:
        sql = _TOUCHED % {
            "database": self._database,
            "day": f"toUInt64({_DAY}) * 1000" if by_day else "toUInt64(0)",
            "rise": _BOUND % {"value": "sumIf(added, added > 0)"},
            "highest": _BOUND % {"value": "max(added)"},
        }
        rows = self._read(
            "look for touched customers",
            sql,
            {
                "partition": self._partition,
                "first": first_offset,
                "next": next_offset,
                "meters": _json(list(meters)),
                **({"by_day": _json(list(by_day))} if by_day else {}),
            },
        )
        # Thousands of rows, whatever is made of one: with names, or with decimals, this took a third of a look.
        return [Touched._make(row) for row in rows]

    def usage(self, meters: Mapping[str, Meter], keys: Collection[UsageKey]) -> Mapping[UsageKey, Decimal]:
        sums: dict[Range | None, list[tuple[Meter, str]]] = defaultdict(list)
        latests: dict[tuple[str, Range | None], list[str]] = defaultdict(list)
        for meter_id, customer_id, period in keys:
            if meters[meter_id].keeps_latest:
                latests[meter_id, period].append(customer_id)
            else:
                sums[period].append((meters[meter_id], customer_id))
        found: dict[UsageKey, Decimal] = {}
        for period, asked in sums.items():
            for part in _parts(asked):
                where = f"(account, livemode, meter, customer) IN ({_ASKED})"
                named = {"asked": _json([(*_of_meter(meter), customer) for meter, customer in part])}
                for meter_id, customer, events, total in self._sums(where, named, period):
                    found[meter_id, customer, period] = _value(meters[meter_id].formula, events, total)
        for (meter_id, period), customers in latests.items():
            for each in _parts(customers):
                named = {"customers": _json(each)}
                for customer, value in self._latests(meters[meter_id], f"customer IN ({_CUSTOMERS})", named, period):
                    found[meter_id, customer, period] = value
        return found

    def reaching(self, meter: Meter, period: Range | None, at_least: int) -> Mapping[str, Decimal]:
        if meter.keeps_latest:
            totals = self._latests(meter, "1", {}, period)
            return {customer: value for customer, value in totals if value >= at_least}
        counted = "sum(events)" if meter.formula is Formula.COUNT else "sum(total)"
        having = f"AND {counted} >= {{at_least:Int64}}"
        rows = self._sums(_IS_OF, {**_meter_parameters(meter), "at_least": at_least}, period, having)
        return {customer: _value(meter.formula, events, total) for _, customer, events, total in rows}

    def close(self) -> None:
        self._client.close()

    def _sums(
        self, where: str, parameters: Mapping[str, Any], period: Range | None, having: str = ""
    ) -> Sequence[Sequence[Any]]:
        """(meter, customer, events, total) of each that has an event that counts."""
        sql = (
            f"SELECT meter, customer, sum(events), sum(total) FROM {self._database}.sums "
            f"WHERE {where} {_within(period)} GROUP BY account, livemode, meter, customer "
            f"HAVING sum(events) > 0 {having}"
        )
        return self._read("add up usage", sql, parameters)

    def _latests(
        self, meter: Meter, named: str, parameters: Mapping[str, Any], period: Range | None
    ) -> Iterator[tuple[str, Decimal]]:
        """(customer, total) of each that has an event that counts; `named` says which customers, in SQL.

        As `summaries.py` does for one customer: minutes from the rollup, but those that hold a cancellation from
        their events. Several looks at the cancellations must see the same ones, so they are bounded by an offset.
        """
        where = f"{_IS_OF} AND {named} {_within(period)}"
        parameters = {**_meter_parameters(meter), **parameters}
        sql = f"SELECT maxOrNull(log_offset) FROM {self._database}.latests_cancelled WHERE {where}"
        ((seen,),) = self._read("read cancellations", sql, parameters)
        name, packed = ("last", PACKED_LAST) if meter.event_time_window is None else ("survivor", PACKED_SURVIVOR)
        minutes = f"SELECT customer, bucket AS at, {name} FROM {self._database}.latests WHERE {where}"
        if seen is not None:
            gone = f"FROM {self._database}.latests_cancelled WHERE {where} AND log_offset <= {int(seen):d}"
            minutes = (
                f"{minutes} AND (customer, bucket) NOT IN (SELECT customer, bucket {gone}) UNION ALL "
                f"SELECT customer, bucket AS at, max({packed}) AS {name} FROM {self._database}.latest_events "
                f"WHERE {where} "
                f"AND (customer, bucket) IN (SELECT customer, bucket {gone}) "
                f"AND log_offset NOT IN (SELECT event_offset {gone}) GROUP BY customer, bucket"
            )
        for customer, value in self._read("look for the latest usage", _latest_totals(meter, minutes), parameters):
            is_scaled = meter.formula is not Formula.COUNT
            yield customer, Decimal(value).scaleb(-VALUE_TYPE.scale, EXACT) if is_scaled else Decimal(value)

    def _read(self, doing: str, sql: str, parameters: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        with self._asking, translated(doing):
            found = self._client.query(sql, parameters=dict(parameters), settings=_SETTINGS)
            return cast(Sequence[Sequence[Any]], found.result_rows)


def _latest_totals(meter: Meter, minutes: str) -> str:
    """(customer, total) of the formula over minutes with their packed numbers; but for `count`, in 10^-15."""
    if meter.event_time_window is None:
        return f"SELECT customer, {unpacked_value('max(last)')} FROM ({minutes}) GROUP BY customer"
    start_of = _START_OF[meter.event_time_window]
    kept = (
        f"SELECT customer, {unpacked_second('kept')} AS at, {unpacked_value('kept')} AS scaled "
        f"FROM (SELECT customer, max(survivor) AS kept FROM ({minutes}) GROUP BY customer, {start_of}(at))"
    )
    total = {Formula.COUNT: "count()", Formula.SUM: "sum(scaled)", Formula.LAST: "argMax(scaled, at)"}[meter.formula]
    return f"SELECT customer, {total} FROM ({kept}) GROUP BY customer"


def _value(formula: Formula, events: Any, total: Any) -> Decimal:
    return Decimal(events) if formula is Formula.COUNT else Decimal(total)


_IS_OF: Final = "account = {account:String} AND livemode = {livemode:Bool} AND meter = {meter:String}"


def _meter_parameters(meter: Meter) -> dict[str, Any]:
    account, livemode, meter_id = _of_meter(meter)
    return {"account": account, "livemode": livemode, "meter": meter_id}


def _of_meter(meter: Meter) -> tuple[str, bool, str]:
    return meter.tenant.account_id, meter.tenant.livemode, meter.id


def _within(period: Range | None) -> str:
    if period is None:
        return ""
    return f"AND bucket >= toDateTime({period.start_s:d}, 'UTC') AND bucket < toDateTime({period.end_s:d}, 'UTC')"


def _json(names: Sequence[object]) -> str:
    return msgspec.json.encode(names).decode()


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _ASKED_MAX):
        yield items[start : start + _ASKED_MAX]
