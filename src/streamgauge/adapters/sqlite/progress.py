"""`Progress` as a SQLite file of its own: writing it never waits for the log."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from streamgauge.adapters.sqlite.database import Database
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt
from streamgauge.domain.tally import Tally
from streamgauge.engine.ports.progress import Checkpoint, Intent

_FIRST: Final = (
    "CREATE TABLE checkpoint (next_offset INTEGER NOT NULL, received_at_ms INTEGER NOT NULL)",
    "INSERT INTO checkpoint VALUES (0, 0)",
    "CREATE TABLE intent (first_offset INTEGER NOT NULL, next_offset INTEGER NOT NULL)",
    """CREATE TABLE applied (
        account_id TEXT NOT NULL, livemode INTEGER NOT NULL, events INTEGER NOT NULL,
        PRIMARY KEY (account_id, livemode)
    ) WITHOUT ROWID""",
)
_CANCELLATIONS: Final = ("ALTER TABLE applied ADD COLUMN cancellations INTEGER NOT NULL DEFAULT 0",)
_REDRIVEN: Final = ("ALTER TABLE applied ADD COLUMN redriven INTEGER NOT NULL DEFAULT 0",)
_STEPS: Final = (_FIRST, _CANCELLATIONS, _REDRIVEN)


class SqliteProgress:
    """The engine writes it; edges read the checkpoint to know the backlog."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, _STEPS)

    def checkpoint(self) -> Checkpoint:
        with self._database.reading() as connection:
            return Checkpoint(*connection.execute("SELECT next_offset, received_at_ms FROM checkpoint").fetchone())

    def intent(self) -> Intent | None:
        with self._database.reading() as connection:
            row = connection.execute("SELECT first_offset, next_offset FROM intent").fetchone()
        return None if row is None else Intent(*row)

    def intend(self, intent: Intent) -> None:
        with self._database.writing() as connection:
            (next_offset,) = connection.execute("SELECT next_offset FROM checkpoint").fetchone()
            if intent.first_offset != next_offset:
                raise Corrupt(f"intent {intent} does not begin at the checkpoint {next_offset}")
            connection.execute("DELETE FROM intent")
            connection.execute("INSERT INTO intent VALUES (?, ?)", (intent.first_offset, intent.next_offset))

    def advance(self, checkpoint: Checkpoint, applied: Mapping[Tenant, Tally]) -> None:
        with self._database.writing() as connection:
            connection.execute("DELETE FROM intent")
            connection.execute(
                "UPDATE checkpoint SET next_offset = ?, received_at_ms = ?",
                (checkpoint.next_offset, checkpoint.received_at_ms),
            )
            connection.executemany(
                "INSERT INTO applied VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id, livemode) DO UPDATE "
                "SET events = events + excluded.events, cancellations = cancellations + excluded.cancellations, "
                "redriven = redriven + excluded.redriven",
                [
                    (each.account_id, each.livemode, tally.events, tally.cancellations, tally.redriven)
                    for each, tally in applied.items()
                ],
            )

    def applied(self) -> Mapping[Tenant, Tally]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT account_id, livemode, events, cancellations, redriven FROM applied"
            ).fetchall()
        return {Tenant(account_id, bool(livemode)): Tally(*counts) for account_id, livemode, *counts in rows}

    def copy_to(self, path: Path) -> None:
        """As it is now, into a file that is not there yet; not synced."""
        with self._database.reading() as connection, closing(sqlite3.connect(path)) as copy:
            connection.backup(copy)

    def close(self) -> None:
        self._database.close()
