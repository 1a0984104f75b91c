"""Alerts made by hand, the alert store beside a control store, and a watch whose announcements are kept."""

from streamgauge.adapters.memory.alerts import MemoryAlerts
from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.relational.alerts import RelationalAlerts
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import Alert, AlertStatus, Firing, Recurrence, UsageThreshold
from streamgauge.engine.ports.alerts import AlertStore
from streamgauge.engine.ports.control_store import ControlStore

ONE_TIME, EVERY, DAILY, MONTHLY = Recurrence


def alerts_on(control: ControlStore) -> AlertStore:
    """The alert store beside `control`, of its technology."""
    if isinstance(control, RelationalControlStore):
        return RelationalAlerts(control)
    assert isinstance(control, MemoryControlStore)
    return MemoryAlerts(control)


def threshold_of(
    gte: int = 100,
    recurrence: Recurrence = ONE_TIME,
    *,
    meter_id: str = "mtr_api_requests",
    customer_id: str | None = None,
) -> UsageThreshold:
    return UsageThreshold(meter_id=meter_id, gte=gte, recurrence=recurrence, customer_id=customer_id)


def alert_of(
    tenant: Tenant,
    alert_id: str = "alrt_1",
    threshold: UsageThreshold | None = None,
    *,
    created_ms: int = 1_000,
    since_offset: int = 0,
    status: AlertStatus = AlertStatus.ACTIVE,
    is_due: bool = False,
) -> Alert:
    return Alert(
        id=alert_id,
        tenant=tenant,
        title="Many calls",
        threshold=threshold or threshold_of(),
        created_ms=created_ms,
        since_offset=since_offset,
        status=status,
        is_due=is_due,
    )


class Announced:
    """Stands where notifications are announced, and like them is undone with the transaction around it.

    `fails` makes the next call raise.
    """

    def __init__(self, control: MemoryControlStore) -> None:
        told: dict[int, Firing] = {}
        self._told = control.table(told)
        self.fails: Exception | None = None

    @property
    def firings(self) -> list[Firing]:
        return list(self._told.values())

    def __call__(self, firing: Firing) -> None:
        if self.fails is not None:
            failure, self.fails = self.fails, None
            raise failure
        self._told[len(self._told)] = firing
