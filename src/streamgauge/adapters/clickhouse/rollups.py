"""`Rollups` on ClickHouse SQL: emptied, and filled by the same queries that the materialized views run."""

from typing import Any, Final

from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import schema
from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.engine.ports.rebuild import OnProgress

_OF_EVENTS: Final = {
    "sums": schema.SUMS_ROWS,
    "latests": schema.LATESTS_ROWS,
    "latest_events": schema.LATEST_EVENTS_ROWS,
}
_OF_CANCELLATIONS: Final = {"sums": schema.SUMS_CANCEL_ROWS, "latests_cancelled": schema.LATESTS_CANCELLED_ROWS}

# A rebuild that is begun anew inserts the same blocks again: they must not be taken for repeats.
_SETTINGS: Final[dict[str, Any]] = {
    "insert_deduplicate": 0,
    "throw_on_max_partitions_per_insert_block": 0,
    "max_bytes_before_external_group_by": 2**30,
}


class ClickHouseRollups:
    def __init__(self, client: Client, database: str = "streamgauge") -> None:
        self._client = client
        self._database = database

    def rebuild(self, on_progress: OnProgress | None = None) -> None:
        for table in {*_OF_EVENTS, *_OF_CANCELLATIONS}:
            self._run(f"empty {table}", f"TRUNCATE TABLE {{database}}.{table} SYNC")
        with translated("list the days of the events"):
            # A day of receipt is a partition of the events: each is read once for each rollup, and nothing else is.
            days = self._client.query(
                f"SELECT toYYYYMMDD(received_at) AS day, count() FROM {self._database}.events GROUP BY day ORDER BY day"
            ).result_rows
        done, total = 0, sum(int(count) for _, count in days)
        for day, count in days:
            of_day = f"(SELECT * FROM {{database}}.events WHERE toYYYYMMDD(received_at) = {int(day):d})"
            for table, rows in _OF_EVENTS.items():
                rows = rows.replace("{database}.events", of_day)
                self._run(f"fill {table}", f"INSERT INTO {{database}}.{table} {rows}")
            done += int(count)
            if on_progress is not None:
                on_progress(done, total)
        for table, rows in _OF_CANCELLATIONS.items():
            self._run(f"fill {table}", f"INSERT INTO {{database}}.{table} {rows}")

    def _run(self, doing: str, statement: str) -> None:
        with translated(doing):
            self._client.command(statement.format(database=self._database), settings=_SETTINGS)
