"""`RetainedEvents` on ClickHouse SQL: partitions are days, and are dropped as such."""

import logging
from typing import Final

from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse.errors import translated

logger = logging.getLogger(__name__)

# Events first: what no look-up finds is a fault (`verify`), a hash that leads nowhere is none.
_TABLES: Final = ("events", "identifiers")


class ClickHouseRetention:
    """With a client of its own, so that neither applying nor reading waits for it."""

    def __init__(self, client: Client, database: str = "streamgauge") -> None:
        self._client = client
        self._database = database

    def drop(self, before_ms: int) -> int:
        with translated("list the days of the events"):
            before = int(self._scalar(f"toYYYYMMDD(fromUnixTimestamp64Milli({before_ms:d}, 'UTC'))"))
            found = self._client.query(
                "SELECT table, toUInt32(partition_id) AS day FROM system.parts "
                "WHERE database = {database:String} AND active AND rows > 0 "
                "AND table IN ('events', 'identifiers') GROUP BY table, day ORDER BY day",
                parameters={"database": self._database},
            ).result_rows
        newest = max((int(day) for table, day in found if table == "events"), default=0)
        dropped: set[int] = set()
        for table in _TABLES:
            for each, day in found:
                if each == table and int(day) < min(before, newest):
                    with translated(f"drop the {table} of {day}"):
                        # A partition of any size: by default the engine asks before it drops a large one.
                        self._client.command(
                            f"ALTER TABLE {self._database}.{table} DROP PARTITION ID '{int(day):d}' "
                            "SETTINGS max_partition_size_to_drop = 0"
                        )
                    dropped.add(int(day))
        return len(dropped)

    def close(self) -> None:
        self._client.close()

    def _scalar(self, expression: str) -> int:
        ((value,),) = self._client.query(f"SELECT {expression}").result_rows
        return int(value)
