"""What applies the log of a data folder, for a server and for the commands on a folder without one."""

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamgauge.adapters.clickhouse.schema import STORE_FORMAT
from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.clock import SystemClock
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.derived_state import FolderState
from streamgauge.adapters.system.filter_folder import FilterFolder
from streamgauge.adapters.system.unsynced_merges import take_back_unsynced_merges
from streamgauge.config import Config, UnknownCustomers
from streamgauge.domain.counting_rules import CountingRules
from streamgauge.domain.errors import StartRefused
from streamgauge.engine.apply import Applier
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.counting_rules import kept_rules, take_up
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.judging import Judging
from streamgauge.engine.kept_filter import KeptFilter
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.rebuilding import Rebuilding, empty
from streamgauge.engine.recently_touched import RecentlyTouched

if TYPE_CHECKING:
    from streamgauge.adapters.clickhouse.store import ClickHouseStore


_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class DataPlane:
    """What applies the log of a data folder: opened by a server, or by a command on a stopped one."""

    control: RelationalControlStore
    log: SqliteEventLog
    progress: SqliteProgress
    store: "ClickHouseStore"
    catalogue: CatalogueKeeper
    deduplication: Deduplication
    judging: Judging
    recently: RecentlyTouched
    applier: Applier
    rebuilding: Rebuilding


def open_data_plane(config: Config, folder: DataFolder, stack: ExitStack, *, is_server: bool = False) -> DataPlane:
    """Open everything that applying needs in a locked folder. Raises StartRefused."""
    from streamgauge.adapters.clickhouse.clients import another_embedded_client, embedded_clients
    from streamgauge.adapters.clickhouse.store import ClickHouseStore

    # What a library writes aside belongs on the same disk and to the same owner.
    tempfile.tempdir = str(folder.scratch)
    clock, state = SystemClock(), FolderState(folder.path)
    control = open_control_store(folder, stack)
    log = SqliteEventLog(folder.log, clock)
    stack.callback(log.close)
    empty(state, STORE_FORMAT, log)
    progress = SqliteProgress(folder.progress)
    stack.callback(progress.close)
    take_back_unsynced_merges(folder.store)
    writer, reader = embedded_clients(folder.store)
    events_writer, seeker = another_embedded_client(folder.store), another_embedded_client(folder.store)
    store = ClickHouseStore(writer, reader, events_writer=events_writer, seeker=seeker)
    stack.callback(store.close)
    if state.store_format() != STORE_FORMAT:
        state.note_store_format(STORE_FORMAT)
    # Its engine syncs files, not the folders that it made for databases and tables: a power cut would forget those.
    state.sync_store()
    _check_that_parts_belong_together(folder, log, progress, store)

    wanted = wanted_rules(config)
    # Only a server changes what holds: a command must find what the server did, whatever settings it is given.
    rules = take_up(wanted, control, log, clock) if is_server else kept_rules(control, wanted)
    catalogue = CatalogueKeeper(control, log, clock, rules)
    kept = KeptFilter(FilterFolder(folder.filter, state.store_identity()), log)
    deduplication = Deduplication(store, rules, kept)
    judging = Judging(catalogue, deduplication, log.partition)
    recently = RecentlyTouched()
    applier = Applier(
        log, progress, store, judging, deduplication, recently=recently, step_events_max=config.apply_events_max
    )
    rebuilding = Rebuilding(state, log, progress, store.rollups, applier, deduplication)
    return DataPlane(control, log, progress, store, catalogue, deduplication, judging, recently, applier, rebuilding)


def wanted_rules(config: Config) -> CountingRules:
    return CountingRules(
        accept_unknown_customers=config.unknown_customers is UnknownCustomers.ACCEPT,
        dedup_window_ms=config.dedup_window_hours * _HOUR_MS,
    )


def _check_that_parts_belong_together(folder: DataFolder, log: EventLog, progress: Progress, store: UsageStore) -> None:
    """Raises StartRefused when a file was lost or is older than the others: going on would count twice, or never."""
    checkpoint = progress.checkpoint()
    if log.end_offset() < checkpoint.next_offset:
        raise StartRefused(
            f"{folder.log}: ends at offset {log.end_offset()}, and events up to {checkpoint.next_offset} were applied; "
            "restore it from a backup"
        )
    if checkpoint.next_offset < (beginning := log.beginning().offset):
        raise StartRefused(
            f"{folder.log}: begins at offset {beginning}, since what came before was dropped (retention_days), and "
            f"only events up to {checkpoint.next_offset} were applied: their totals are not in the log any more; put "
            f"back {folder.store} and {folder.progress}, or a copy of the whole folder"
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


def open_control_store(folder: DataFolder, stack: ExitStack) -> RelationalControlStore:
    # Imported here because it brings Alembic along, which an edge process does not need.
    from streamgauge.adapters.relational.migrations import migrate

    control = RelationalControlStore(sqlite_url(folder.control))
    stack.callback(control.close)
    migrate(control.engine)
    return control
