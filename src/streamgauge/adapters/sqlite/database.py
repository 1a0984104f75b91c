"""Opening SQLite files durably, and its errors in our words."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from streamgauge.domain.errors import Corrupt, DurabilityLost, StartRefused, StorageFull, Unavailable

_BUSY_TIMEOUT_MS: Final = 10_000
# Records are blocks of 10 kB to some MB: large pages make them few.
_PAGE_BYTES: Final = 16_384
_WAL_PAGES_MAX: Final = 2_000
# An extended code carries its primary code in the low byte.
_PRIMARY: Final = 0xFF
# The shared index of the WAL could not grow: a full disk, met before anything was written.
_WAL_INDEX_FULL: Final = sqlite3.SQLITE_IOERR_SHMSIZE


class Database:
    """One connection, used by one thread at a time, to a file that other processes may have open too.

    `steps` are the statements that lead from each version of the file to the next. A file of a former version is
    brought up to date, one of a later version is refused.
    """

    def __init__(self, path: Path, steps: Sequence[Sequence[str]]) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._lost: DurabilityLost | None = None
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._prepare(steps)
        except sqlite3.DatabaseError as error:
            if _is_full(error):
                raise StartRefused(f"{path}: cannot be opened: the disk is full; make room") from error
            raise StartRefused(f"{path}: cannot be opened as a database: {error}") from error

    def _prepare(self, steps: Sequence[Sequence[str]]) -> None:
        run = self._connection.execute
        run(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        run(f"PRAGMA page_size = {_PAGE_BYTES}")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES_MAX}")
        (found,) = run("PRAGMA user_version").fetchone()
        if found > len(steps):
            raise StartRefused(
                f"{self.path}: format {found}, this program knows {len(steps)}; start the program that wrote it"
            )
        if found < len(steps):
            with self.writing():
                # Of two processes that found an old file, the second to get the lock finds it made.
                (found,) = run("PRAGMA user_version").fetchone()
                for statement in chain.from_iterable(steps[found:]):
                    run(statement)
                run(f"PRAGMA user_version = {len(steps)}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the file's write lock from its start and is synced when it ends.

        Raises StorageFull or Unavailable: it was rolled back. Raises DurabilityLost: its outcome is unknown. If
        the disk failed, so is that of every later one, whatever its fsync says: each of them raises it too.
        """
        with self._lock:
            if self._lost is not None:
                raise DurabilityLost(f"could not write {self.path.name}: the disk failed before") from self._lost
            with translated(f"write {self.path.name}"):
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                with translated(f"write {self.path.name}"):
                    yield self._connection
                    self._connection.execute("COMMIT")
            except BaseException as error:
                if isinstance(error, DurabilityLost) and isinstance(error.__cause__, sqlite3.Error):
                    self._lost = error if _code(error.__cause__) & _PRIMARY == sqlite3.SQLITE_IOERR else None
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self, doing: str | None = None) -> Iterator[sqlite3.Connection]:
        """`doing` says what is read, for errors."""
        with self._lock, translated(doing or f"read {self.path.name}"):
            yield self._connection

    def close(self) -> None:
        with self._lock:
            self._connection.close()


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """The one place that knows SQLite's codes."""
    try:
        yield
    except sqlite3.Error as error:
        primary = _code(error) & _PRIMARY
        if _is_full(error):
            raise StorageFull(f"could not {doing}: the disk is full") from error
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise Unavailable(f"could not {doing}: it was locked for {_BUSY_TIMEOUT_MS / 1000:g} s") from error
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise Corrupt(f"could not {doing}: the file is damaged: {error}") from error
        raise DurabilityLost(f"could not {doing}: {error} ({getattr(error, 'sqlite_errorname', '?')})") from error


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)


def _is_full(error: sqlite3.Error) -> bool:
    return _code(error) & _PRIMARY == sqlite3.SQLITE_FULL or _code(error) == _WAL_INDEX_FULL
