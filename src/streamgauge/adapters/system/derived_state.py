"""`DerivedState` of a data folder: a file is the mark."""

import contextlib
import secrets
import shutil
from pathlib import Path
from typing import Final

from streamgauge.adapters.system.durable_files import remove, sync_folder, sync_folders, write
from streamgauge.domain.errors import Corrupt
from streamgauge.engine.ports.rebuild import Stage

MARK_FILE: Final = "rebuild"
FORMAT_FILE: Final = "format"
IDENTITY_FILE: Final = "identity"
# Of stores from before formats were noted.
FIRST_FORMAT: Final = 1


class FolderState:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = folder / MARK_FILE
        self._store = folder / "store"
        self._filter = folder / "filter"

    def stage(self) -> Stage | None:
        try:
            return Stage(self._mark.read_text().strip())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Corrupt(f"{self._mark}: {error}; run `streamgauge rebuild --all`") from error

    def mark(self, stage: Stage) -> None:
        write(self._mark, f"{stage}\n")

    def unmark(self) -> None:
        remove(self._mark)

    def store_format(self) -> int | None:
        if not self._store.is_dir():  # what else is there is for whoever opens it to refuse
            return None
        try:
            return int((self._store / FORMAT_FILE).read_text())
        except FileNotFoundError:
            return FIRST_FORMAT
        except ValueError as error:
            raise Corrupt(f"{self._store / FORMAT_FILE}: {error}; run `streamgauge rebuild --all`") from error

    def note_store_format(self, number: int) -> None:
        write(self._store / FORMAT_FILE, f"{number}\n")

    def store_identity(self) -> str:
        """A name that no other store has; one is given to a store that has none. It goes where the store goes."""
        path = self._store / IDENTITY_FILE
        with contextlib.suppress(FileNotFoundError):
            if found := path.read_text().strip():
                return found
        write(path, f"{secrets.token_hex(16)}\n")
        return path.read_text().strip()

    def sync_store(self) -> None:
        sync_folders(self._store)

    def delete(self) -> None:
        shutil.rmtree(self._filter, ignore_errors=False, onerror=_but_for_what_is_gone)
        shutil.rmtree(self._store, ignore_errors=False, onerror=_but_for_what_is_gone)
        for path in self._folder.glob("progress.db*"):
            path.unlink(missing_ok=True)
        sync_folder(self._folder)


def _but_for_what_is_gone(_function: object, _path: str, failure: tuple[object, BaseException, object]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
