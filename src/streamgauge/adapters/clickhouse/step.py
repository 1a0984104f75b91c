"""Writing a step of applying: each table by itself, and after a crash only what is not there yet.

An insert of one block makes one part for each partition that it touches, and a part is there as a whole or not at all.
So after a crash it is enough to ask, for each table and partition, whether it has rows of the step. That is told by
the rows themselves; the engine can remember tokens of inserts too, but notes a token before the part is in its place
and does not sync the note (docs/adr/0014).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

# One insert is one block: the source is read whole, and nothing is split or put together again. In the statement,
# because the embedded client would set and reset each of them by a statement of its own.
_INSERT_SETTINGS: Final = (
    "SETTINGS max_threads = 1, max_insert_threads = 1, max_block_size = 100000000, max_insert_block_size = 100000000, "
    f"min_insert_block_size_rows = 100000000, min_insert_block_size_bytes = {2**40}, "
    "throw_on_max_partitions_per_insert_block = 0"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A table with the SQL that tells a row's partition, and the same of an Arrow column.

    `packed` are columns of 256 bits, which travel as bytes.
    """

    table: str
    partition_sql: str
    partition_of: Callable[[pa.Table], Any]
    packed: tuple[str, ...] = ()


def _month(column: Any) -> Any:
    moment = pc.cast(column, pa.timestamp("s", "UTC"), safe=False)
    return pc.add(pc.multiply(pc.year(moment), 100), pc.month(moment))


def _day(column: Any) -> Any:
    return pc.add(pc.multiply(_month(column), 100), pc.day(column))


def _by_month(rows: pa.Table) -> Any:
    return _month(rows["bucket"])


def _alone(rows: pa.Table) -> Any:
    return pa.array([0] * len(rows), pa.int64())


EVENTS: Final = Target("events", "toYYYYMMDD(received_at)", lambda rows: _day(rows["received_at"]))
IDENTIFIERS: Final = Target("identifiers", "toYYYYMMDD(day)", lambda rows: _day(rows["day"]))
SUMS: Final = Target("sums", "toYYYYMM(bucket)", _by_month)
LATESTS: Final = Target("latests", "toYYYYMM(bucket)", _by_month, packed=("last", "survivor"))
LATEST_EVENTS: Final = Target("latest_events", "toYYYYMM(bucket)", _by_month)
CANCELLATIONS: Final = Target("cancellations", "0", _alone)
LATESTS_CANCELLED: Final = Target("latests_cancelled", "0", _alone)


class StepWriter:
    """Writes the parts of one step. `again`: an earlier attempt may have written some of them."""

    def __init__(self, client: Client, database: str, *, again: bool) -> None:
        self._client = client
        self._database = database
        self._again = again

    def write(self, target: Target, rows: pa.Table, there: str) -> None:
        """Insert those rows whose partition has none that fulfil `there`, SQL that only rows of this step do."""
        if self._again and len(rows):
            rows = rows.filter(pc.invert(pc.is_in(target.partition_of(rows), pa.array(self._present(target, there)))))
        insert(self._client, self._database, target, rows)

    def _present(self, target: Target, there: str) -> list[int]:
        found = self._client.query(
            f"SELECT DISTINCT toInt64({target.partition_sql}) FROM {self._database}.{target.table} WHERE {there}"
        ).result_rows
        return [int(row[0]) for row in found]


def insert(client: Client, database: str, target: Target, rows: pa.Table) -> None:
    """One block, durable on return. The embedded engine reads the columns where they are, by the variable's name."""
    if not len(rows):
        return
    streamgauge_rows = rows.combine_chunks()
    columns = ", ".join(rows.column_names)
    values = ", ".join(f"reinterpretAsUInt256({name})" if name in target.packed else name for name in rows.column_names)
    client.command(
        f"INSERT INTO {database}.{target.table} ({columns}) SELECT {values} FROM Python(streamgauge_rows) "
        f"{_INSERT_SETTINGS}"
    )
    del streamgauge_rows
