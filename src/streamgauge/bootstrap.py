"""The composition root: the only place that knows both ports and adapters."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.moment import SqliteBackupSource
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.backup_folder import LocalBackupFolder, bring_back
from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.derived_state import FolderState
from streamgauge.api.app import control_app
from streamgauge.api.edge import Edge
from streamgauge.api.forward import ForwardToEngine
from streamgauge.api.services import Services
from streamgauge.api.v2.meter_event_stream import MeterEventStream
from streamgauge.config import Config, UnknownCustomers
from streamgauge.domain.account import Account
from streamgauge.domain.errors import StartRefused
from streamgauge.engine.accounts import Accounts
from streamgauge.engine.adjustments import Adjustments
from streamgauge.engine.apply import Applier
from streamgauge.engine.applying import Applying
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.backup import back_up as copy_backup
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.customers import Customers
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.judging import Judging
from streamgauge.engine.keys import Keys
from streamgauge.engine.meter_events import MeterEvents
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.backup import Manifest
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Checkpoint, Progress
from streamgauge.engine.ports.rebuild import OnProgress, Stage
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.rate_limit import KeysWithinRate, Limited, RateLimit
from streamgauge.engine.rebuilding import Rebuilding, check_that_the_log_is_whole, empty
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.session_cache import SessionCache
from streamgauge.engine.sessions import Sessions
from streamgauge.engine.status import Status
from streamgauge.engine.summaries import Summaries
from streamgauge.engine.unapplied import Unapplied
from streamgauge.engine.verification import Verification, Verified

if TYPE_CHECKING:
    from streamgauge.adapters.clickhouse.store import ClickHouseStore

FilterProgress = Callable[[int, int], None]
OnFatal = Callable[[BaseException], None]

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything that applies, answers queries and keeps the control plane; one per data folder."""

    app: ASGIApp
    applying: Applying
    keys: Keys
    account: Account
    resources: ExitStack

    def close(self, drain_seconds: float) -> None:
        """Apply what is acknowledged, for at most so long, and let go of every file."""
        self.applying.stop(drain_seconds)
        self.resources.close()


@dataclass(frozen=True, slots=True)
class _DataPlane:
    """What applies the log of a data folder: opened by a server, or by a command on a stopped one."""

    control: RelationalControlStore
    log: SqliteEventLog
    progress: SqliteProgress
    store: "ClickHouseStore"
    catalogue: CatalogueKeeper
    deduplication: Deduplication
    judging: Judging
    applier: Applier
    rebuilding: Rebuilding


def _open_data_plane(config: Config, folder: DataFolder, stack: ExitStack) -> _DataPlane:
    """Open everything that applying needs in a locked folder. Raises StartRefused."""
    from streamgauge.adapters.clickhouse.clients import embedded_clients
    from streamgauge.adapters.clickhouse.store import ClickHouseStore

    # Inserts into the embedded store travel through a file, which belongs on the same disk and to the same owner.
    tempfile.tempdir = str(folder.scratch)
    clock, state = SystemClock(), FolderState(folder.path)
    empty(state)
    control = _control_store(folder, stack)
    log = SqliteEventLog(folder.log, clock)
    stack.callback(log.close)
    progress = SqliteProgress(folder.progress)
    stack.callback(progress.close)
    store = ClickHouseStore(*embedded_clients(folder.store))
    stack.callback(store.close)
    _check_that_parts_belong_together(folder, log, progress, store)

    accept_unknown = config.unknown_customers is UnknownCustomers.ACCEPT
    catalogue = CatalogueKeeper(control, log, clock, accept_unknown_customers=accept_unknown)
    deduplication = Deduplication(store, config.dedup_window_hours * _HOUR_MS)
    judging = Judging(catalogue, deduplication, log.partition)
    applier = Applier(log, progress, store, judging, deduplication, step_events_max=config.apply_events_max)
    rebuilding = Rebuilding(state, log, progress, store.rollups, applier, deduplication)
    return _DataPlane(control, log, progress, store, catalogue, deduplication, judging, applier, rebuilding)


