"""Rules: what operators do to meters and customers, also under request keys, and also halfway."""

import contextlib

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.domain.request_key import request_key
from tests.support.oracle import Sent
from tests.support.service import Crash
from tests.support.service_drafts import EVENT_NAMES, PAYLOAD_KEYS, formulas, keys, picks, tenants, windows
from tests.support.service_machine import ServiceMachine
from tests.support.world import Event, request


class OperatorRules(ServiceMachine):
    @rule(
        tenant=tenants,
        name=st.sampled_from(EVENT_NAMES),
        formula=formulas,
        window=windows,
        payload_keys=picks,
        key=keys,
    )
    def another_meter(
        self,
        tenant: Tenant,
        name: str,
        formula: Formula,
        window: EventTimeWindow | None,
        payload_keys: int,
        key: int | None,
    ) -> None:
        self.create_meter(tenant, name, formula, window, PAYLOAD_KEYS[payload_keys == 0], key)

    @precondition(lambda self: self.oracle.meters)
    @rule(pick=picks, change=st.sampled_from(("rename", "deactivate", "reactivate", "toggle", "toggle")))
    def change_meter(self, pick: int, change: str) -> None:
        meter = list(self.oracle.meters.values())[pick % len(self.oracle.meters)]
        if change == "toggle":
            change = "deactivate" if meter.is_active else "reactivate"
        may = {
            "rename": True,
            "deactivate": meter.is_active,
            "reactivate": not meter.is_active and not self.active(meter.tenant, meter.event_name),
        }[change]
        at_ms = self.oracle.stamp()
        meters = self.running.meters
        with contextlib.nullcontext() if may else pytest.raises(InvalidRequest):
            if change == "rename":
                meters.rename(meter.tenant, meter.id, "other")
            else:
                (meters.deactivate if change == "deactivate" else meters.reactivate)(meter.tenant, meter.id)
        if may and change == "deactivate":
            meter.active[-1] = (meter.active[-1][0], at_ms)
        if may and change == "reactivate":
            meter.active.append((at_ms, None))

    @rule(tenant=tenants, key=keys)
    def another_customer(self, tenant: Tenant, key: int | None) -> None:
        self.create_customer(tenant, key)

    @precondition(lambda self: self.oracle.customers)
    @rule(pick=picks)
    def delete_customer(self, pick: int) -> None:
        customer = list(self.oracle.customers.values())[pick % len(self.oracle.customers)]
        at_ms = self.oracle.stamp()
        if customer.deleted_ms is None:
            self.running.customers.delete(customer.tenant, customer.id)
            customer.deleted_ms = at_ms
        else:
            with pytest.raises(NotFound):
                self.running.customers.delete(customer.tenant, customer.id)

    @rule(tenant=tenants)
    def a_change_fails_halfway(self, tenant: Tenant) -> None:
        """The customer is there until the transaction is undone, and then never was; the stamp is used up."""
        key = request_key("fails", "POST", "/", {})
        made: list[str] = []

        def perform() -> tuple[int, bytes]:
            made.append(self.running.customers.create(tenant, {}).id)
            raise Crash

        self.oracle.stamp()
        with pytest.raises(Crash):
            self.running.idempotency.once(tenant, key, perform)
        event = Event("evt-0", customer=made[0], event_name=EVENT_NAMES[0])
        self.running.stream([request([event], tenant)])
        self.oracle.accept([(tenant, Sent(event.event_name, event.identifier, None, event.sent_payload))])
