"""The commands of trust, on a data folder: verify, rebuild, back up, restore."""

import shutil
from contextlib import ExitStack, closing
from pathlib import Path

from streamgauge.adapters.clickhouse.schema import STORE_FORMAT
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.moment import SqliteBackupSource
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.backup_folder import LocalBackupFolder, bring_back
from streamgauge.adapters.system.clock import SystemClock
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.derived_state import FolderState
from streamgauge.adapters.system.snapshot import Snapshot
from streamgauge.api.upkeep import server_at
from streamgauge.bootstrap.data_plane import open_data_plane
from streamgauge.bootstrap.upkeep import REBUILD, SNAPSHOT, open_snapshot, take_snapshot
from streamgauge.config import Config
from streamgauge.domain.errors import StartRefused
from streamgauge.engine.backup import back_up as copy_backup
from streamgauge.engine.ports.backup import Manifest
from streamgauge.engine.ports.rebuild import OnProgress, Stage
from streamgauge.engine.rebuilding import check_that_the_log_is_whole, is_outdated, refuse_without_beginning
from streamgauge.engine.verification import Verification, Verified


def verify(config: Config, on_progress: OnProgress | None = None) -> Verified:
    """Compare what is stored and served with the log; beside a running server a snapshot of what is stored.

    Raises StartRefused when something must be completed first.
    """
    folder = _existing_folder(config.data_dir)
    with server_at(folder.upkeep_socket) as server, ExitStack() as stack:
        if server is not None:
            return open_snapshot(config, folder, Path(server.ask(SNAPSHOT)), stack).run(on_progress)
    _lock_complete(folder)
    with ExitStack() as stack:
        opened = open_data_plane(config, folder, stack)
        if opened.progress.intent() is not None:
            raise StartRefused(
                f"{folder.path}: the server was killed while it applied events; start it once to complete that"
            )
        return Verification(opened.log, opened.progress, opened.store.audit, opened.catalogue.settled()).run(
            on_progress
        )
    raise AssertionError("not reached: an ExitStack passes exceptions on")


def rebuild(config: Config, *, everything: bool, on_progress: OnProgress | None = None) -> int:
    """Make the rollups anew from the stored events, or `everything` from the log. A running server makes the rollups
    itself; for everything it must be stopped.

    A rebuild that was cut short is completed instead, if that does as much. Returns up to which offset the log is
    applied.
    """
    folder = _existing_folder(config.data_dir)
    with server_at(folder.upkeep_socket) as server:
        if server is not None and not everything:
            return int(server.ask(REBUILD, on_progress))
    folder.lock()
    state = FolderState(folder.path)
    with closing(SqliteEventLog(folder.log, SystemClock())) as log:
        if everything or state.stage() is None:
            refuse_without_beginning(log)
        if everything:
            with closing(SqliteProgress(folder.progress)) as progress:
                check_that_the_log_is_whole(log, progress.checkpoint().next_offset)
            state.mark(Stage.EMPTYING)
    with ExitStack() as stack:
        opened = open_data_plane(config, folder, stack)
        if state.stage() is None:
            opened.rebuilding.begin_rollups()
        opened.rebuilding.finish(on_progress)
        return opened.progress.checkpoint().next_offset
    raise AssertionError("not reached: an ExitStack passes exceptions on")


def back_up(config: Config, target: Path, *, with_store: bool, on_bytes: OnProgress | None = None) -> Manifest:
    """Copy what cannot be made again, whether or not a server runs on the folder.

    The usage store comes along when it is wanted, or retention has dropped records that it was made of. If no server
    runs, the folder is held meanwhile, so that none starts.
    """
    folder = _existing_folder(config.data_dir)
    source = SqliteBackupSource(folder.path, folder.control, folder.log)
    with ExitStack() as stack:
        stored = _stored(folder, stack) if with_store or _has_dropped_records(folder) else None
        return copy_backup(source, LocalBackupFolder(target), SystemClock(), on_bytes, stored)
    raise AssertionError("not reached: an ExitStack passes exceptions on")


def _has_dropped_records(folder: DataFolder) -> bool:
    if not folder.log.exists():
        return False
    with closing(SqliteEventLog(folder.log, SystemClock())) as log:
        return log.beginning().offset > 0


def _stored(folder: DataFolder, stack: ExitStack) -> Snapshot:
    """Store and progress of one moment. To be taken before that of control store and log, which must not be older."""
    if not folder.store.is_dir():
        raise StartRefused(f"{folder.store}: is not there; start the server once")
    server = stack.enter_context(server_at(folder.upkeep_socket))
    if server is not None:
        path = Path(server.ask(SNAPSHOT))
    else:
        _lock_complete(folder)
        with closing(SqliteProgress(folder.progress)) as progress:
            path = take_snapshot(folder, progress)
        stack.callback(shutil.rmtree, path)
    with closing(SqliteProgress(path / "progress.db")) as progress:
        return Snapshot(path, progress.checkpoint().next_offset)


def _lock_complete(folder: DataFolder) -> None:
    """Hold a folder that is all there. Raises StartRefused, too, when something must be completed first."""
    folder.lock()
    state = FolderState(folder.path)
    if state.stage() is not None:
        raise StartRefused(f"{folder.path}: a rebuild was cut short; complete it with `streamgauge rebuild`")
    if is_outdated(state, STORE_FORMAT):
        raise StartRefused(
            f"{folder.path}: was written by an older version; start the server once to bring it up to date"
        )


def restore(config: Config, backup: Path, on_bytes: OnProgress, on_progress: OnProgress) -> int:
    """Bring a backup back into an empty data folder, and apply what its log has beyond its store. Returns up to which
    offset."""
    path = config.data_dir.absolute()
    bring_back(LocalBackupFolder(backup), path, lambda: FolderState(path).mark(Stage.APPLYING), on_bytes)
    return rebuild(config, everything=False, on_progress=on_progress)


def _existing_folder(path: Path) -> DataFolder:
    """Unlike a server, these commands make no folder."""
    if not (path / "format.json").exists():
        raise StartRefused(f"{path}: is not a Streamgauge data folder; name it with --data-dir")
    return DataFolder(path)
