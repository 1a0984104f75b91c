"""`Rollups` of the port `rebuild` on ClickHouse: emptied, and made anew from the stored events."""

from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import step
from streamgauge.adapters.clickhouse.cancellations import latests_cancelled_rows, negative_sums, read_cancellations
from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.domain.rollups import fold
from streamgauge.engine.ports.rebuild import OnProgress

_FOLDED: Final = (step.SUMS, step.LATESTS, step.LATEST_EVENTS)
_READ_EVENTS: Final = 500_000
_COLUMNS: Final = "account, livemode, meter, customer, value, timestamp, log_offset, first_offset, status, keeps_latest"
_SETTINGS: Final[dict[str, Any]] = {"output_format_arrow_string_as_string": 1}


class ClickHouseRollups:
    def __init__(self, client: Client, database: str) -> None:
        self._client = client
        self._database = database

    def rebuild(self, on_progress: OnProgress | None = None) -> None:
        for target in (*_FOLDED, step.LATESTS_CANCELLED):
            with translated(f"empty {target.table}"):
                self._client.command(f"TRUNCATE TABLE {self._database}.{target.table} SYNC")
        done, total = 0, self._count()
        offset = 0
        while (events := self._events(offset)) is not None:
            with translated("fill the rollups"):
                rows = fold(events)
                # Older than every step to come: a redo must not take these rows for its own.
                step.insert(self._client, self._database, step.SUMS, with_step(rows.sums, 0))
                step.insert(self._client, self._database, step.LATESTS, with_step(rows.latests, 0))
                step.insert(self._client, self._database, step.LATEST_EVENTS, rows.latest_events)
            offset = events["log_offset"][-1].as_py() + 1
            done += len(events)
            if on_progress is not None:
                on_progress(done, total)
        with translated("fill the rollups with cancellations"):
            cancelled = read_cancellations(self._client, self._database, "1")
            step.insert(self._client, self._database, step.SUMS, with_step(negative_sums(cancelled), 0))
            step.insert(self._client, self._database, step.LATESTS_CANCELLED, latests_cancelled_rows(cancelled))

    def _count(self) -> int:
        with translated("count events"):
            (row,) = self._client.query(f"SELECT count() FROM {self._database}.events").result_rows
        return int(row[0])

    def _events(self, offset: int) -> pa.Table | None:
        """The next ones in log order; None when there are no more."""
        with translated("read events"):
            found = self._client.query_arrow(
                f"SELECT {_COLUMNS} FROM {self._database}.events WHERE log_partition = 0 AND log_offset >= {offset:d} "
                f"ORDER BY log_offset LIMIT {_READ_EVENTS}",
                settings=_SETTINGS,
            )
        return found if found.num_rows else None


def with_step(rows: pa.Table, number: int) -> pa.Table:
    """The rows of a rollup, marked as written by that step."""
    return rows.append_column("step", pa.array([number] * len(rows), pa.uint64()))
