"""`Rollups` of the port `rebuild` on ClickHouse: emptied, and made anew from the stored events."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import step
from streamgauge.adapters.clickhouse.cancellations import latests_cancelled_rows, negative_sums, read_cancellations
from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.adapters.clickhouse.whole_parts import WholeParts
from streamgauge.domain.rollups import fold
from streamgauge.engine.ports.rebuild import OnProgress

_ROLLUPS: Final = (step.SUMS, step.LATESTS, step.LATEST_EVENTS, step.LATESTS_CANCELLED)
# Of the tables that are made anew beside those that are in use, and of these once their places were exchanged.
RENEWED: Final = "_renewed"
_READ_EVENTS: Final = 500_000
_COLUMNS: Final = "account, livemode, meter, customer, value, timestamp, log_offset, first_offset, status, keeps_latest"
_SETTINGS: Final[dict[str, Any]] = {"output_format_arrow_string_as_string": 1}


class ClickHouseRollups:
    def __init__(self, client: Client, database: str, parts: WholeParts) -> None:
        self._client = client
        self._database = database
        self._parts = parts

    def rebuild(self, sync: Callable[[], None], on_progress: OnProgress | None = None) -> None:
        # Not emptied: what the engine drops from a table it keeps for a while behind an empty part, and that part would
        # pass for a merge which was not synced (adapters/system/unsynced_merges.py). Then all of it is there again.
        self._make_tables()
        self._put_into_place(sync)
        total = self._count()
        for done, total in self._fill(""):
            if on_progress is not None:
                on_progress(done, total)
        if on_progress is not None:
            on_progress(total, total)

    def renew(self, sync: Callable[[], None]) -> Generator[tuple[int, int], None, None]:
        self._make_tables()
        yield from self._fill(RENEWED)
        # From here on no step may come between.
        self._put_into_place(sync)

    def _make_tables(self) -> None:
        drop_renewed(self._client, self._database)
        with translated("make tables for rollups"):
            for target in _ROLLUPS:
                table = f"{self._database}.{target.table}"
                self._client.command(f"CREATE TABLE {table}{RENEWED} AS {table}")

    def _put_into_place(self, sync: Callable[[], None]) -> None:
        """Each table is whole before and after its exchange, so it does not matter after which of them a crash comes;
        but which is which must be durable before one of each is deleted."""
        sync()
        with translated("put new rollups into their place"):
            for target in _ROLLUPS:
                table = f"{self._database}.{target.table}"
                self._client.command(f"EXCHANGE TABLES {table} AND {table}{RENEWED}")
        sync()
        drop_renewed(self._client, self._database)

    def _fill(self, suffix: str) -> Iterator[tuple[int, int]]:
        """Into tables that are empty, named with `suffix`. Yields between portions, and ends with the one that finds no
        more events: in it cancellations follow."""
        sums, latests, latest_events, latests_cancelled = (
            replace(target, table=target.table + suffix) for target in _ROLLUPS
        )
        done, offset = 0, 0
        while (events := self._events(offset)) is not None:
            with translated("fill the rollups"):
                rows = fold(events)
                # Older than every step to come: a redo must not take these rows for its own.
                step.insert(self._client, self._database, sums, with_step(rows.sums, 0))
                step.insert(self._client, self._database, latests, with_step(rows.latests, 0))
                step.insert(self._client, self._database, latest_events, rows.latest_events)
            self._parts.check()  # each time: what is merged with what is not whole cannot be told from it
            offset = events["log_offset"][-1].as_py() + 1
            done += len(events)
            if len(events) < _READ_EVENTS:  # to look again would be another portion, and never end under load
                break
            yield done, self._count()
        with translated("fill the rollups with cancellations"):
            cancelled = read_cancellations(self._client, self._database, "1")
            step.insert(self._client, self._database, sums, with_step(negative_sums(cancelled), 0))
            step.insert(self._client, self._database, latests_cancelled, latests_cancelled_rows(cancelled))
        self._parts.check()

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


def drop_renewed(client: Client, database: str) -> None:
    """What a `renew` that was cut short left behind, or put aside."""
    for target in _ROLLUPS:
        with translated(f"drop {target.table}{RENEWED}"):
            client.command(f"DROP TABLE IF EXISTS {database}.{target.table}{RENEWED} SYNC")


def with_step(rows: pa.Table, number: int) -> pa.Table:
    """The rows of a rollup, marked as written by that step."""
    return rows.append_column("step", pa.array([number] * len(rows), pa.uint64()))