def build_engine(config: Config, folder: DataFolder, on_fatal: OnFatal, on_filter: FilterProgress | None) -> Engine:
    """Open everything in a locked folder. Raises StartRefused. `on_filter` is told how far the filter is rebuilt."""
    # Imported here because the store's engine is large, and an edge process does not need it.
    from streamgauge.adapters.clickhouse.background import yield_to_applying

    clock, entropy = SystemClock(), SystemEntropy()
    with ExitStack() as stack:
        opened = _open_data_plane(config, folder, stack)
        control, log, progress, store = opened.control, opened.log, opened.progress, opened.store
        catalogue, deduplication, judging = opened.catalogue, opened.deduplication, opened.judging
        # A rebuild that was cut short: half of a total must not be served.
        opened.rebuilding.finish()
        yield_to_applying()
        applying = Applying(
            opened.applier,
            prepare=lambda: deduplication.rebuild(progress.checkpoint().received_at_ms, on_filter),
            interval_seconds=config.apply_interval_ms / 1000,
            on_fatal=on_fatal,
        )
        requests = _rate_limit(config.rate_limit_requests_per_second, Limited.REQUESTS)
        keys = Keys(control, clock, entropy) if requests is None else KeysWithinRate(control, clock, entropy, requests)
        meters = Meters(control, catalogue, entropy)
        # Connections of their own: what a caller waits for must not wait for a step of the applier.
        log_seen = SqliteEventLog(folder.log, clock)
        stack.callback(log_seen.close)
        progress_seen = SqliteProgress(folder.progress)
        stack.callback(progress_seen.close)
        unapplied = Unapplied(log_seen, progress_seen, judging)
        backlog = Backlog(log_seen, progress_seen, events_max=config.backlog_events_max)
        meter_events = MeterEvents(log_seen, store, catalogue, unapplied, backlog, clock)
        stack.callback(meter_events.close)
        services = Services(
            keys=keys,
            idempotency=Idempotency(control, clock),
            sessions=Sessions(control, clock, entropy, lifetime_seconds=config.session_lifetime_seconds),
            meters=meters,
            customers=Customers(control, catalogue, entropy),
            meter_events=meter_events,
            adjustments=Adjustments(log_seen, progress_seen, store, unapplied, backlog, clock),
            summaries=Summaries(meters, store),
            receipts=Receipts(unapplied, store),
            status=Status(log, progress, backlog, applying, deduplication, clock),
        )
        account = Accounts(control, clock, entropy).default()
        return Engine(control_app(services, on_fatal), applying, keys, account, stack.pop_all())
    raise AssertionError("not reached: an ExitStack passes exceptions on")


def build_edge(config: Config, folder: DataFolder, engine_socket: str, on_fatal: OnFatal) -> tuple[Edge, ExitStack]:
    """What an edge process needs: sessions to authenticate, the log to append to, the way to the engine."""
    clock, entropy = SystemClock(), SystemEntropy()
    with ExitStack() as stack:
        control = RelationalControlStore(sqlite_url(folder.control))
        stack.callback(control.close)
        log = SqliteEventLog(folder.log, clock)
        stack.callback(log.close)
        # A connection of its own: looking at the backlog must not wait for an append that is being synced.
        log_seen = SqliteEventLog(folder.log, clock)
        stack.callback(log_seen.close)
        progress = SqliteProgress(folder.progress)
        stack.callback(progress.close)
        sessions = Sessions(control, clock, entropy, lifetime_seconds=config.session_lifetime_seconds)
        commit = GroupCommit(log, pending_bytes_max=config.pending_bytes_max, on_fatal=on_fatal)
        stream = MeterEventStream(
            SessionCache(sessions, clock),
            Backlog(log_seen, progress, events_max=config.backlog_events_max),
            commit,
            _rate_limit(config.rate_limit_events_per_second, Limited.EVENTS),
        )
        forward = ForwardToEngine(engine_socket)
        return Edge(stream, commit, forward, forward.close), stack.pop_all()
    raise AssertionError("not reached: an ExitStack passes exceptions on")


def _rate_limit(per_second: int | None, limited: Limited) -> RateLimit | None:
    return None if per_second is None else RateLimit(per_second, limited, time.monotonic)


