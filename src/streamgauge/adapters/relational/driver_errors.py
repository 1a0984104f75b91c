"""What a database driver raises, in the words of the service. The only place that knows driver codes."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from streamgauge.domain.errors import Corrupt, DurabilityLost, StorageFull, StreamgaugeError, Unavailable

# An extended SQLite code carries its primary code in the low byte.
_PRIMARY = 0xFF
# The index of the WAL, in shared memory, could not grow. It lives in a file beside the database, so this is a full
# disk met before anything of the transaction was written, and passes; the other I/O errors are the disk's own.
_WAL_INDEX_FULL = sqlite3.SQLITE_IOERR_SHMSIZE


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise what `translation` says in place of the driver's error, which stays as its cause."""
    try:
        yield
    except SQLAlchemyError as error:
        raise translation(error, place) from error


def translation(error: SQLAlchemyError, place: str) -> StreamgaugeError:
    """The error of the service that stands for the driver's; `place` names the database."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code: int = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_OK)
    primary = code & _PRIMARY
    if primary == sqlite3.SQLITE_FULL or code == _WAL_INDEX_FULL:
        return StorageFull(f"control store {place}: the disk has no room, nothing was written: make room")
    if primary == sqlite3.SQLITE_IOERR:
        return DurabilityLost(f"control store {place}: the disk failed: {cause}: check the disk before the next start")
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Corrupt(f"control store {place}: the database is damaged: {cause}: restore it from a backup")
    if isinstance(error, (OperationalError, InterfaceError, NoFreeConnection)):
        return Unavailable(f"control store {place}: {cause}")
    if isinstance(error, IntegrityError):
        return StreamgaugeError(f"control store {place}: refused, nothing was written: {cause}")
    return StreamgaugeError(f"control store {place}: {cause}")
