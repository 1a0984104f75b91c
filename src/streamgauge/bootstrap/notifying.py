"""What is told, who looks for it, and its way to the destinations."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop

from streamgauge import __version__
from streamgauge.adapters.relational.alerts import RelationalAlerts
from streamgauge.adapters.relational.destinations import RelationalDestinations
from streamgauge.adapters.relational.marks import RelationalMarks
from streamgauge.adapters.relational.notifications import RelationalNotifications
from streamgauge.adapters.relational.outbox import RelationalOutbox
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.signing_root import signing_root
from streamgauge.adapters.webhook.poster import WebhookPoster
from streamgauge.api.error_report import error_report_draft
from streamgauge.api.notification_payload import payload
from streamgauge.api.v1.alerts import triggered
from streamgauge.bootstrap import OnFatal
from streamgauge.config import Config
from streamgauge.domain.alert import Firing
from streamgauge.domain.error_report import ErrorReport
from streamgauge.domain.retry_schedule import RetrySchedule
from streamgauge.engine.alert_watch import AlertWatch
from streamgauge.engine.alert_watching import AlertWatching
from streamgauge.engine.delivering import Delivering
from streamgauge.engine.delivery import Deliverer
from streamgauge.engine.destinations import Destinations
from streamgauge.engine.error_reporting import ErrorReporting
from streamgauge.engine.error_reports import ErrorReports
from streamgauge.engine.notifications import Notifications
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.recently_touched import RecentlyTouched

if TYPE_CHECKING:
    from streamgauge.adapters.clickhouse.event_search import ClickHouseEventSearch


# What is cut off then is delivered again after the next start; a receiver that hangs must not hold up the end.
_DELIVERING_GRACE_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Notifying:
    """Notifications, and where they go."""

    notifications: Notifications
    destinations: Destinations
    outbox: RelationalOutbox


def open_notifying(
    control: RelationalControlStore, folder: DataFolder, clock: SystemClock, entropy: SystemEntropy
) -> Notifying:
    """Raises StartRefused."""
    outbox, destination_store = RelationalOutbox(control), RelationalDestinations(control)
    notification_store = RelationalNotifications(control)
    notifications = Notifications(control, notification_store, destination_store, outbox, clock, entropy)
    root = signing_root(folder.path, may_be_made=destination_store.is_empty())
    destinations = Destinations(control, destination_store, notifications, clock, entropy, root)
    return Notifying(notifications, destinations, outbox)


def open_delivering(
    config: Config,
    control: RelationalControlStore,
    notifying: Notifying,
    *,
    is_applying: Callable[[], bool],
    on_fatal: OnFatal,
    stack: ExitStack,
) -> Delivering:
    """Woken by everything that is announced; ended before the control store is closed."""
    deliverer = Deliverer(
        control,
        notifying.outbox,
        RelationalDestinations(control),
        WebhookPoster(allow_private=config.webhook_allow_private),
        SystemClock(),
        render=payload,
        secrets_of=notifying.destinations.signing_secrets,
        disable=notifying.destinations.disable_failing,
        schedule=RetrySchedule(first_delay_ms=config.webhook_retry_seconds * 1_000),
        user_agent=f"Streamgauge/{__version__}",
    )
    delivering = Delivering(deliverer, is_applying=is_applying, on_fatal=on_fatal, loop_factory=uvloop.new_event_loop)
    notifying.notifications.when_committed(delivering.wake)
    stack.callback(delivering.stop, min(config.shutdown_grace_seconds, _DELIVERING_GRACE_SECONDS))
    return delivering


def open_alert_watching(
    control: RelationalControlStore,
    alerts: RelationalAlerts,
    notifications: Notifications,
    recently: RecentlyTouched,
    folder: DataFolder,
    on_fatal: OnFatal,
    stack: ExitStack,
) -> AlertWatching:
    """With clients and connections of its own: neither applying nor a caller waits for it."""
    from streamgauge.adapters.clickhouse.clients import another_embedded_client
    from streamgauge.adapters.clickhouse.usage_watch import ClickHouseUsageWatch

    usage = ClickHouseUsageWatch(another_embedded_client(folder.store))
    stack.callback(usage.close)
    progress = SqliteProgress(folder.progress)
    stack.callback(progress.close)

    def announce(firing: Firing) -> None:
        notifications.announce(triggered(firing))

    watch = AlertWatch(control, alerts, RelationalMarks(control), usage, recently, progress, SystemClock(), announce)
    watching = AlertWatching(watch, on_fatal=on_fatal)
    stack.callback(watching.stop)
    return watching


def open_error_reporting(
    control: RelationalControlStore,
    notifications: Notifications,
    search: "ClickHouseEventSearch",
    log: EventLog,
    progress: Progress,
    on_fatal: OnFatal,
    stack: ExitStack,
) -> ErrorReporting:
    def announce(report: ErrorReport) -> None:
        meter = control.get_meter(report.tenant, report.meter_id) if report.meter_id else None
        notifications.announce(error_report_draft(report, meter))

    reports = ErrorReports(control, RelationalMarks(control), search, log, progress, announce)
    reporting = ErrorReporting(reports, on_fatal=on_fatal)
    stack.callback(reporting.stop)
    return reporting