def _check_that_parts_belong_together(folder: DataFolder, log: EventLog, progress: Progress, store: UsageStore) -> None:
    """Raises StartRefused when a file was lost or is older than the others: going on would count twice, or never."""
    checkpoint = progress.checkpoint()
    if log.end_offset() < checkpoint.next_offset:
        raise StartRefused(
            f"{folder.log}: ends at offset {log.end_offset()}, and events up to {checkpoint.next_offset} were applied; "
            "restore it from a backup"
        )
    # An intent says that the first step may be in the store already, and that it will be redone as it was.
    if checkpoint.next_offset == 0 and progress.intent() is None and store.count_events():
        raise StartRefused(
            f"{folder.progress}: says that nothing was applied, and {folder.store} holds events; "
            "restore it from a backup"
        )
    if checkpoint.next_offset > 0 and not store.count_events():
        raise StartRefused(
            f"{folder.store}: is empty, and events up to {checkpoint.next_offset} were applied; "
            f"restore it from a backup, or delete {folder.progress} too: then everything is applied again from the log"
        )


def verify(config: Config, on_progress: OnProgress | None = None) -> Verified:
    """Compare what is stored and served with the log, on a folder that no server runs on.

    Raises StartRefused while one does, and when something must be completed first.
    """
    folder = _existing_folder(config.data_dir)
    folder.lock()
    if FolderState(folder.path).stage() is not None:
        raise StartRefused(f"{folder.path}: a rebuild was cut short; complete it with `streamgauge rebuild`")
    with ExitStack() as stack:
        opened = _open_data_plane(config, folder, stack)
        if opened.progress.intent() is not None:
            raise StartRefused(
                f"{folder.path}: the server was killed while it applied events; start it once to complete that"
            )
        return Verification(
            opened.log,
            opened.progress,
            opened.store.audit,
            opened.catalogue.settled(),
            window_ms=config.dedup_window_hours * _HOUR_MS,
        ).run(on_progress)
    raise AssertionError("not reached: an ExitStack passes exceptions on")


def rebuild(config: Config, *, everything: bool, on_progress: OnProgress | None = None) -> Checkpoint:
    """Make the rollups anew from the stored events, or `everything` from the log; on a folder without a server.

    A rebuild that was cut short is completed instead, if that does as much. Returns how far the log is applied.
    """
    folder = _existing_folder(config.data_dir)
    folder.lock()
    state = FolderState(folder.path)
    if everything:
        with ExitStack() as stack:
            log, progress = SqliteEventLog(folder.log, SystemClock()), SqliteProgress(folder.progress)
            stack.callback(log.close)
            stack.callback(progress.close)
            check_that_the_log_is_whole(log, progress.checkpoint().next_offset)
        state.mark(Stage.EMPTYING)
    with ExitStack() as stack:
        opened = _open_data_plane(config, folder, stack)
        if state.stage() is None:
            opened.rebuilding.begin_rollups()
        opened.rebuilding.finish(on_progress)
        return opened.progress.checkpoint()
    raise AssertionError("not reached: an ExitStack passes exceptions on")


def back_up(config: Config, target: Path, on_bytes: OnProgress | None = None) -> Manifest:
    """Copy what cannot be made again, whether or not a server runs on the folder."""
    folder = _existing_folder(config.data_dir)
    source = SqliteBackupSource(folder.path, folder.control, folder.log)
    return copy_backup(source, LocalBackupFolder(target), SystemClock(), on_bytes)


def restore(config: Config, backup: Path, on_bytes: OnProgress, on_progress: OnProgress) -> Checkpoint:
    """Bring a backup back into an empty data folder, and apply its log. Returns how far that is applied."""
    path = config.data_dir.absolute()
    bring_back(LocalBackupFolder(backup), path, lambda: FolderState(path).mark(Stage.APPLYING), on_bytes)
    return rebuild(config, everything=False, on_progress=on_progress)


def _existing_folder(path: Path) -> DataFolder:
    """Unlike a server, these commands make no folder."""
    if not (path / "format.json").exists():
        raise StartRefused(f"{path}: is not a Streamgauge data folder; name it with --data-dir")
    return DataFolder(path)


@contextmanager
def open_keys(folder: DataFolder) -> Iterator[tuple[Keys, Account]]:
    """The keys of a data folder, whether or not a server runs on it."""
    with ExitStack() as stack:
        control = _control_store(folder, stack)
        clock, entropy = SystemClock(), SystemEntropy()
        yield Keys(control, clock, entropy), Accounts(control, clock, entropy).default()


def _control_store(folder: DataFolder, stack: ExitStack) -> RelationalControlStore:
    # Imported here because it brings Alembic along, which an edge process does not need.
    from streamgauge.adapters.relational.migrations import migrate

    control = RelationalControlStore(sqlite_url(folder.control))
    stack.callback(control.close)
    migrate(control.engine)
    return control
