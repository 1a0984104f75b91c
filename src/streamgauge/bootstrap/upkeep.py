"""What a running server does for its folder's owner, and the commands that ask for it."""

import shutil
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.clock import SystemClock
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.derived_state import FolderState
from streamgauge.adapters.system.linked_copy import link_copy
from streamgauge.api.upkeep import UpkeepServer
from streamgauge.bootstrap.data_plane import DataPlane, open_control_store, wanted_rules
from streamgauge.config import Config
from streamgauge.engine.applying import Applying
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.counting_rules import kept_rules
from streamgauge.engine.upkeep import Upkeep
from streamgauge.engine.verification import Verification

REBUILD: Final = "rebuild"
SNAPSHOT: Final = "take a snapshot"

# Of the engine: the lock that its own process holds, and what it has not finished.
_NOT_LINKED: Final = ("status", "tmp")


def upkeep_server(folder: DataFolder, opened: DataPlane, applying: Applying) -> UpkeepServer:
    upkeep = Upkeep(
        applying,
        opened.log,
        opened.progress,
        opened.store.rollups,
        opened.deduplication,
        FolderState(folder.path),
        lambda: str(take_snapshot(folder, opened.progress)),
    )
    return UpkeepServer(
        {
            REBUILD: lambda on_progress: upkeep.rebuild(on_progress).next_offset,
            SNAPSHOT: lambda _: upkeep.snapshot(),
        },
        on_left={SNAPSHOT: lambda path: shutil.rmtree(path, ignore_errors=True)},
    )


def take_snapshot(folder: DataFolder, progress: SqliteProgress) -> Path:
    """Store and progress, of a folder that nobody applies to meanwhile. In the place for what need not outlive the
    process: whoever holds the folder next deletes what one that was killed has left."""
    path = folder.scratch / f"snapshot-{uuid.uuid4().hex}"
    path.mkdir(mode=0o700)
    link_copy(folder.store, path / "store", without=_NOT_LINKED)
    progress.copy_to(path / "progress.db")
    return path


def open_snapshot(config: Config, folder: DataFolder, snapshot: Path, stack: ExitStack) -> Verification:
    """To be compared: the snapshot with the log, which only grows, and the catalogue, which keeps its history."""
    from streamgauge.adapters.clickhouse.clients import embedded_clients
    from streamgauge.adapters.clickhouse.store import ClickHouseStore

    tempfile.tempdir = str(snapshot)
    clock = SystemClock()
    control = open_control_store(folder, stack)
    log = SqliteEventLog(folder.log, clock)
    stack.callback(log.close)
    progress = SqliteProgress(snapshot / "progress.db")
    stack.callback(progress.close)
    store = ClickHouseStore(*embedded_clients(snapshot / "store"))
    stack.callback(store.close)
    catalogue = CatalogueKeeper(control, log, clock, kept_rules(control, wanted_rules(config)))
    return Verification(log, progress, store.audit, catalogue.settled())
