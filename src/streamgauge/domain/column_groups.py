"""Columns of events as arrays, and rows that belong together."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.identifier_hash import order_of


def groups_of(key: NDArray[np.uint64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """For each row the number of its group, and of each group its first row. Groups are in the order of their keys."""
    if native.compiled is None:
        _, firsts, group = np.unique(key, return_index=True, return_inverse=True)
        return group.astype(np.int32), firsts.astype(np.int64)
    group = np.empty(len(key), np.int32)
    firsts = np.frombuffer(native.compiled.distinct_numbers(key, group), np.int64)
    order = order_of(key[firsts])
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    return place.take(group), firsts[order]


def one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def bools_of(column: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(one_chunk(column).to_numpy(zero_copy_only=False), np.bool_)


def milliseconds_of(moments: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Since the epoch."""
    return np.asarray(one_chunk(moments).cast(pa.int64()).to_numpy(), np.int64)
