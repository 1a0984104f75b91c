"""Meters: created, renamed, deactivated, reactivated. Every change is one of the catalogue, stamped by the log."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.notification import (
    METER_CREATED,
    METER_DEACTIVATED,
    METER_REACTIVATED,
    METER_UPDATED,
    Cause,
    RelatedObject,
)
from streamgauge.domain.span import Span
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.notifications import NotificationDraft, Notifications
from streamgauge.engine.ports.clock import Entropy
from streamgauge.engine.ports.control_store import ControlStore, Listed, Page


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterDraft:
    """What a caller says of a meter that is to be created; the edge has checked lengths and characters."""

    display_name: str
    event_name: str
    formula: Formula
    event_time_window: EventTimeWindow | None
    customer_key: str
    value_key: str


class Meters:
    """At most one active meter of a tenant has an event name; inactive ones may share it.

    Every change is announced in its transaction, with the meter as `shown` shows it.
    """

    def __init__(
        self,
        store: ControlStore,
        catalogue: CatalogueKeeper,
        entropy: Entropy,
        notifications: Notifications,
        shown: Callable[[Meter], Mapping[str, object]],
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._entropy = entropy
        self._notifications = notifications
        self._shown = shown

    def create(self, tenant: Tenant, draft: MeterDraft, cause: Cause | None = None) -> Meter:
        """Raises InvalidRequest when an active meter has the event name."""
        prefix = "mtr_" if tenant.livemode else "mtr_test_"
        meter_id = prefix + self._entropy.token(24)
        with self._catalogue.change() as change:
            self._refuse_second_active(tenant, draft.event_name)
            meter = Meter(
                id=meter_id,
                tenant=tenant,
                display_name=draft.display_name,
                event_name=draft.event_name,
                formula=draft.formula,
                event_time_window=draft.event_time_window,
                customer_key=draft.customer_key,
                value_key=draft.value_key,
                created_ms=change.at_ms,
                updated_ms=change.at_ms,
                active_spans=(Span(change.at_ms),),
            )
            self._store.add_meter(meter)
            self._announce(METER_CREATED, meter, cause)
            change.put_meter(meter)
        return meter

    def get(self, tenant: Tenant, meter_id: str) -> Meter:
        meter = self._store.get_meter(tenant, meter_id)
        if meter is None:
            raise NotFound(f"No such billing meter: '{meter_id}'", param="id")
        return meter

    def list(self, tenant: Tenant, page: Page, active: bool | None = None) -> Listed[Meter]:
        return self._store.list_meters(tenant, page, active=active)

    def rename(self, tenant: Tenant, meter_id: str, display_name: str, cause: Cause | None = None) -> Meter:
        return self._change(
            tenant, meter_id, METER_UPDATED, lambda meter, at_ms: meter.renamed(display_name, at_ms), cause
        )

    def deactivate(self, tenant: Tenant, meter_id: str, cause: Cause | None = None) -> Meter:
        """Events received from now on find it archived. Raises InvalidRequest when it is inactive."""

        def deactivated(meter: Meter, at_ms: int) -> Meter:
            if not meter.is_active:
                raise InvalidRequest(f"Meter {meter.id} is already inactive.", param="id")
            return meter.deactivated(at_ms)

        return self._change(tenant, meter_id, METER_DEACTIVATED, deactivated, cause)

    def reactivate(self, tenant: Tenant, meter_id: str, cause: Cause | None = None) -> Meter:
        """Events received from now on count again. Raises InvalidRequest when it, or another of its name, is active."""

        def reactivated(meter: Meter, at_ms: int) -> Meter:
            if meter.is_active:
                raise InvalidRequest(f"Meter {meter.id} is already active.", param="id")
            self._refuse_second_active(tenant, meter.event_name)
            return meter.reactivated(at_ms)

        return self._change(tenant, meter_id, METER_REACTIVATED, reactivated, cause)

    def _change(
        self,
        tenant: Tenant,
        meter_id: str,
        what: str,
        changed: Callable[[Meter, int], Meter],
        cause: Cause | None,
    ) -> Meter:
        # Read inside the lock: of two changes at once the second builds on the first, none is lost.
        with self._catalogue.change() as change:
            before = self.get(tenant, meter_id)
            meter = changed(before, change.at_ms)
            self._store.save_meter(meter)
            self._announce(what, meter, cause, before if what == METER_UPDATED else None)
            change.put_meter(meter)
        return meter

    def _announce(self, what: str, meter: Meter, cause: Cause | None, before: Meter | None = None) -> None:
        shown, previous = self._shown(meter), None
        if before is not None:
            previous = {name: value for name, value in self._shown(before).items() if value != shown[name]}
        self._notifications.announce(
            NotificationDraft(
                tenant=meter.tenant,
                type=what,
                data=shown,
                related=RelatedObject(id=meter.id, type="billing.meter", url=f"/v1/billing/meters/{meter.id}"),
                previous_attributes=previous,
                cause=cause,
            )
        )

    def _refuse_second_active(self, tenant: Tenant, event_name: str) -> None:
        """Called inside a change of the catalogue, so that of two racing callers one sees the other's meter."""
        for meter in self._store.meters_named(tenant, event_name):
            if meter.is_active:
                raise InvalidRequest(
                    f"An active meter with event_name {event_name} already exists: {meter.id}.", param="event_name"
                )
