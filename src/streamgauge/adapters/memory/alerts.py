"""Billing alerts on plain Python objects."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from streamgauge.adapters.memory.control_store import MemoryControlStore, cut, oldest_first, refuse_if
from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import Alert, AlertStatus, Firing, FiringKey
from streamgauge.domain.errors import NotFound
from streamgauge.engine.ports.control_store import Listed, Page


class MemoryAlerts:
    """Implements `AlertStore`."""

    def __init__(self, control: MemoryControlStore) -> None:
        self._control = control
        alerts: dict[str, tuple[int, Alert]] = {}
        firings: dict[FiringKey, Firing] = {}
        self._alerts = control.table(alerts)  # with the revision of their last change
        self._firings = control.table(firings)

    def add_alert(self, alert: Alert) -> None:
        with self._control.lock:
            has_account = self._control.find_account(alert.tenant.account_id) is not None
            refuse_if(alert.id in self._alerts or not has_account, alert.id)
            self._alerts[alert.id] = (self.revision() + 1, alert)

    def save_alert(self, alert: Alert) -> None:
        with self._control.lock:
            known = self.get_alert(alert.tenant, alert.id)
            if known is None:
                raise NotFound(f"No such billing alert: '{alert.id}'", param="id")
            saved = replace(known, status=alert.status, since_offset=alert.since_offset, is_due=alert.is_due)
            self._alerts[alert.id] = (self.revision() + 1, saved)

    def get_alert(self, tenant: Tenant, alert_id: str) -> Alert | None:
        _, alert = self._alerts.get(alert_id, (0, None))
        return alert if alert is not None and alert.tenant == tenant else None

    def list_alerts(self, tenant: Tenant, page: Page, *, meter_id: str | None = None) -> Listed[Alert]:
        with self._control.lock:
            of_tenant = [alert for _, alert in self._alerts.values() if alert.tenant == tenant]
        return cut(
            oldest_first(of_tenant),
            page,
            lambda each: each.status is not AlertStatus.ARCHIVED and meter_id in (None, each.threshold.meter_id),
        )

    def revision(self) -> int:
        with self._control.lock:
            return max((revision for revision, _ in self._alerts.values()), default=0)

    def changed_after(self, revision: int) -> Sequence[Alert]:
        with self._control.lock:
            return [alert for changed, alert in self._alerts.values() if changed > revision]

    def looked_at(self, alert_ids: Collection[str]) -> None:
        with self._control.lock:
            for alert_id in alert_ids:
                revision, alert = self._alerts[alert_id]
                self._alerts[alert_id] = (revision, replace(alert, is_due=False))

    def fired(self, keys: Collection[FiringKey]) -> frozenset[FiringKey]:
        return frozenset(key for key in keys if key in self._firings)

    def highest_steps(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
        with self._control.lock:
            found: dict[tuple[str, str], int] = {}
            for key in self._firings:
                pair = (key.alert_id, key.customer_id)
                if pair in pairs:
                    found[pair] = max(found.get(pair, key.step), key.step)
            return found

    def add_firings(self, firings: Sequence[Firing]) -> None:
        with self._control.lock:
            keys = [firing.key for firing in firings]
            refuse_if(len(set(keys)) < len(keys) or any(key in self._firings for key in keys), "firings")
            self._firings.update(zip(keys, firings, strict=True))
