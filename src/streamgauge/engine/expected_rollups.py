"""What rollups must hold, from events one by one: as little memory as possible for each window."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamgauge.domain.fate import Fate
from streamgauge.engine.ports.usage_audit import EVENTS_KEPT_SCHEMA, LATESTS_SCHEMA, SUMS_SCHEMA

_MINUTE_MS: Final = 60_000
_MINUTES_OF_DAY: Final = 1_440
_SERIES: Final = ("account", "livemode", "meter", "customer")
_SUMS: Final = pa.schema(
    [("series", pa.int32()), ("minute", pa.int32()), ("events", pa.int64()), ("total", pa.decimal128(38, 15))]
)
_LATESTS: Final = pa.schema(
    [
        ("series", pa.int32()),
        ("minute", pa.int32()),
        ("timestamp", pa.int64()),
        ("first_offset", pa.uint64()),  # which was received last goes by the first receipt
        ("value", pa.decimal128(38, 15)),
    ]
)


class ExpectedRollups:
    """Events are added in shares; a day is asked for when all are there.

    Sums take 30 bytes for a minute of a customer and share, meters that keep the latest 40 bytes for an event.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[Any, ...], int] = {}
        self._sums = _SUMS.empty_table()
        self._latests = _LATESTS.empty_table()

    def add(self, events: pa.Table, cancelled: set[int]) -> None:
        """Those of `events` (RECOUNT_SCHEMA) that counted and whose offsets are not among the cancelled."""
        counting = pc.equal(events["status"], Fate.COUNTED.value)
        if cancelled:
            gone = pc.is_in(events["log_offset"], pa.array(cancelled, pa.uint64()))
            counting = pc.and_(counting, pc.invert(gone))
        events = events.filter(counting)
        minutes = pc.cast(pc.divide(events["timestamp"], _MINUTE_MS), pa.int32())
        events = events.append_column("minute", minutes)
        sums = events.filter(pc.invert(events["keeps_latest"])).group_by([*_SERIES, "minute"])
        # 38 digits hold the sum of 10^8 values of 15 digits, more than a share ever has.
        sums = sums.aggregate([("value", "count"), ("value", "sum")])
        self._sums = pa.concat_tables([self._sums, self._compact(sums, ("minute", "value_count", "value_sum"), _SUMS)])
        latests = events.filter(events["keeps_latest"])
        self._latests = pa.concat_tables(
            [self._latests, self._compact(latests, ("minute", "timestamp", "first_offset", "value"), _LATESTS)]
        )

    def days(self) -> set[int]:
        """Since the epoch, UTC."""
        minutes = (self._sums["minute"], self._latests["minute"])
        return {day for each in minutes for day in np.unique(each.to_numpy() // _MINUTES_OF_DAY).tolist()}

    def sums(self, day: int) -> pa.Table:
        """By minute (SUMS_SCHEMA)."""
        of_day = self._of_day(self._sums, day)
        # Wider than what came in: shares are added up, and nothing may overflow.
        total = of_day["total"].cast(pa.decimal256(76, 15))
        rows = of_day.set_column(of_day.schema.get_field_index("total"), "total", total)
        rows = rows.group_by(["series", "minute"]).aggregate([("events", "sum"), ("total", "sum")])
        start_s = rows["minute"].to_numpy().astype(np.int64) * 60
        return self._named(rows["series"], start_s, [rows["events_sum"], rows["total_sum"]], SUMS_SCHEMA)

    def latests(self, day: int, step_s: int) -> pa.Table:
        """By windows of `step_s` seconds (LATESTS_SCHEMA)."""
        rows = self._of_day(self._latests, day)
        series, offset, timestamp = (rows[name].to_numpy() for name in ("series", "first_offset", "timestamp"))
        start_s = rows["minute"].to_numpy().astype(np.int64) * 60 // step_s * step_s
        by_time = np.lexsort((offset, timestamp, start_s, series))
        by_log = np.lexsort((offset, start_s, series))
        # In both orders the windows stand alike, so their ends do too.
        ends = _ends(series[by_log], start_s[by_log])
        last, survivor = by_time[ends], by_log[ends]
        columns = [
            rows["value"].take(pa.array(last)),
            pa.array(timestamp[survivor]),
            rows["value"].take(pa.array(survivor)),
        ]
        return self._named(pa.array(series[survivor]), start_s[survivor], columns, LATESTS_SCHEMA)

    def events_kept(self, day: int) -> pa.Table:
        """By minute (EVENTS_KEPT_SCHEMA)."""
        rows = self._of_day(self._latests, day).group_by(["series", "minute"]).aggregate([("value", "count")])
        start_s = rows["minute"].to_numpy().astype(np.int64) * 60
        return self._named(rows["series"], start_s, [rows["value_count"]], EVENTS_KEPT_SCHEMA)

    def _of_day(self, table: pa.Table, day: int) -> pa.Table:
        return table.filter(pa.array(table["minute"].to_numpy() // _MINUTES_OF_DAY == day))

    def _compact(self, rows: pa.Table, names: Sequence[str], schema: pa.Schema) -> pa.Table:
        """These columns, and in place of whose usage it is one number."""
        known = self._series
        whose = zip(*(rows[name].to_pylist() for name in _SERIES), strict=True)
        series = [known.setdefault(each, len(known)) for each in whose]
        return (
            rows.select(names)
            .add_column(0, "series", pa.array(series, pa.int32()))
            .rename_columns(schema.names)
            .cast(schema)
        )

    def _named(self, series: Any, start_s: Any, columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
        names = list(self._series)
        whose = [names[each] for each in series.to_pylist()]
        parts = [[each[at] for each in whose] for at in range(len(_SERIES))]
        arrays = [*(pa.array(part) for part in parts), pa.array(start_s), *columns]
        table = pa.Table.from_arrays(arrays, schema.names)
        return table.cast(schema)


def _ends(series: Any, start_s: Any) -> Any:
    """Where in sorted rows the last one of each window stands."""
    if not len(series):
        return np.array([], np.int64)
    changes = (series[1:] != series[:-1]) | (start_s[1:] != start_s[:-1])
    return np.append(np.flatnonzero(changes), len(series) - 1)
