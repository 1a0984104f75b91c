"""Where two tables of equal shape differ."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def differing_cells(left: pa.Table, right: pa.Table, names: Sequence[str], count_max: int) -> Iterator[tuple[str, int]]:
    """(column, row) of cells that are not equal, at most `count_max` in each column. Two nulls are equal."""
    for name in names:
        one, other = left.column(name), right.column(name)
        equal = pc.fill_null(pc.equal(one, other), False)
        both_null = pc.and_(pc.is_null(one), pc.is_null(other))
        rows = np.flatnonzero(~pc.or_(equal, both_null).to_numpy())
        for row in rows[:count_max].tolist():
            yield name, row
