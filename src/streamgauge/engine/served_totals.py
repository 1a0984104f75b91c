"""What summaries answer, beside what the log says: of some customers on each day, whole days.

Rollups that agree are not the last word: a summary is a query over them. So it is asked, and the answer compared with
what the formula gives by its definition.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final

import pyarrow as pa

from streamgauge.domain.account import Tenant
from streamgauge.domain.catalogue import Catalogue
from streamgauge.domain.decimals import EXACT
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.summary import WINDOW_S, Range
from streamgauge.engine.expected_rollups import ExpectedRollups
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

# Each is a query, of some 10 ms.
ASKED_PER_DAY_MAX: Final = 20

_DAY_S: Final = WINDOW_S[EventTimeWindow.DAY]
_SERIES: Final = ("account", "livemode", "meter", "customer")


@dataclass(frozen=True, slots=True)
class DifferentTotal:
    """Of a meter and customer over a day; `served` is None when no summary was answered."""

    meter: Meter
    customer: str
    expected: Decimal
    served: Decimal | None


class ServedTotals:
    def __init__(self, totals: Callable[[SummaryQuery], Sequence[WindowTotal]], catalogue: Catalogue) -> None:
        self._totals = totals
        self._meters = {(meter.tenant, meter.id): meter for meter in catalogue.meters()}

    def differences(self, day: int, rollups: ExpectedRollups) -> Iterator[DifferentTotal]:
        """`day`: since the epoch, UTC."""
        sums, by_day, by_hour = rollups.sums(day), rollups.latests(day, _DAY_S), rollups.latests(day, 3_600)
        wanted = _some(pa.concat_tables([sums.select(_SERIES), by_day.select(_SERIES)]))
        sums, by_day, by_hour = (_of(wanted, rows) for rows in (sums, by_day, by_hour))
        for key in wanted.to_pylist():
            whose = tuple(key[name] for name in _SERIES)
            meter = self._meters[Tenant(key["account"], key["livemode"]), key["meter"]]
            if not meter.keeps_latest:
                expected = _added_up(meter, sums[whose])
            else:
                is_hourly = meter.event_time_window is EventTimeWindow.HOUR
                expected = _of_latest(meter, (by_hour if is_hourly else by_day)[whose])
            served = self._served(meter, key["customer"], day)
            if served != expected:
                yield DifferentTotal(meter, key["customer"], expected, served)

    def _served(self, meter: Meter, customer: str, day: int) -> Decimal | None:
        whole = Range(day * _DAY_S, (day + 1) * _DAY_S)
        query = SummaryQuery(meter=meter, customer_id=customer, range=whole, grouping=None, limit=1)
        return next((each.value for each in self._totals(query)), None)


def _some(series: pa.Table) -> pa.Table:
    """Not more than may be asked for, evenly spread over all."""
    distinct = series.group_by(list(_SERIES)).aggregate([])
    distinct = distinct.sort_by([(name, "ascending") for name in _SERIES])
    step = max(-(-len(distinct) // ASKED_PER_DAY_MAX), 1)
    return distinct.take(pa.array(range(0, len(distinct), step), pa.int64()))


def _of(wanted: pa.Table, rows: pa.Table) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows.join(wanted, keys=list(_SERIES), join_type="inner").to_pylist():
        found.setdefault(tuple(row[name] for name in _SERIES), []).append(row)
    return found


def _added_up(meter: Meter, minutes: Sequence[dict[str, Any]]) -> Decimal:
    if meter.formula is Formula.COUNT:
        return Decimal(sum(each["events"] for each in minutes))
    return _sum([each["total"] for each in minutes])


def _of_latest(meter: Meter, windows: Sequence[dict[str, Any]]) -> Decimal:
    """`windows` are those of the meter, or the whole day."""
    if meter.event_time_window is None:
        return Decimal(windows[0]["last"])
    if meter.formula is Formula.COUNT:
        return Decimal(len(windows))
    if meter.formula is Formula.SUM:
        return _sum([each["survivor"] for each in windows])
    return Decimal(max(windows, key=lambda each: each["survivor_at_ms"])["survivor"])


def _sum(values: Sequence[Decimal]) -> Decimal:
    with localcontext(EXACT):
        return sum(values, Decimal(0))
