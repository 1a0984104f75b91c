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

from streamgauge import native
from streamgauge.domain.column_groups import bools_of, groups_of, milliseconds_of, one_chunk
from streamgauge.domain.decimals import numbers_of
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import order_of

_MINUTE_MS: Final = 60_000
_SERIES: Final = ("account", "livemode", "meter", "customer")
# Wider than a value, so that no sum of values overflows.
_TOTAL: Final = pa.decimal256(76, 15)
_SIGN: Final = np.uint64(1 << 63)
_NEVER: Final = np.iinfo(np.int64).max
_KEYS_MAX: Final = 2**62


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

    Rows of the results are in the order of their series and minutes.
    """
    counted = bools_of(pc.equal(events["status"], Fate.COUNTED.value))
    keeps_latest = bools_of(events["keeps_latest"])
    key = _minute_of_series(events)
    latest = np.flatnonzero(counted & keeps_latest)
    first_offset = None
    if _has_redriven(events):
        first_offset = one_chunk(events["first_offset"]).to_numpy()
        latest = latest[np.argsort(first_offset[latest], kind="stable")]
    return Rollups(
        _sums(events, key, np.flatnonzero(counted & ~keeps_latest)),
        _latests(events, key, latest, first_offset),
        _latest_events(events, latest[order_of(key[latest])], first_offset),
    )


def packed_latest(
    first: NDArray[np.uint64], second: NDArray[np.uint64], value: NDArray[np.uint64]
) -> pa.FixedSizeBinaryArray:
    """(first, second, value) as numbers of 256 bits, of which the greater is the later: so a maximum finds it.

    `last` has the timestamp first and then the offset, `survivor` the offset and then the timestamp; it is the offset
    of the first receipt. The value's sign bit is turned over, which makes its order that of an unsigned number.
    `value`: see `decimals.numbers_of`.
    """
    words = np.empty((len(value), 4), np.uint64)
    words[:, 0] = value[:, 0]
    words[:, 1] = value[:, 1] ^ _SIGN
    words[:, 2] = second
    words[:, 3] = first
    return pa.Array.from_buffers(pa.binary(32), len(value), [None, pa.py_buffer(words)])


def _sums(events: pa.Table, key: NDArray[np.uint64], rows: NDArray[np.int64]) -> pa.Table:
    group, firsts = groups_of(key[rows])
    values = one_chunk(events["value"])
    counts = np.empty(len(firsts), np.int64)
    totals = np.empty((len(firsts), 4), np.uint64)
    if native.compiled is None:
        grouped = pa.table({"group": group, "value": values.take(pa.array(rows)).cast(_TOTAL)}).group_by("group")
        found = grouped.aggregate([("value", "count"), ("value", "sum")]).sort_by("group")
        counts, total = found["value_count"], found["value_sum"].cast(_TOTAL)
    else:
        native.compiled.sum_by_group(group, numbers_of(values).take(rows, axis=0), counts, totals)
        total = pa.Array.from_buffers(_TOTAL, len(firsts), [None, pa.py_buffer(totals)])
    return pa.table(_of_series(events, rows[firsts]) | {"events": counts, "total": total})


def _latests(
    events: pa.Table, key: NDArray[np.uint64], rows: NDArray[np.int64], first_offset: NDArray[np.uint64] | None
) -> pa.Table:
    """`rows` are in the order of their first receipt."""
    group, firsts = groups_of(key[rows])
    at_ms = milliseconds_of(events["timestamp"])[rows]
    last, survivor = _latest_of_groups(group, at_ms, len(firsts))
    times = at_ms.astype(np.uint64)
    offset = (one_chunk(events["log_offset"]).to_numpy() if first_offset is None else first_offset)[rows]
    values = numbers_of(one_chunk(events["value"])).take(rows, axis=0)
    return pa.table(
        _of_series(events, rows[survivor])
        | {
            "last": packed_latest(times[last], offset[last], values[last]),
            "survivor": packed_latest(offset[survivor], times[survivor], values[survivor]),
        }
    )


def _latest_of_groups(
    group: NDArray[np.int32], at_ms: NDArray[np.int64], groups: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each group the row with the greatest time, of several the last one, and the last row of all."""
    last, survivor = np.zeros(groups, np.int64), np.zeros(groups, np.int64)
    if native.compiled is not None:
        native.compiled.latest_by_group(group, at_ms, last, survivor)
        return last, survivor
    # Of several values for one place the last assignment stands.
    survivor[group] = np.arange(len(group))
    by_time = np.argsort(at_ms, kind="stable")
    last[group[by_time]] = by_time
    return last, survivor


def _latest_events(events: pa.Table, rows: NDArray[np.int64], first_offset: NDArray[np.uint64] | None) -> pa.Table:
    names = ("timestamp", "value", "log_offset")
    columns = _of_series(events, rows) | {name: one_chunk(events[name]).take(pa.array(rows)) for name in names}
    if first_offset is not None:
        columns["moved"] = pc.subtract(columns["log_offset"], pa.array(first_offset[rows]))
    return pa.table(columns)


def _has_redriven(events: pa.Table) -> bool:
    if "first_offset" not in events.column_names:
        return False
    return bool(pc.any(pc.not_equal(events["log_offset"], events["first_offset"])).as_py())


def _of_series(events: pa.Table, rows: NDArray[np.int64]) -> dict[str, Any]:
    """Whose minute each row of the result is, told by one of its events."""
    at = pa.array(rows)
    return {name: one_chunk(events[name]).take(at) for name in _SERIES} | {"bucket": _bucket_s(events)[rows]}


def _minute_of_series(events: pa.Table) -> NDArray[np.uint64]:
    """One number for each (account, livemode, meter, customer, minute), in their order."""
    minute = _bucket_s(events) // 60
    minute -= minute.min(initial=_NEVER)
    key, size = np.zeros(len(events), np.int64), 1
    for rank in (*(_ranks(one_chunk(events[name])) for name in _SERIES), minute):
        ranks = int(rank.max(initial=0)) + 1
        if size * ranks > _KEYS_MAX:  # number anew what is there: at most one for each event
            distinct, key = np.unique(key, return_inverse=True)
            size = len(distinct)
        key = key * ranks + rank
        size *= ranks
    return key.astype(np.uint64)


def _ranks(column: pa.Array) -> NDArray[np.int64]:
    """For each row the place of its value among all values, in ascending order."""
    if pa.types.is_boolean(column.type):
        return bools_of(column).astype(np.int64)
    words = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    order = pc.array_sort_indices(words.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(rank.take(words.indices.to_numpy()))


def _bucket_s(events: pa.Table) -> NDArray[np.int64]:
    return milliseconds_of(events["timestamp"]) // _MINUTE_MS * 60
