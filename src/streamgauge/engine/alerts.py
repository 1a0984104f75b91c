"""Billing alerts: created, activated, deactivated, archived. `alert_watch.py` is what makes them fire."""

from collections.abc import Callable
from dataclasses import dataclass

from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import Alert, AlertStatus, UsageThreshold
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.engine.ports.alerts import AlertStore
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore, Listed, Page
from streamgauge.engine.ports.event_log import EventLog


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDraft:
    """What a caller says of an alert that is to be created; the edge has checked lengths and bounds."""

    title: str
    threshold: UsageThreshold


class Alerts:
    """Every change reads the end of the log inside its transaction. What is logged later is looked at with the alert:
    the watch records how far it has looked only in transactions that find the alerts as it knew them."""

    def __init__(
        self,
        control: ControlStore,
        store: AlertStore,
        log: EventLog,
        clock: Clock,
        entropy: Entropy,
        *,
        accept_unknown_customers: bool,
    ) -> None:
        self._control = control
        self._store = store
        self._log = log
        self._clock = clock
        self._entropy = entropy
        self._accept_unknown_customers = accept_unknown_customers

    def create(self, tenant: Tenant, draft: AlertDraft) -> Alert:
        """An active alert. Raises InvalidRequest when its meter or its customer does not exist."""
        prefix = "alrt_" if tenant.livemode else "alrt_test_"
        alert_id = prefix + self._entropy.token(24)
        with self._control.transaction():
            self._refuse_unknown(tenant, draft.threshold)
            alert = Alert(
                id=alert_id,
                tenant=tenant,
                title=draft.title,
                threshold=draft.threshold,
                created_ms=self._clock.now_ms(),
                since_offset=self._log.end_offset(),
            )
            self._store.add_alert(alert)
        return alert

    def get(self, tenant: Tenant, alert_id: str) -> Alert:
        """An archived alert too. Raises NotFound."""
        alert = self._store.get_alert(tenant, alert_id)
        if alert is None:
            raise NotFound(f"No such billing alert: '{alert_id}'", param="id")
        return alert

    def list(self, tenant: Tenant, page: Page, *, meter_id: str | None = None) -> Listed[Alert]:
        """Active and inactive ones."""
        return self._store.list_alerts(tenant, page, meter_id=meter_id)

    def activate(self, tenant: Tenant, alert_id: str) -> Alert:
        """It can fire again, at once for whoever has reached the threshold meanwhile. What it told once it does not
        tell again. Raises InvalidRequest when it is active or archived."""

        def activated(alert: Alert) -> Alert:
            if alert.status is AlertStatus.ACTIVE:
                raise InvalidRequest(f"Alert {alert.id} is already active.", param="id")
            return alert.activated(self._log.end_offset())

        return self._change(tenant, alert_id, activated)

    def deactivate(self, tenant: Tenant, alert_id: str) -> Alert:
        """It does not fire until it is activated. Raises InvalidRequest when it is inactive or archived."""

        def deactivated(alert: Alert) -> Alert:
            if alert.status is AlertStatus.INACTIVE:
                raise InvalidRequest(f"Alert {alert.id} is already inactive.", param="id")
            return alert.deactivated()

        return self._change(tenant, alert_id, deactivated)

    def archive(self, tenant: Tenant, alert_id: str) -> Alert:
        """For good: it fires no more and leaves the lists. Raises InvalidRequest when it is archived."""
        return self._change(tenant, alert_id, Alert.archived)

    def _change(self, tenant: Tenant, alert_id: str, changed: Callable[[Alert], Alert]) -> Alert:
        # Read inside the transaction: of two changes at once the second builds on the first.
        with self._control.transaction():
            alert = self.get(tenant, alert_id)
            if alert.status is AlertStatus.ARCHIVED:
                raise InvalidRequest(f"Alert {alert.id} is archived, which is final.", param="id")
            alert = changed(alert)
            self._store.save_alert(alert)
        return alert

    def _refuse_unknown(self, tenant: Tenant, threshold: UsageThreshold) -> None:
        if self._control.get_meter(tenant, threshold.meter_id) is None:
            raise InvalidRequest(
                f"No such billing meter: '{threshold.meter_id}'",
                param="usage_threshold[meter]",
                reason="resource_missing",
            )
        if threshold.customer_id is None or self._accept_unknown_customers:
            return
        customer = self._control.get_customer(tenant, threshold.customer_id)
        if customer is None or customer.deleted_ms is not None:
            raise InvalidRequest(
                f"No such customer: '{threshold.customer_id}'",
                param="usage_threshold[filters][0][customer]",
                reason="resource_missing",
            )
