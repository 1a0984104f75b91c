"""A clock that only moves when told, and a service put together on chosen adapters without threads or HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pyarrow as pa

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.adapters.memory.filter_files import MemoryFilterFiles
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.cancellation import CancelBlock, CancelRequest, encode_cancels
from streamgauge.domain.counting_rules import CountingRules
from streamgauge.domain.credential import Principal
from streamgauge.domain.customer import Customer
from streamgauge.domain.event_block import RequestColumns, block_of, encode
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.meter_event import ABSENT_MS
from streamgauge.domain.span import Span
from streamgauge.domain.summary import Range
from streamgauge.engine.apply import STEP_BYTES_MAX, Applier
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.counting_rules import take_up
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.judging import Judging
from streamgauge.engine.kept_filter import KeptFilter
from streamgauge.engine.ports.event_log import EventLog, LogRecord
from streamgauge.engine.ports.filter_files import FilterFiles
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.usage_store import SummaryQuery, UsageStore
from streamgauge.engine.recently_touched import RecentlyTouched
from streamgauge.engine.unapplied import Unapplied

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WINDOW_MS = 35 * DAY_MS
TENANT = Tenant("acct_test", livemode=False)


@dataclass
class SettableClock:
    at_ms: int = START_MS

    def now_ms(self) -> int:
        return self.at_ms


@dataclass(frozen=True)
class Event:
    """One event as a client sends it."""

    identifier: str
    customer: str = "cus_1"
    value: str = "1"
    timestamp_ms: int | None = None
    event_name: str = "api_requests"
    payload: dict[str, str] | None = None

    @property
    def sent_payload(self) -> dict[str, str]:
        if self.payload is not None:
            return self.payload
        return {"stripe_customer_id": self.customer, "value": self.value}


def request(events: Sequence[Event], tenant: Tenant = TENANT) -> RequestColumns:
    return RequestColumns(
        origin=Principal(tenant, "key_test", "mes_test"),
        event_names=[event.event_name for event in events],
        identifiers=[event.identifier for event in events],
        timestamps_ms=np.array(
            [ABSENT_MS if event.timestamp_ms is None else event.timestamp_ms for event in events], np.int64
        ),
        payload_sizes=[len(event.sent_payload) for event in events],
        payload_keys=[key for event in events for key in event.sent_payload],
        payload_values=[value for event in events for value in event.sent_payload.values()],
        size_bytes=200 * len(events),
    )


@dataclass
class World:
    """The data plane, driven by hand: `accept` is a request that was answered, `apply` a step of the applier."""

    clock: SettableClock = field(default_factory=SettableClock)
    log: EventLog = field(init=False)
    progress: Progress = field(default_factory=MemoryProgress)
    store: UsageStore = field(default_factory=MemoryUsageStore)
    control: MemoryControlStore = field(default_factory=MemoryControlStore)
    filter_files: FilterFiles = field(default_factory=MemoryFilterFiles)
    accept_unknown_customers: bool = False
    window_ms: int = WINDOW_MS
    step_events_max: int = 1_000
    step_bytes_max: int = STEP_BYTES_MAX
    ahead_entries_min: int = 10**9  # 1: whatever waits is judged beside the insert of the step before

    def __post_init__(self) -> None:
        self.log = MemoryEventLog(self.clock)
        self.control.add_account(Account(id=TENANT.account_id, name="test", created_ms=0))
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not stored, and rebuild it."""
        wanted = CountingRules(accept_unknown_customers=self.accept_unknown_customers, dedup_window_ms=self.window_ms)
        self.rules = take_up(wanted, self.control, self.log, self.clock)
        self.catalogue = CatalogueKeeper(self.control, self.log, self.clock, self.rules)
        self.deduplication = Deduplication(self.store, self.rules, KeptFilter(self.filter_files, self.log))
        self.deduplication.rebuild(self.progress.checkpoint())
        self.judging = Judging(self.catalogue, self.deduplication, self.log.partition)
        self.unapplied = Unapplied(self.log, self.progress, self.judging)
        self.recently = RecentlyTouched()
        self.applier = Applier(
            self.log,
            self.progress,
            self.store,
            self.judging,
            self.deduplication,
            recently=self.recently,
            step_events_max=self.step_events_max,
            step_bytes_max=self.step_bytes_max,
            ahead_entries_min=self.ahead_entries_min,
        )

    def accept(self, *events: Event, tenant: Tenant = TENANT) -> LogRecord:
        return self.accept_requests(request(events, tenant))

    def accept_requests(self, *requests: RequestColumns) -> LogRecord:
        block = block_of(requests)
        return self.log.append(encode(block), block.tallies)

    def accept_cancel(self, identifier: str, event_name: str = "api_requests", tenant: Tenant = TENANT) -> LogRecord:
        block = CancelBlock((CancelRequest(Principal(tenant, "key_test"), event_name, identifier),))
        return self.log.append(encode_cancels(block), block.tallies)

    def apply(self) -> None:
        while self.applier.run_once():
            pass

    def add_customer(self, customer_id: str = "cus_1", tenant: Tenant = TENANT) -> Customer:
        with self.catalogue.change() as change:
            customer = Customer(id=customer_id, tenant=tenant, created_ms=change.at_ms)
            self.control.add_customer(customer)
            change.put_customer(customer)
        return customer

    def delete_customer(self, customer: Customer) -> None:
        with self.catalogue.change() as change:
            deleted = Customer(
                id=customer.id, tenant=customer.tenant, created_ms=customer.created_ms, deleted_ms=change.at_ms
            )
            self.control.save_customer(deleted)
            change.put_customer(deleted)

    def add_meter(
        self,
        event_name: str = "api_requests",
        formula: Formula = Formula.SUM,
        window: EventTimeWindow | None = None,
        tenant: Tenant = TENANT,
        meter_id: str | None = None,
    ) -> Meter:
        with self.catalogue.change() as change:
            meter = Meter(
                id=meter_id or f"mtr_{event_name}",
                tenant=tenant,
                display_name=event_name,
                event_name=event_name,
                formula=formula,
                event_time_window=window,
                created_ms=change.at_ms,
                updated_ms=change.at_ms,
                active_spans=(Span(change.at_ms),),
            )
            self.control.add_meter(meter)
            change.put_meter(meter)
        return meter

    def change_meter(self, meter: Meter, *, active: bool) -> Meter:
        with self.catalogue.change() as change:
            changed = meter.reactivated(change.at_ms) if active else meter.deactivated(change.at_ms)
            self.control.save_meter(changed)
            change.put_meter(changed)
        return changed

    def fates(self, identifier: str, tenant: Tenant = TENANT) -> list[str]:
        """The fates of all events with this identifier in log order; a rejected one's as its code."""
        (number,) = hash_identifiers(pa.array([identifier]), np.zeros(1, np.int32), [tenant])
        return [event.code or str(event.status) for event in self.store.events_of(tenant, identifier, int(number))]

    def total(self, meter: Meter, customer_id: str = "cus_1") -> Decimal | None:
        """The formula over all that ever counted; None when nothing did."""
        totals = self.totals(meter, customer_id, None)
        return next(iter(totals.values()), None)

    def totals(self, meter: Meter, customer_id: str, grouping: EventTimeWindow | None) -> dict[int, Decimal]:
        day_s = 86_400
        start_s = START_MS // 1000 // day_s * day_s
        query = SummaryQuery(
            meter=meter,
            customer_id=customer_id,
            range=Range(start_s - 100 * day_s, start_s + 500 * day_s),
            grouping=grouping,
            limit=100_000,
        )
        return {total.window.start_s: total.value for total in self.store.totals(query)}
