"""The composition root: the only place that knows both ports and adapters."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.adapters.system.data_folder import DataFolder
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
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.customers import Customers
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.judging import Judging
from streamgauge.engine.keys import Keys
from streamgauge.engine.meter_events import MeterEvents
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.session_cache import SessionCache
from streamgauge.engine.sessions import Sessions
from streamgauge.engine.status import Status
from streamgauge.engine.summaries import Summaries
from streamgauge.engine.unapplied import Unapplied

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


def build_engine(config: Config, folder: DataFolder, on_fatal: OnFatal, on_filter: FilterProgress | None) -> Engine:
    """Open everything in a locked folder. Raises StartRefused. `on_filter` is told how far the filter is rebuilt."""
    # Imported here because the store's engine is large, and an edge process does not need it.
    from streamgauge.adapters.clickhouse.background import yield_to_applying
    from streamgauge.adapters.clickhouse.clients import embedded_clients
    from streamgauge.adapters.clickhouse.store import ClickHouseStore

    # Inserts into the embedded store travel through a file, which belongs on the same disk and to the same owner.
    tempfile.tempdir = str(folder.scratch)
    clock, entropy = SystemClock(), SystemEntropy()
    with ExitStack() as stack:
        control = _control_store(folder, stack)
        log = SqliteEventLog(folder.log, clock)
        stack.callback(log.close)
        progress = SqliteProgress(folder.progress)
        stack.callback(progress.close)
        store = ClickHouseStore(*embedded_clients(folder.store))
        stack.callback(store.close)
        _check_that_parts_belong_together(folder, log, progress, store)
        yield_to_applying()

        accept_unknown = config.unknown_customers is UnknownCustomers.ACCEPT
        catalogue = CatalogueKeeper(control, log, clock, accept_unknown_customers=accept_unknown)
        deduplication = Deduplication(store, config.dedup_window_hours * _HOUR_MS)
        judging = Judging(catalogue, deduplication, log.partition)
        applying = Applying(
            Applier(log, progress, store, judging, deduplication, step_events_max=config.apply_events_max),
            prepare=lambda: deduplication.rebuild(progress.checkpoint().received_at_ms, on_filter),
            interval_seconds=config.apply_interval_ms / 1000,
            on_fatal=on_fatal,
        )
        keys = Keys(control, clock, entropy)
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
            SessionCache(sessions, clock), Backlog(log_seen, progress, events_max=config.backlog_events_max), commit
        )
        forward = ForwardToEngine(engine_socket)
        return Edge(stream, commit, forward, forward.close), stack.pop_all()
    raise AssertionError("not reached: an ExitStack passes exceptions on")


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
