"""The engine process: applying, queries and the control plane."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from starlette.types import ASGIApp

from streamgauge.adapters.relational.alerts import RelationalAlerts
from streamgauge.adapters.relational.notifications import RelationalNotifications
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.api.app import control_app
from streamgauge.api.error_report import window_start_ms_of
from streamgauge.api.services import Services
from streamgauge.api.upkeep import UpkeepServer
from streamgauge.api.v1.meters import meter_snapshot
from streamgauge.bootstrap import OnFatal
from streamgauge.bootstrap.data_plane import open_data_plane
from streamgauge.bootstrap.notifying import open_alert_watching, open_delivering, open_error_reporting, open_notifying
from streamgauge.bootstrap.rate_limit import rate_limit
from streamgauge.bootstrap.redriving import open_dead_letters, open_event_search, open_redriving
from streamgauge.bootstrap.retaining import open_retaining
from streamgauge.bootstrap.upkeep import upkeep_server
from streamgauge.config import Config, UnknownCustomers
from streamgauge.domain.account import Account
from streamgauge.engine.accounts import Accounts
from streamgauge.engine.adjustments import Adjustments
from streamgauge.engine.alert_watching import AlertWatching
from streamgauge.engine.alerts import Alerts
from streamgauge.engine.applying import Applying
from streamgauge.engine.automatic_redrive import RedrivingAutomatically
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.customers import Customers
from streamgauge.engine.dead_letters import DeadLetterBook
from streamgauge.engine.deliveries import Deliveries
from streamgauge.engine.delivering import Delivering
from streamgauge.engine.error_reporting import ErrorReporting
from streamgauge.engine.event_list import EventList
from streamgauge.engine.explanations import Explanations
from streamgauge.engine.filter_saving import FilterSaving
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.keys import Keys
from streamgauge.engine.meter_events import MeterEvents
from streamgauge.engine.meters import Meters
from streamgauge.engine.rate_limit import KeysWithinRate, Limited
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.redrive import Redrives
from streamgauge.engine.retaining import Retaining
from streamgauge.engine.retention import RetentionPeriod
from streamgauge.engine.sessions import Sessions
from streamgauge.engine.status import Edges, Status
from streamgauge.engine.summaries import Summaries
from streamgauge.engine.summary_walks import SummaryWalks
from streamgauge.engine.unapplied import Unapplied

FilterProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything that applies, answers queries and keeps the control plane; one per data folder."""

    app: ASGIApp
    upkeep: UpkeepServer
    applying: Applying
    filter_saving: FilterSaving
    alert_watching: AlertWatching
    redriving: RedrivingAutomatically | None
    retaining: Retaining | None
    error_reporting: ErrorReporting
    delivering: Delivering
    keys: Keys
    account: Account
    edges: Edges
    resources: ExitStack

    def close(self, drain_seconds: float) -> None:
        """Apply what is acknowledged, for at most so long, and let go of every file."""
        self.applying.stop(drain_seconds)
        self.resources.close()


