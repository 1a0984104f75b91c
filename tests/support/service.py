"""The whole service in one process, put together as `bootstrap/` does it, without threads that run by themselves,
HTTP or waiting: on memory, or on files and the embedded store. It can be made to fail anywhere in a step."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, cast
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import step as steps
from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.adapters.memory.filter_files import MemoryFilterFiles
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.migrations import migrate
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.api.v1.meters import meter_snapshot
from streamgauge.domain.counting_rules import CountingRules
from streamgauge.domain.event_block import RequestColumns
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.engine.adjustments import Adjustments
from streamgauge.engine.apply import Applier
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.counting_rules import kept_rules, take_up
from streamgauge.engine.customers import Customers
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.judging import Judging
from streamgauge.engine.kept_filter import KeptFilter
from streamgauge.engine.meter_events import MeterEvents
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.recently_touched import RecentlyTouched
from streamgauge.engine.sessions import Sessions
from streamgauge.engine.summaries import Summaries
from streamgauge.engine.summary_walks import SummaryWalks
from streamgauge.engine.unapplied import Unapplied
from tests.support.notifying import notifications_on

NO_BOUND = 10**9
SESSION_SECONDS = 900
TABLES_OF_INSERT: Final = 5


@dataclass
class Opened:
    """`log_seen` and `progress_seen` are what others than the applier look through."""

    control: ControlStore
    log: EventLog
    log_seen: EventLog
    progress: Progress
    progress_seen: Progress
    store: UsageStore


class Storage(Protocol):
    """What survives a crash."""

    def opened(self, clock: Clock, stack: ExitStack) -> Opened: ...

    def tear(self, store: UsageStore, events: SettledEvents, step: int) -> None:
        """Insert some of a step, as a crash in the middle may leave it. Raises Crash."""

    def empty(self, stack: ExitStack) -> tuple[Progress, UsageStore]:
        """For a rebuild: nothing applied, nothing stored."""


class MemoryStorage:
    def __init__(self, clock: Clock) -> None:
        log, progress = MemoryEventLog(clock), MemoryProgress()
        self._opened = Opened(MemoryControlStore(), log, log, progress, progress, MemoryUsageStore())

    def opened(self, clock: Clock, stack: ExitStack) -> Opened:
        return self._opened

    def tear(self, store: UsageStore, events: SettledEvents, step: int) -> None:
        half = (len(events.table) + 1) // 2
        torn = replace(
            events,
            table=events.table.slice(0, half),
            hashes=events.hashes[:half],
            by_hash=events.by_hash[events.by_hash < half],
            is_counted=events.is_counted[:half],
        )
        store.insert(torn, step=step)
        raise Crash

    def empty(self, stack: ExitStack) -> tuple[Progress, UsageStore]:
        return MemoryProgress(), MemoryUsageStore()


class DiskStorage:
    """Files in a folder of its own, read anew at each start, and a store that stays open."""

    def __init__(self, folder: Path, new_store: Callable[[], UsageStore]) -> None:
        self._folder = folder
        self._new_store = new_store
        self._store = new_store()
        self._rebuilds = 0
        with contextlib.closing(RelationalControlStore(sqlite_url(folder / "control.db"))) as control:
            migrate(control.engine)

    def opened(self, clock: Clock, stack: ExitStack) -> Opened:
        control = stack.enter_context(
            contextlib.closing(RelationalControlStore(sqlite_url(self._folder / "control.db")))
        )
        log, log_seen = (
            stack.enter_context(contextlib.closing(SqliteEventLog(self._folder / "log.db", clock))) for _ in range(2)
        )
        progress, progress_seen = (
            stack.enter_context(contextlib.closing(SqliteProgress(self._folder / "progress.db"))) for _ in range(2)
        )
        return Opened(control, log, log_seen, progress, progress_seen, self._store)

    def tear(self, store: UsageStore, events: SettledEvents, step: int) -> None:
        """Some tables whole, of the next one a single part, which is as small as a crash can cut."""
        whole = step % TABLES_OF_INSERT
        insert = steps.insert

        def cut(client: Client, database: str, target: steps.Target, rows: pa.Table) -> None:
            nonlocal whole
            if not whole:
                if len(rows):
                    partition = target.partition_of(rows)
                    insert(client, database, target, rows.filter(pc.equal(partition, partition[0])))
                raise Crash
            whole -= 1
            insert(client, database, target, rows)

        with mock.patch.object(steps, "insert", cut):
            store.insert(events, step=step)
        raise AssertionError("the insert was not cut")

    def empty(self, stack: ExitStack) -> tuple[Progress, UsageStore]:
        self._rebuilds += 1
        path = self._folder / f"progress_{self._rebuilds}.db"
        return stack.enter_context(contextlib.closing(SqliteProgress(path))), self._new_store()


class Crash(Exception):
    """What a test makes happen instead of the next line."""


class Faulty:
    """Passes everything on to a port, and fails once, before or after the call that it is told."""

    def __init__(self, port: object) -> None:
        self._port = port
        self._method = ""
        self._is_before = True

    def fail_at(self, method: str, *, before: bool) -> None:
        """An empty name: nowhere."""
        self._method, self._is_before = method, before

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        return self._failing(attribute) if name == self._method else attribute

    def _failing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*given: Any, **named: Any) -> Any:
            self._method = ""
            if not self._is_before:
                method(*given, **named)
            raise Crash

        return failing


class FaultyStore(Faulty):
    """One that can also be cut in the middle of an insert ("tear"). The same call, made again, then stores only what is
    missing, as the port promises: so a step that is redone must come to the same rows, or some are lost."""

    def __init__(self, store: UsageStore, storage: Storage) -> None:
        super().__init__(store)
        self._store = store
        self._storage = storage

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        if self._method == "tear" and not again:
            self._method = ""
            self._storage.tear(self._store, events, step)
        self.__getattr__("insert")(events, step=step, again=again)


class Service:
    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        entropy: Entropy,
        *,
        window_ms: int,
        accept_unknown_customers: bool,
        step_events_max: int,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._entropy = entropy
        self.rules = CountingRules(accept_unknown_customers=accept_unknown_customers, dedup_window_ms=window_ms)
        self.step_events_max = step_events_max
        self._filter_files = MemoryFilterFiles()
        self.start()

    def start(self, *, is_filter_filled: bool = True) -> None:
        self._resources = ExitStack()
        opened = self._storage.opened(self._clock, self._resources)
        self.log, self.control = opened.log, opened.control
        self.faulty_store = FaultyStore(opened.store, self._storage)
        self.faulty_progress = Faulty(opened.progress)
        self.store = cast(UsageStore, self.faulty_store)
        self.progress = cast(Progress, self.faulty_progress)
        clock, log_seen = self._clock, opened.log_seen
        rules = take_up(self.rules, self.control, self.log, clock)
        self.catalogue = CatalogueKeeper(self.control, self.log, clock, rules)
        # Kept now and then, so that a restart finds what is older than the store, or nothing.
        self.deduplication = Deduplication(self.store, rules, KeptFilter(self._filter_files, self.log))
        if is_filter_filled:
            self.fill_filter()
        judging = Judging(self.catalogue, self.deduplication, self.log.partition)
        self.applier = Applier(
            self.log,
            self.progress,
            self.store,
            judging,
            self.deduplication,
            recently=RecentlyTouched(),
            step_events_max=self.step_events_max,
        )
        unapplied = Unapplied(log_seen, opened.progress_seen, judging)
        backlog = Backlog(log_seen, opened.progress_seen, events_max=NO_BOUND)
        self.meters = Meters(
            self.control,
            self.catalogue,
            self._entropy,
            notifications_on(self.control, clock, self._entropy),
            meter_snapshot,
        )
        self.customers = Customers(self.control, self.catalogue, self._entropy)
        self.meter_events = MeterEvents(log_seen, self.store, self.catalogue, unapplied, backlog, clock)
        self._resources.callback(self.meter_events.close)
        self.adjustments = Adjustments(log_seen, opened.progress_seen, self.store, unapplied, backlog, clock)
        self.commit = GroupCommit(log_seen, pending_bytes_max=NO_BOUND, on_fatal=_fatal, pause=lambda: 0.0)
        self._resources.callback(lambda: asyncio.run(self.commit.close()))
        self.idempotency = Idempotency(self.control, clock)
        self.sessions = Sessions(self.control, clock, self._entropy, lifetime_seconds=SESSION_SECONDS)
        self.summaries = Summaries(
            self.meters, self.store, SummaryWalks(lambda: self.progress.checkpoint().next_offset)
        )
        self.receipts = Receipts(unapplied, self.store)

    def stop(self) -> None:
        self._resources.close()

    def restart(self, *, is_filter_filled: bool = True) -> None:
        """Forget everything that is not stored, and take up `rules`, which may be others now."""
        self.stop()
        self.start(is_filter_filled=is_filter_filled)

    def fill_filter(self) -> None:
        """From the store, as the applier's thread does before its first step."""
        self.deduplication.rebuild(self.progress.checkpoint())

    def stream(self, requests: Sequence[RequestColumns]) -> None:
        """Requests that arrive together; returns when all are answered."""

        async def together() -> None:
            await asyncio.gather(*[self.commit.submit(each) for each in requests])

        asyncio.run(together())

    def apply(self) -> None:
        while self.applier.run_once():
            if self.applier.checkpoint.next_offset % 3 == 0:
                self.deduplication.save(everything=True)

    def rebuilt(self, stack: ExitStack, *, step_events_max: int) -> UsageStore:
        """Another store, made from the log and the control store alone."""
        progress, store = self._storage.empty(stack)
        rules = kept_rules(self.control, CountingRules())
        catalogue = CatalogueKeeper(self.control, self.log, self._clock, rules)
        deduplication = Deduplication(store, rules)
        deduplication.rebuild(progress.checkpoint())
        judging = Judging(catalogue, deduplication, self.log.partition)
        applier = Applier(
            self.log,
            progress,
            store,
            judging,
            deduplication,
            recently=RecentlyTouched(),
            step_events_max=step_events_max,
        )
        while applier.run_once():
            pass
        return store


def _fatal(error: BaseException) -> None:
    raise AssertionError("nothing is fatal here") from error
