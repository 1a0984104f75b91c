"""Usage that is applied, alerts that watch it, on stores in memory; the watch can be restarted and made to fail."""

from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from streamgauge.adapters.memory.alerts import MemoryAlerts
from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.event_log import MemoryProgress
from streamgauge.adapters.memory.marks import MemoryMarks
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.adapters.memory.usage_watch import MemoryUsageWatch
from streamgauge.adapters.system.clock import SystemEntropy
from streamgauge.domain.account import Account
from streamgauge.domain.alert import Alert, Firing, Recurrence
from streamgauge.domain.customer import Customer
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.engine.alert_watch import AlertWatch
from streamgauge.engine.alerts import AlertDraft, Alerts
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Checkpoint, Intent
from streamgauge.engine.recently_touched import RecentlyTouched
from tests.support.alerting import ONE_TIME, Announced, threshold_of
from tests.support.settled import Settled, settled
from tests.support.usage import cancellation_of, meter_of
from tests.support.world import DAY_MS, START_MS, TENANT, SettableClock

TODAY_MS = START_MS // DAY_MS * DAY_MS
CUSTOMERS = ("cus_1", "cus_2", "cus_3")


@dataclass
class LogEnd:
    """As much of an event log as alerts look at."""

    offset: int = 0

    def end_offset(self) -> int:
        return self.offset


class AlertWorld:
    def __init__(self, formula: Formula = Formula.SUM, window: EventTimeWindow | None = None) -> None:
        self.clock = SettableClock()
        self.control = MemoryControlStore()
        self.control.add_account(Account(id=TENANT.account_id, name="Test", created_ms=0))
        self.meter = self.add_meter(meter_of(formula, window))
        for customer_id in CUSTOMERS:
            self.control.add_customer(
                Customer(id=customer_id, tenant=TENANT, created_ms=0, deleted_ms=None, attributes={}, metadata={})
            )
        self.store, self.progress, self.log = MemoryUsageStore(), MemoryProgress(), LogEnd()
        self.alert_store, self.marks = MemoryAlerts(self.control), MemoryMarks(self.control)
        self.announced = Announced(self.control)
        log = cast(EventLog, self.log)
        self.alerts = Alerts(
            self.control, self.alert_store, log, self.clock, SystemEntropy(), accept_unknown_customers=False
        )
        self.restart()

    def add_meter(self, meter: Meter) -> Meter:
        self.control.add_meter(meter)
        return meter

    def restart(self) -> None:
        """Forget everything that is not stored."""
        self.usage, self.recently = MemoryUsageWatch(self.store), RecentlyTouched()
        self.watch = AlertWatch(
            self.control,
            self.alert_store,
            self.marks,
            self.usage,
            self.recently,
            self.progress,
            self.clock,
            self.announced,
        )

    def alert(self, gte: int = 100, recurrence: Recurrence = ONE_TIME, customer_id: str | None = None) -> Alert:
        threshold = threshold_of(gte, recurrence, meter_id=self.meter.id, customer_id=customer_id)
        return self.alerts.create(TENANT, AlertDraft(title="Many calls", threshold=threshold))

    def store_usage(
        self, value: Decimal | int, customer_id: str = "cus_1", *, at_ms: int = TODAY_MS, meter: Meter | None = None
    ) -> Settled:
        """An event that is logged and in the usage store; the checkpoint stays below it."""
        meter = meter or self.meter
        offset = self.log.offset
        event = Settled(
            identifier=f"event-{offset}",
            offset=offset,
            value=value,
            customer=customer_id,
            meter=meter.id,
            timestamp_ms=at_ms,
            keeps_latest=meter.keeps_latest,
        )
        self.store.insert(stored := settled([event]), step=offset)
        self.recently.add(Intent(offset, offset + 1), stored, ())
        self.log.offset += 1
        return event

    def store_cancellation(self, event: Settled) -> None:
        offset = self.log.offset
        cancellation = cancellation_of(event, offset=offset)
        self.store.cancel([cancellation], step=offset)
        self.recently.add(Intent(offset, offset + 1), None, [cancellation])
        self.log.offset += 1

    def advance(self) -> None:
        """The checkpoint, to all that is stored."""
        before = self.progress.checkpoint().next_offset
        if before < self.log.offset:
            self.progress.intend(Intent(before, self.log.offset))
            self.progress.advance(Checkpoint(self.log.offset, START_MS), {})

    def use(
        self, value: Decimal | int, customer_id: str = "cus_1", *, at_ms: int = TODAY_MS, meter: Meter | None = None
    ) -> Settled:
        """An event that is applied."""
        event = self.store_usage(value, customer_id, at_ms=at_ms, meter=meter)
        self.advance()
        return event

    def cancel(self, event: Settled) -> None:
        self.store_cancellation(event)
        self.advance()

    def look(self) -> list[Firing]:
        """Until there is nothing more to look at; what was announced by that."""
        before = len(self.announced.firings)
        while self.watch.run_once():
            pass
        return self.announced.firings[before:]

    def fired(self) -> list[tuple[str, int, Decimal | int]]:
        """(customer, step, total) of what looking announces."""
        return [(each.customer_id, each.step, each.total) for each in self.look()]