def build_engine(config: Config, folder: DataFolder, on_fatal: OnFatal, on_filter: FilterProgress | None) -> Engine:
    """Open everything in a locked folder. Raises StartRefused. `on_filter` is told how far the filter is rebuilt."""
    # Imported here because the store's engine is large, and an edge process does not need it.
    from streamgauge.adapters.clickhouse.background import yield_to_applying

    clock, entropy = SystemClock(), SystemEntropy()
    with ExitStack() as stack:
        opened = open_data_plane(config, folder, stack, is_server=True)
        control, log, progress, store = opened.control, opened.log, opened.progress, opened.store
        catalogue, deduplication, judging = opened.catalogue, opened.deduplication, opened.judging
        # A rebuild that was cut short: half of a total must not be served.
        opened.rebuilding.finish()
        yield_to_applying()
        applying = Applying(
            opened.applier,
            prepare=lambda: deduplication.rebuild(progress.checkpoint(), on_filter),
            interval_seconds=config.apply_interval_ms / 1000,
            on_fatal=on_fatal,
        )
        filter_saving = FilterSaving(deduplication, on_fatal=on_fatal)
        stack.callback(filter_saving.close)
        requests = rate_limit(config.rate_limit_requests_per_second, Limited.REQUESTS)
        keys = Keys(control, clock, entropy) if requests is None else KeysWithinRate(control, clock, entropy, requests)
        notifying = open_notifying(control, folder, clock, entropy)
        meters = Meters(control, catalogue, entropy, notifying.notifications, meter_snapshot)
        # Connections of their own: what a caller waits for must not wait for a step of the applier.
        log_seen = SqliteEventLog(folder.log, clock)
        stack.callback(log_seen.close)
        progress_seen = SqliteProgress(folder.progress)
        stack.callback(progress_seen.close)
        unapplied = Unapplied(log_seen, progress_seen, judging)
        backlog = Backlog(log_seen, progress_seen, events_max=config.backlog_events_max)
        meter_events = MeterEvents(log_seen, store, catalogue, unapplied, backlog, clock)
        stack.callback(meter_events.close)
        alert_store = RelationalAlerts(control)
        alert_watching = open_alert_watching(
            control, alert_store, notifying.notifications, opened.recently, folder, on_fatal, stack
        )
        search = open_event_search(folder, stack)
        error_reporting = open_error_reporting(
            control, notifying.notifications, search, log_seen, progress_seen, on_fatal, stack
        )
        explanations = Explanations(search, control.get_meter, RelationalNotifications(control), window_start_ms_of)
        receipts = Receipts(unapplied, store)
        letters = open_dead_letters(folder, stack)
        period = RetentionPeriod(log_seen, config.retention_days)
        redrives = Redrives(log_seen, progress_seen, letters, judging, unapplied, backlog, period)
        retaining = None
        if config.retention_days is not None:
            retaining = open_retaining(config.retention_days, folder, applying, progress_seen, clock, on_fatal, stack)
        redriving = None
        if config.redrive_automatically:
            redriving = open_redriving(control, catalogue, redrives, log_seen, progress_seen, on_fatal, stack)
        delivering = open_delivering(
            config,
            control,
            notifying,
            is_applying=lambda: progress_seen.checkpoint().next_offset < log_seen.end_offset(),
            on_fatal=on_fatal,
            stack=stack,
        )
        edges = Edges(wanted=config.edge_processes, ready=0)
        services = Services(
            keys=keys,
            idempotency=Idempotency(control, clock),
            sessions=Sessions(control, clock, entropy, lifetime_seconds=config.session_lifetime_seconds),
            meters=meters,
            customers=Customers(control, catalogue, entropy),
            alerts=Alerts(
                control,
                alert_store,
                log_seen,
                clock,
                entropy,
                accept_unknown_customers=config.unknown_customers is UnknownCustomers.ACCEPT,
            ),
            notifications=notifying.notifications,
            destinations=notifying.destinations,
            deliveries=Deliveries(control, notifying.outbox, clock, delivering.wake),
            meter_events=meter_events,
            adjustments=Adjustments(log_seen, progress_seen, store, unapplied, backlog, clock),
            summaries=Summaries(meters, store, SummaryWalks(lambda: progress_seen.checkpoint().next_offset)),
            receipts=receipts,
            event_list=EventList(search, log_seen, progress_seen, receipts, explanations),
            dead_letters=DeadLetterBook(letters),
            redrives=redrives,
            status=Status(log, progress, backlog, applying, deduplication, clock, delivering.counts, edges),
        )
        account = Accounts(control, clock, entropy).default()
        app = control_app(services, on_fatal)
        return Engine(
            app,
            upkeep_server(folder, opened, applying),
            applying,
            filter_saving,
            alert_watching,
            redriving,
            retaining,
            error_reporting,
            delivering,
            keys,
            account,
            edges,
            stack.pop_all(),
        )
    raise AssertionError("not reached: an ExitStack passes exceptions on")
