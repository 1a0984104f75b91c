"""The alerts that may fire, in memory: by meter and customer, as the watch looks at them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import Alert, AlertStatus, Recurrence
from streamgauge.domain.meter import Formula, Meter

# Alerts that add up the same usage of a customer, by which periods they divide it into.
_SPANS = {
    Recurrence.ONE_TIME: Recurrence.ONE_TIME,
    Recurrence.EVERY: Recurrence.ONE_TIME,
    Recurrence.DAILY: Recurrence.DAILY,
    Recurrence.MONTHLY: Recurrence.MONTHLY,
}


Groups: TypeAlias = tuple[tuple[Recurrence, tuple[Alert, ...]], ...]


@dataclass(slots=True)
class WatchedMeter:
    """A meter with active alerts, those for everyone apart from those for one customer."""

    meter: Meter
    alerts: dict[str, Alert] = field(default_factory=dict)
    _of_all: Groups = ()
    _of_one: dict[str, Groups] = field(default_factory=dict)
    counts: bool = field(init=False)
    """Whether usage is the number of events."""
    keeps_highest: bool = field(init=False)
    """Whether usage is the value of one event: unless one is cancelled, none of them is above the highest."""

    def __post_init__(self) -> None:
        # Not properties: they are read for everyone who is touched.
        self.counts = self.meter.formula is Formula.COUNT
        self.keeps_highest = self.meter.formula is Formula.LAST and self.meter.event_time_window is None

    def put(self, alerts: Iterable[Alert]) -> None:
        """Take these as they are now; what is not active goes."""
        for alert in alerts:
            self.alerts.pop(alert.id, None)
            if alert.status is AlertStatus.ACTIVE:
                self.alerts[alert.id] = alert
        for_all: list[Alert] = []
        for_one: dict[str, list[Alert]] = {}
        for alert in self.alerts.values():
            customer_id = alert.threshold.customer_id
            (for_all if customer_id is None else for_one.setdefault(customer_id, [])).append(alert)
        self._of_all = _grouped(for_all)
        self._of_one = {customer_id: _grouped([*for_all, *those]) for customer_id, those in for_one.items()}

    def of(self, customer_id: str) -> Groups:
        """The customer's alerts, together those that add up the same usage, with how they divide it into periods."""
        return self._of_one.get(customer_id, self._of_all)


def _grouped(alerts: Iterable[Alert]) -> Groups:
    found: dict[Recurrence, list[Alert]] = {}
    for alert in alerts:
        found.setdefault(_SPANS[alert.threshold.recurrence], []).append(alert)
    return tuple((recurrence, tuple(those)) for recurrence, those in found.items())


class WatchedAlerts:
    """Changes with the store's revision: what was changed since is put in, nothing is read twice."""

    def __init__(self, meter_of: Callable[[Tenant, str], Meter | None]) -> None:
        self._meter_of = meter_of
        self.by_meter: dict[str, WatchedMeter] = {}
        self.meters: Mapping[str, Meter] = {}
        self.with_periods: frozenset[str] = frozenset()
        """The ids of the meters with alerts that look at the usage of a day or a month."""
        self.due: Sequence[Alert] = ()
        self.since_offset = 0
        """Nothing needs to be looked at from before all of the alerts."""

    def __bool__(self) -> bool:
        return bool(self.by_meter)

    def looked_at(self, due: Sequence[Alert]) -> None:
        """They are no longer due."""
        if due:
            self.put([replace(alert, is_due=False) for alert in due])

    def put(self, changed: Iterable[Alert]) -> frozenset[str]:
        """The ids of the meters whose alerts changed."""
        by_meter: dict[str, list[Alert]] = {}
        for alert in changed:
            by_meter.setdefault(alert.threshold.meter_id, []).append(alert)
        for meter_id, alerts in by_meter.items():
            watched = self.by_meter.get(meter_id)
            if watched is None:
                meter = self._meter_of(alerts[0].tenant, meter_id)
                if meter is None:  # meters are never deleted
                    continue
                watched = self.by_meter[meter_id] = WatchedMeter(meter)
            watched.put(alerts)
            if not watched.alerts:
                del self.by_meter[meter_id]
        self._sum_up()
        return frozenset(by_meter)

    def _sum_up(self) -> None:
        alerts = [alert for watched in self.by_meter.values() for alert in watched.alerts.values()]
        self.meters = {meter_id: watched.meter for meter_id, watched in self.by_meter.items()}
        self.with_periods = frozenset(
            alert.threshold.meter_id
            for alert in alerts
            if _SPANS[alert.threshold.recurrence] is not Recurrence.ONE_TIME
        )
        self.due = [alert for alert in alerts if alert.is_due]
        self.since_offset = min((alert.since_offset for alert in alerts), default=0)
