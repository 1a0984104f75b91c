"""`EventLog` as a SQLite file: one row per group of requests, one synced commit per row."""

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from streamgauge.adapters.sqlite.database import Database
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import LogRecord

_VERSION: Final = 1
_SCHEMA: Final = (
    """CREATE TABLE records (
        first_offset INTEGER PRIMARY KEY,
        next_offset INTEGER NOT NULL,
        received_at_ms INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        block BLOB NOT NULL
    )""",
    # One row: where the next record goes, and the last time that was given to a record or a change of the catalogue.
    "CREATE TABLE head (next_offset INTEGER NOT NULL, last_stamp_ms INTEGER NOT NULL)",
    "INSERT INTO head VALUES (0, 0)",
    """CREATE TABLE accepted (
        account_id TEXT NOT NULL, livemode INTEGER NOT NULL, events INTEGER NOT NULL,
        PRIMARY KEY (account_id, livemode)
    ) WITHOUT ROWID""",
)


class SqliteEventLog:
    """Any number of processes may hold one on the same file; the file's write lock puts their appends in order."""

    partition: Final = 0

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._database = Database(path, _SCHEMA, _VERSION)

    def append(self, block: bytes, events: Mapping[Tenant, int]) -> LogRecord:
        checksum = zlib.crc32(block)
        with self._database.writing() as connection:
            first_offset, last_stamp_ms = connection.execute("SELECT next_offset, last_stamp_ms FROM head").fetchone()
            record = LogRecord(
                first_offset, first_offset + sum(events.values()), max(self._clock.now_ms(), last_stamp_ms + 1), block
            )
            connection.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
                (record.first_offset, record.next_offset, record.received_at_ms, checksum, block),
            )
            connection.execute(
                "UPDATE head SET next_offset = ?, last_stamp_ms = ?", (record.next_offset, record.received_at_ms)
            )
            connection.executemany(
                "INSERT INTO accepted VALUES (?, ?, ?) "
                "ON CONFLICT (account_id, livemode) DO UPDATE SET events = events + excluded.events",
                [(tenant.account_id, tenant.livemode, count) for tenant, count in events.items()],
            )
        return record

    def stamp(self, at_least_ms: int) -> int:
        with self._database.writing() as connection:
            ((stamp_ms,),) = connection.execute(
                "UPDATE head SET last_stamp_ms = max(?, last_stamp_ms + 1) RETURNING last_stamp_ms", (at_least_ms,)
            ).fetchall()
        return int(stamp_ms)

    def read(self, offset: int, *, events_max: int) -> Sequence[LogRecord]:
        records: list[LogRecord] = []
        expected = offset
        with self._database.reading() as connection:
            # Read before the records: whatever lies below it must then be found.
            end = self._end(connection)
            rows = connection.execute(
                "SELECT first_offset, next_offset, received_at_ms, checksum, block FROM records "
                "WHERE first_offset >= ? ORDER BY first_offset",
                (offset,),
            )
            for first_offset, next_offset, received_at_ms, checksum, block in rows:
                if records and next_offset - offset > events_max:
                    break
                if first_offset != expected or next_offset <= first_offset:
                    raise Corrupt(
                        f"event log, offset {expected}: the record is missing; the next one is {first_offset}"
                    )
                # A damaged cell may come back as text or NULL.
                if not isinstance(block, bytes) or zlib.crc32(block) != checksum:
                    raise Corrupt(f"event log, offset {first_offset}: the record does not match its checksum")
                records.append(LogRecord(first_offset, next_offset, received_at_ms, block))
                expected = next_offset
            rows.close()
            if not records and end != offset:
                raise Corrupt(f"event log, offset {offset}: there is no record, and the log ends at {end}")
        return records

    def end_offset(self) -> int:
        with self._database.reading() as connection:
            return self._end(connection)

    def accepted(self) -> Mapping[Tenant, int]:
        with self._database.reading() as connection:
            rows = connection.execute("SELECT account_id, livemode, events FROM accepted").fetchall()
        return {Tenant(account_id, bool(livemode)): events for account_id, livemode, events in rows}

    def close(self) -> None:
        self._database.close()

    @staticmethod
    def _end(connection: sqlite3.Connection) -> int:
        (next_offset,) = connection.execute("SELECT next_offset FROM head").fetchone()
        return int(next_offset)
