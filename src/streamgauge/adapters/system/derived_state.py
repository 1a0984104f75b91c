"""`DerivedState` of a data folder: a file is the mark."""

import shutil
from pathlib import Path
from typing import Final

from streamgauge.adapters.system.durable_files import remove, sync_folder, write
from streamgauge.domain.errors import Corrupt
from streamgauge.engine.ports.rebuild import Stage

MARK_FILE: Final = "rebuild"


class FolderState:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = folder / MARK_FILE

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

    def delete(self) -> None:
        shutil.rmtree(self._folder / "store", ignore_errors=False, onerror=_but_for_what_is_gone)
        for path in self._folder.glob("progress.db*"):
            path.unlink(missing_ok=True)
        sync_folder(self._folder)


def _but_for_what_is_gone(_function: object, _path: str, failure: tuple[object, BaseException, object]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
