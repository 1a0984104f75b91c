"""Searches of stored events, and redriving those that did not count."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from streamgauge.adapters.relational.marks import RelationalMarks
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.bootstrap import OnFatal
from streamgauge.engine.automatic_redrive import AutomaticRedrive, RedrivingAutomatically
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.redrive import Redrives

if TYPE_CHECKING:
    from streamgauge.adapters.clickhouse.dead_letters import ClickHouseDeadLetters
    from streamgauge.adapters.clickhouse.event_search import ClickHouseEventSearch


def open_event_search(folder: DataFolder, stack: ExitStack) -> "ClickHouseEventSearch":
    """With a client of its own: a search may take a second, and receipts must not wait."""
    from streamgauge.adapters.clickhouse.clients import another_embedded_client
    from streamgauge.adapters.clickhouse.event_search import ClickHouseEventSearch

    search = ClickHouseEventSearch(another_embedded_client(folder.store))
    stack.callback(search.close)
    return search


def open_dead_letters(folder: DataFolder, stack: ExitStack) -> "ClickHouseDeadLetters":
    """With a client of its own: to look for dead letters may take a while, and no other reader waits for it."""
    from streamgauge.adapters.clickhouse.clients import another_embedded_client
    from streamgauge.adapters.clickhouse.dead_letters import ClickHouseDeadLetters

    letters = ClickHouseDeadLetters(another_embedded_client(folder.store))
    stack.callback(letters.close)
    return letters


def open_redriving(
    control: RelationalControlStore,
    catalogue: CatalogueKeeper,
    redrives: Redrives,
    log: EventLog,
    progress: Progress,
    on_fatal: OnFatal,
    stack: ExitStack,
) -> RedrivingAutomatically:
    automatic = AutomaticRedrive(control, RelationalMarks(control), log, progress, redrives)
    catalogue.when_changed(automatic.created)
    redriving = RedrivingAutomatically(automatic, on_fatal=on_fatal)
    stack.callback(redriving.stop)
    return redriving
