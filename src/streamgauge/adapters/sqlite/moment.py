"""`BackupSource` of two SQLite files: one moment of both, copied with SQLite's online backup."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from streamgauge.adapters.sqlite.database import translated
from streamgauge.domain.errors import StartRefused

_BUSY_SECONDS: Final = 10.0
_STEP_PAGES: Final = 256
# Files that never change once they are there. A folder from before there were signing secrets has no key for them.
_PLAIN: Final = ("format.json", "signing.key")


class SqliteMoment:
    """Control store and log of a data folder, as they were when their snapshots began."""

    def __init__(
        self, folder: Path, snapshots: Mapping[str, sqlite3.Connection], first_offset: int, next_offset: int
    ) -> None:
        self._folder = folder
        self._snapshots = snapshots
        self.first_offset = first_offset
        self.next_offset = next_offset
        self.names: Sequence[str] = (*snapshots, *(name for name in _PLAIN if (folder / name).exists()))

    def size_bytes(self, name: str) -> int:
        if name in _PLAIN:
            return (self._folder / name).stat().st_size
        ((pages,),) = self._snapshots[name].execute("PRAGMA page_count")
        ((page_bytes,),) = self._snapshots[name].execute("PRAGMA page_size")
        return int(pages) * int(page_bytes)

    def copy(self, name: str, to: Path, on_bytes: Callable[[int], None]) -> None:
        os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        if name in _PLAIN:
            shutil.copyfile(self._folder / name, to)
            return
        source = self._snapshots[name]
        ((page_bytes,),) = source.execute("PRAGMA page_size")
        with translated(f"back up {name}"), closing(sqlite3.connect(to, isolation_level=None)) as copy:
            # Whoever calls syncs the whole file at the end; a copy that was cut short is thrown away.
            copy.execute("PRAGMA synchronous = OFF")
            # The source's connection is inside of its snapshot, so writers do not make it begin anew.
            source.backup(
                copy, pages=_STEP_PAGES, progress=lambda _, left, pages: on_bytes((pages - left) * int(page_bytes))
            )


class SqliteBackupSource:
    def __init__(self, folder: Path, control: Path, log: Path) -> None:
        self._folder = folder
        self._control = control
        self._log = log

    @contextmanager
    def frozen(self) -> Iterator[SqliteMoment]:
        with (
            closing(_opened(self._control)) as writer,
            closing(_opened(self._control)) as control,
            closing(_opened(self._log)) as log,
        ):
            with translated("take a snapshot of control.db and log.db"):
                # A change of the catalogue is stamped in the log while its transaction holds this lock. With the lock
                # in our hands none is under way: what is stamped is committed, and what comes is stamped later.
                writer.execute("BEGIN IMMEDIATE")
                try:
                    control.execute("BEGIN")
                    control.execute("SELECT count(*) FROM sqlite_master").fetchone()
                    log.execute("BEGIN")
                    ((first_offset, next_offset),) = log.execute("SELECT first_offset, next_offset FROM head")
                finally:
                    writer.execute("ROLLBACK")
            snapshots = {self._control.name: control, self._log.name: log}
            yield SqliteMoment(self._folder, snapshots, int(first_offset), int(next_offset))


def _opened(path: Path) -> sqlite3.Connection:
    """A file that is there; none is made."""
    if not path.exists():
        raise StartRefused(f"{path}: is not there; the folder has nothing to back up")
    return sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
