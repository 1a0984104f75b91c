"""`EventLog` as a SQLite file: one row per group of requests, one synced commit per row."""

import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from streamgauge.adapters.sqlite.database import Database
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt
from streamgauge.domain.tally import Tally
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import KeyedEntry, KnownRequest, LogBeginning, LogRecord

_FIRST: Final = (
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
_CANCELLATIONS_AND_REQUEST_KEYS: Final = (
    "ALTER TABLE accepted ADD COLUMN cancellations INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE request_keys (
        account_id TEXT NOT NULL, livemode INTEGER NOT NULL, digest BLOB NOT NULL, fingerprint BLOB NOT NULL,
        first_offset INTEGER NOT NULL, position INTEGER NOT NULL, received_at_ms INTEGER NOT NULL,
        PRIMARY KEY (account_id, livemode, digest)
    ) WITHOUT ROWID""",
    "CREATE INDEX request_keys_received ON request_keys (received_at_ms)",
)
_REDRIVEN: Final = ("ALTER TABLE accepted ADD COLUMN redriven INTEGER NOT NULL DEFAULT 0",)
# Said in so many words, because a log whose first records were lost must not pass for one that dropped them.
_BEGINNING: Final = (
    "ALTER TABLE head ADD COLUMN first_offset INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE head ADD COLUMN received_from_ms INTEGER NOT NULL DEFAULT 0",
)
_STEPS: Final = (_FIRST, _CANCELLATIONS_AND_REQUEST_KEYS, _REDRIVEN, _BEGINNING)

# Of one transaction that drops records: to find the pages of a block, SQLite reads them.
_DROP_RECORDS_MAX: Final = 1_000
_DROP_BYTES_MAX: Final = 8 * 2**20


class SqliteEventLog:
    """Any number of processes may hold one on the same file; the file's write lock puts their appends in order."""

    partition: Final = 0

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._database = Database(path, _STEPS)

    def append(self, block: bytes, tallies: Mapping[Tenant, Tally], keys: Sequence[KeyedEntry] = ()) -> LogRecord:
        checksum = zlib.crc32(block)
        size = sum(tally.entries for tally in tallies.values())
        with self._database.writing() as connection:
            first_offset, last_stamp_ms = connection.execute("SELECT next_offset, last_stamp_ms FROM head").fetchone()
            record = LogRecord(first_offset, first_offset + size, max(self._clock.now_ms(), last_stamp_ms + 1), block)
            connection.execute(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?)",
                (record.first_offset, record.next_offset, record.received_at_ms, checksum, block),
            )
            connection.execute(
                "UPDATE head SET next_offset = ?, last_stamp_ms = ?", (record.next_offset, record.received_at_ms)
            )
            connection.executemany(
                "INSERT INTO accepted VALUES (?, ?, ?, ?, ?) ON CONFLICT (account_id, livemode) DO UPDATE "
                "SET events = events + excluded.events, cancellations = cancellations + excluded.cancellations, "
                "redriven = redriven + excluded.redriven",
                [
                    (each.account_id, each.livemode, tally.events, tally.cancellations, tally.redriven)
                    for each, tally in tallies.items()
                ],
            )
            if keys:
                connection.executemany(
                    "INSERT OR REPLACE INTO request_keys VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [_key_row(each, record) for each in keys],
                )
        return record

    def stamp(self, at_least_ms: int) -> int:
        with self._database.writing() as connection:
            ((stamp_ms,),) = connection.execute(
                "UPDATE head SET last_stamp_ms = max(?, last_stamp_ms + 1) RETURNING last_stamp_ms", (at_least_ms,)
            ).fetchall()
        return int(stamp_ms)

    def next_stamp_ms(self) -> int:
        with self._database.reading() as connection:
            (last_stamp_ms,) = connection.execute("SELECT last_stamp_ms FROM head").fetchone()
        return max(self._clock.now_ms(), int(last_stamp_ms) + 1)

    def read(self, offset: int, *, events_max: int) -> Sequence[LogRecord]:
        records: list[LogRecord] = []
        with self._database.reading(f"read the event log, offset {offset}") as connection:
            # Read before the records: whatever lies below it must then be found.
            end = self._end(connection)
            try:
                for record in self._from(connection, offset):
                    if records and record.next_offset - offset > events_max:
                        break
                    records.append(record)
            except (sqlite3.Error, Corrupt):
                # What lies before the damage is whole: it is given now, and the next read names the place.
                if not records:
                    raise
            if not records and end != offset:
                raise Corrupt(f"event log, offset {offset}: there is no record, and the log ends at {end}")
        return records

    @staticmethod
    def _from(connection: sqlite3.Connection, offset: int) -> Iterator[LogRecord]:
        rows = connection.execute(
            "SELECT first_offset, next_offset, received_at_ms, checksum, block FROM records "
            "WHERE first_offset >= ? ORDER BY first_offset",
            (offset,),
        )
        with closing(rows):
            for first_offset, next_offset, received_at_ms, checksum, block in rows:
                if first_offset != offset or next_offset <= first_offset:
                    raise Corrupt(f"event log, offset {offset}: the record is missing; the next one is {first_offset}")
                # A damaged cell may come back as text or NULL.
                if not isinstance(block, bytes) or zlib.crc32(block) != checksum:
                    raise Corrupt(f"event log, offset {first_offset}: the record does not match its checksum")
                yield LogRecord(first_offset, next_offset, received_at_ms, block)
                offset = next_offset

    def end_offset(self) -> int:
        with self._database.reading() as connection:
            return self._end(connection)

    def received_before(self, offset: int) -> int | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT next_offset, received_at_ms FROM records WHERE first_offset < ? "
                "ORDER BY first_offset DESC LIMIT 1",
                (offset,),
            ).fetchone()
        return None if row is None or row[0] != offset else int(row[1])

    def beginning(self) -> LogBeginning:
        with self._database.reading() as connection:
            return LogBeginning(*connection.execute("SELECT first_offset, received_from_ms FROM head").fetchone())

    def drop(self, *, before_ms: int, below_offset: int) -> int:
        with self._database.writing() as connection:
            (first_offset,) = connection.execute("SELECT first_offset FROM head").fetchone()
            oldest = connection.execute(
                "SELECT next_offset, received_at_ms, length(block) FROM records ORDER BY first_offset LIMIT ?",
                (_DROP_RECORDS_MAX,),
            ).fetchall()
            beginning = LogBeginning(first_offset)
            size = 0
            for next_offset, received_at_ms, block_bytes in oldest:
                size += block_bytes
                is_wanted = received_at_ms < before_ms and next_offset <= below_offset
                if not is_wanted or (size > _DROP_BYTES_MAX and beginning.offset > first_offset):
                    break
                beginning = LogBeginning(next_offset, received_at_ms + 1)
            if beginning.offset > first_offset:
                connection.execute("DELETE FROM records WHERE first_offset < ?", (beginning.offset,))
                connection.execute(
                    "UPDATE head SET first_offset = ?, received_from_ms = ?",
                    (beginning.offset, beginning.received_from_ms),
                )
        return beginning.offset - int(first_offset)

    def accepted(self) -> Mapping[Tenant, Tally]:
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT account_id, livemode, events, cancellations, redriven FROM accepted"
            ).fetchall()
        return {Tenant(account_id, bool(livemode)): Tally(*counts) for account_id, livemode, *counts in rows}

    def known_request(self, tenant: Tenant, digest: str) -> KnownRequest | None:
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT fingerprint, first_offset, position, received_at_ms FROM request_keys "
                "WHERE account_id = ? AND livemode = ? AND digest = ?",
                (tenant.account_id, tenant.livemode, bytes.fromhex(digest)),
            ).fetchone()
        return None if row is None else KnownRequest(row[0].hex(), *row[1:])

    def forget_requests(self, before_ms: int) -> int:
        with self._database.writing() as connection:
            return connection.execute("DELETE FROM request_keys WHERE received_at_ms < ?", (before_ms,)).rowcount

    def close(self) -> None:
        self._database.close()

    @staticmethod
    def _end(connection: sqlite3.Connection) -> int:
        (next_offset,) = connection.execute("SELECT next_offset FROM head").fetchone()
        return int(next_offset)


def _key_row(entry: KeyedEntry, record: LogRecord) -> tuple[object, ...]:
    return (
        entry.tenant.account_id,
        entry.tenant.livemode,
        bytes.fromhex(entry.key.digest),
        bytes.fromhex(entry.key.fingerprint),
        record.first_offset,
        entry.position,
        record.received_at_ms,
    )
