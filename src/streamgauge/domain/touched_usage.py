"""Whose usage a step of applying touched, and by how much at most it rose: what a watch over usage must know of it."""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.cancellation import Cancellation
from streamgauge.domain.column_groups import bools_of, groups_of, milliseconds_of, one_chunk
from streamgauge.domain.decimals import floats_of, numbers_of
from streamgauge.domain.settled_events import SettledEvents

_DAY_MS: Final = 86_400_000
_WHO: Final = ("meter", "customer", "day_start_ms")
_SCHEMA: Final = pa.schema(
    [
        ("meter", pa.string()),
        ("customer", pa.string()),
        ("day_start_ms", pa.int64()),
        ("events", pa.int64()),
        ("rise", pa.float64()),
        ("highest", pa.float64()),
        ("last_offset", pa.int64()),
    ]
)
# Of a million floats, each rounded to the nearest, a sum is nearer than this to what it stands for.
_ERROR_MAX: Final = 1e-9


class Touched(NamedTuple):
    """A part of the log holds counted events or cancellations of this customer, with a time in this day; 0: in any, of
    a meter whose days were not asked for.

    `events` counts the events. `rise` is by how much they can have raised a sum: the positive values, and what
    cancelling negative ones gave back. `highest` is the greatest value that was counted; infinite when there is a
    cancellation, since what is the latest then may be any earlier event. `last_offset` is the last of them in the log.

    Both values are bounds: floats, at least what they stand for, and above it by less than two 10^9ths.
    """

    meter_id: str
    customer_id: str
    day_start_ms: int
    events: int
    rise: float
    highest: float
    last_offset: int


def touched_by(
    settled: SettledEvents | None,
    cancellations: Sequence[Cancellation],
    meters: Collection[str],
    by_day: Collection[str],
) -> pa.Table:
    """What one step touches of these meters: rows for `added_up`, each meter and customer several times at most.

    Meters that are in `by_day`, too, have a row for each UTC day of event time.
    """
    by_events = [] if settled is None else [_by_events(settled, meters, by_day)]
    cancelled = [each for each in cancellations if each.meter in meters]
    by_cancellations = [_by_cancellations(cancelled, by_day)] if cancelled else []
    return pa.concat_tables([_SCHEMA.empty_table(), *by_events, *by_cancellations])


def added_up(steps: Iterable[pa.Table]) -> list[Touched]:
    """One for each meter, customer and day that any of the steps touches."""
    rows = pa.concat_tables(steps).group_by(_WHO, use_threads=False)
    found = rows.aggregate([("events", "sum"), ("rise", "sum"), ("highest", "max"), ("last_offset", "max")])
    columns = [*_WHO, "events_sum", "rise_sum", "highest_max", "last_offset_max"]
    # Thousands of rows at each look: to_pylist would take most of its time.
    return list(map(Touched, *(found[name].to_numpy().tolist() for name in columns)))


def _by_events(settled: SettledEvents, meters: Collection[str], by_day: Collection[str]) -> pa.Table:
    meter, customer = one_chunk(settled.table["meter"]), one_chunk(settled.table["customer"])
    rows = np.flatnonzero(settled.is_counted & _is_among(meter.dictionary, meters)[meter.indices.to_numpy()])
    meter_of, customer_of = meter.indices.to_numpy()[rows], customer.indices.to_numpy()[rows]
    key = meter_of.astype(np.uint64) * len(customer.dictionary) + customer_of.astype(np.uint64)
    day = np.zeros(len(rows), np.int64)
    if by_day:
        has_day = _is_among(meter.dictionary, by_day)[meter_of]
        day[has_day] = milliseconds_of(settled.table["timestamp"])[rows[has_day]] // _DAY_MS
        first = day.min(initial=0)
        key = key * (day.max(initial=0) - first + 1).astype(np.uint64) + (day - first).astype(np.uint64)
    group, firsts = groups_of(key)
    added = floats_of(numbers_of(one_chunk(settled.table["value"]))[rows])
    highest = np.full(len(firsts), -math.inf)
    np.maximum.at(highest, group, added)
    last_offset = np.zeros(len(firsts), np.int64)
    # Of several values for one place the last assignment stands, and rows are in log order.
    last_offset[group] = one_chunk(settled.table["log_offset"]).to_numpy()[rows]
    return pa.table(
        [
            meter.dictionary.take(pa.array(meter_of[firsts])),
            customer.dictionary.take(pa.array(customer_of[firsts])),
            day[firsts] * _DAY_MS,
            np.bincount(group, minlength=len(firsts)),
            _bound(np.bincount(group, np.maximum(added, 0), len(firsts)).astype(np.float64)),
            _bound(highest),
            last_offset,
        ],
        schema=_SCHEMA,
    )


def _by_cancellations(cancellations: Sequence[Cancellation], by_day: Collection[str]) -> pa.Table:
    added = np.array([-float(each.value) for each in cancellations])
    return pa.table(
        [
            [each.meter for each in cancellations],
            [each.customer for each in cancellations],
            [each.timestamp_ms // _DAY_MS * _DAY_MS if each.meter in by_day else 0 for each in cancellations],
            np.zeros(len(added), np.int64),
            _bound(np.maximum(added, 0)),
            np.full(len(added), math.inf),
            [each.offset for each in cancellations],
        ],
        schema=_SCHEMA,
    )


def _is_among(names: pa.Array, wanted: Collection[str]) -> NDArray[np.bool_]:
    return bools_of(pc.is_in(names, pa.array(list(wanted), pa.string())))


def _bound(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values + np.abs(values) * _ERROR_MAX
