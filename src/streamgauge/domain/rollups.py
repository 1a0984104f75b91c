"""Rollups: what a step's counted events add to each minute of event time, as columns.

Events are grouped by one number made of meter, customer and minute, so a step is folded in a few passes over columns;
grouping them in the store's SQL took ten times as long.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.fate import Fate

_MINUTE_MS: Final = 60_000
_SERIES: Final = ("account", "livemode", "meter", "customer")
# Wider than a value, so that no sum of values overflows.
_TOTAL: Final = pa.decimal256(76, 15)
_SIGN: Final = np.uint64(1 << 63)
_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Rollups:
    """One row for each (account, livemode, meter, customer, minute) that the events touch.

    `sums` has `bucket` (the minute, Unix seconds), `events` and `total`; `latests` has `bucket`, `last` and
    `survivor`, 32 bytes each as `packed_latest` has them; `latest_events` has the events that `latests` is made of,
    one by one: `bucket`, `timestamp`, `value` and `log_offset`, and if any is redriven `moved`: how far behind its
    first place in the log it stands. Of several events the one that was received last is the one that was received
    first last: a redrive does not make an event newer than it is.
    """

    sums: pa.Table
    latests: pa.Table
    latest_events: pa.Table


def fold(events: pa.Table) -> Rollups:
    """Fold those of `events` that counted. They have at least the columns `account`, `livemode`, `meter`, `customer`,
    `value`, `timestamp` (ms), `log_offset`, `status` and `keeps_latest`, perhaps `first_offset`, and are in log order.
    """
    counted = pc.equal(events["status"], Fate.COUNTED.value)
    keeps_latest = events["keeps_latest"]
    placed = ("log_offset", "first_offset") if _has_redriven(events) else ("log_offset",)
    needed = events.select([*_SERIES, "value", "timestamp", *placed])
    summed = needed.filter(pc.and_not(counted, keeps_latest)).combine_chunks()
    latest = needed.filter(pc.and_(counted, keeps_latest)).combine_chunks()
    if len(placed) > 1:
        latest = latest.sort_by("first_offset").combine_chunks()
    return Rollups(_sums(summed), _latests(latest), _latest_events(latest))


def packed_latest(first: NDArray[np.uint64], second: NDArray[np.uint64], value: pa.Decimal128Array) -> pa.Array:
    """(first, second, value) as numbers of 256 bits, of which the greater is the later: so a maximum finds it.

    `last` has the timestamp first and then the offset, `survivor` the offset and then the timestamp; it is the offset
    of the first receipt. The value's sign bit is turned over, which makes its order that of an unsigned number.
    """
    words = np.empty((len(value), 4), np.uint64)
    low_high = np.frombuffer(value.buffers()[1], np.uint64).reshape(-1, 2)[value.offset : value.offset + len(value)]
    words[:, 0] = low_high[:, 0]
    words[:, 1] = low_high[:, 1] ^ _SIGN
    words[:, 2] = second
    words[:, 3] = first
    return pa.Array.from_buffers(pa.binary(32), len(value), [None, pa.py_buffer(words)])


def _sums(events: pa.Table) -> pa.Table:
    key = _minute_of_series(events)
    grouped = pa.table({"key": key, "value": events["value"].cast(_TOTAL), "row": np.arange(len(key))})
    rows = grouped.group_by("key", use_threads=False).aggregate([("row", "min"), ("row", "count"), ("value", "sum")])
    at = rows["row_min"]
    columns = _of_series(events, at) | {"events": rows["row_count"], "total": rows["value_sum"].cast(_TOTAL)}
    return pa.table(columns)


def _latests(events: pa.Table) -> pa.Table:
    codes = pa.array(_minute_of_series(events)).dictionary_encode()
    group = codes.indices.to_numpy()
    at_ms = _milliseconds(events)
    # Of several values for one place the last assignment stands: rows are in the order of their first receipt, and
    # then in order of time.
    survivor = np.zeros(len(codes.dictionary), np.int64)
    survivor[group] = np.arange(len(group))
    by_time = np.argsort(at_ms, kind="stable")
    last = np.zeros(len(codes.dictionary), np.int64)
    last[group[by_time]] = by_time
    offset = events["first_offset" if "first_offset" in events.column_names else "log_offset"].to_numpy()
    times = at_ms.astype(np.uint64)
    values = _chunk(events["value"])
    return pa.table(
        _of_series(events, pa.array(survivor))
        | {
            "last": packed_latest(times[last], offset[last], values.take(pa.array(last))),
            "survivor": packed_latest(offset[survivor], times[survivor], values.take(pa.array(survivor))),
        }
    )


def _latest_events(events: pa.Table) -> pa.Table:
    columns = (
        {name: events[name] for name in _SERIES}
        | {"bucket": _bucket_s(events)}
        | {name: events[name] for name in ("timestamp", "value", "log_offset")}
    )
    if "first_offset" in events.column_names:
        columns["moved"] = pc.subtract(events["log_offset"], events["first_offset"])
    return pa.table(columns)


def _has_redriven(events: pa.Table) -> bool:
    if "first_offset" not in events.column_names:
        return False
    return bool(pc.any(pc.not_equal(events["log_offset"], events["first_offset"])).as_py())


def _of_series(events: pa.Table, at: pa.Array) -> dict[str, Any]:
    """Whose minute each row of the result is, told by one of its events."""
    named = {name: events[name].take(at) for name in _SERIES}
    return named | {"bucket": pa.array(_bucket_s(events)).take(at)}


def _minute_of_series(events: pa.Table) -> NDArray[np.int64]:
    """One number for each (account, livemode, meter, customer, minute)."""
    key = np.zeros(len(events), np.int64)
    for name in _SERIES:
        codes = _codes(_chunk(events[name]))
        key = key * (int(codes.max(initial=0)) + 1) + codes
    minute = _bucket_s(events) // 60
    minute -= minute.min(initial=_NEVER)
    return key * (int(minute.max(initial=0)) + 1) + minute


def _codes(column: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_boolean(column.type):
        codes = column.to_numpy(zero_copy_only=False)
    else:
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        codes = encoded.indices.to_numpy()
    return np.asarray(codes, np.int64)


def _bucket_s(events: pa.Table) -> NDArray[np.int64]:
    return _milliseconds(events) // _MINUTE_MS * 60


def _milliseconds(events: pa.Table) -> NDArray[np.int64]:
    return np.asarray(_chunk(events["timestamp"]).cast(pa.int64()).to_numpy(), np.int64)


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
