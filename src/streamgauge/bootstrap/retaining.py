"""Dropping what is older than the retention."""

from contextlib import ExitStack

from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.bootstrap import OnFatal
from streamgauge.engine.applying import Applying
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.retaining import Retaining
from streamgauge.engine.retention import Retention


def open_retaining(
    days: int,
    folder: DataFolder,
    applying: Applying,
    progress: Progress,
    clock: Clock,
    on_fatal: OnFatal,
    stack: ExitStack,
) -> Retaining:
    """With connections of its own to log and store: nobody waits for them."""
    from streamgauge.adapters.clickhouse.clients import another_embedded_client
    from streamgauge.adapters.clickhouse.retention import ClickHouseRetention

    events = ClickHouseRetention(another_embedded_client(folder.store))
    stack.callback(events.close)
    log = SqliteEventLog(folder.log, clock)
    stack.callback(log.close)
    retaining = Retaining(Retention(log, progress, events, clock, days), applying, on_fatal=on_fatal)
    stack.callback(retaining.stop)
    return retaining
