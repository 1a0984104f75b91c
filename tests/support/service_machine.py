"""What every history of the whole service stands on: the service, the oracle beside it, and where both must agree."""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar, TypeAlias
from unittest import mock

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.credential import Principal, SecretKey
from streamgauge.domain.errors import IdempotencyKeyReused, InvalidRequest, SessionExpired, Unauthenticated
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.domain.request_key import RequestKey, request_key
from streamgauge.engine import dedup_filter
from streamgauge.engine.meters import MeterDraft
from streamgauge.engine.ports.clock import Clock
from tests.support.colliding import colliding_pair
from tests.support.control import CountingEntropy
from tests.support.oracle import (
    KEY_KEPT_MS,
    EventEntry,
    KnownCustomer,
    KnownMeter,
    Oracle,
    Sent,
)
from tests.support.service import SESSION_SECONDS, Crash, MemoryStorage, Service, Storage
from tests.support.service_checks import check_service, check_store
from tests.support.service_drafts import EVENT_NAMES, LIVE, PAYLOAD_KEYS, WINDOWS_MS, Draft, formulas, picks, windows
from tests.support.world import TENANT, SettableClock

Wish: TypeAlias = tuple[Tenant, str, str]  # event name and identifier


@dataclass
class KeyUse:
    """A request key that had an effect: with what it came, when, and what stands in the log or was answered."""

    key: RequestKey
    at_ms: int
    entry: EventEntry | None = None  # a single event, or the one that a cancellation took back
    wish: Wish | None = None  # of a cancellation
    answer: bytes = b""  # of a change of the control plane


class ServiceMachine(RuleBasedStateMachine):
    """`new_storage` makes what a history runs on. Every mismatch is an AssertionError."""

    new_storage: ClassVar[Callable[[Clock, ExitStack], Storage]] = staticmethod(lambda clock, _: MemoryStorage(clock))

    def __init__(self) -> None:
        super().__init__()
        self.clock = SettableClock()
        self.resources = ExitStack()
        # Small, so that the filter drops what has left the window, as it does of millions.
        self.resources.enter_context(mock.patch.object(dedup_filter, "SEGMENT_HASHES_MIN", 2))
        self.service: Service | None = None

    @initialize(
        window_ms=st.sampled_from(WINDOWS_MS),
        accept_unknown=st.sampled_from((False, False, False, True)),
        step_events_max=st.sampled_from((1, 3, 1_000)),
        formulas=st.tuples(formulas, formulas, formulas),
        windows=st.tuples(windows, windows, windows),
    )
    def open(
        self,
        window_ms: int,
        accept_unknown: bool,
        step_events_max: int,
        formulas: Sequence[Formula],
        windows: Sequence[EventTimeWindow | None],
    ) -> None:
        self.oracle = Oracle(window_ms, accept_unknown, self.clock.at_ms)
        self.latest_ms = self.clock.at_ms
        self.key_uses: dict[tuple[str, Tenant, int], KeyUse] = {}
        storage = type(self).new_storage(self.clock, self.resources)
        self.service = Service(
            storage,
            self.clock,
            CountingEntropy(),
            window_ms=window_ms,
            accept_unknown_customers=accept_unknown,
            step_events_max=step_events_max,
        )
        self.service.control.add_account(Account(id=TENANT.account_id, name="test", created_ms=0))
        self.principals: dict[Tenant, Principal] = {}
        for tenant in (TENANT, LIVE):
            key = SecretKey(id=f"key_{tenant.livemode}", tenant=tenant, secret_hash=f"{tenant}", hint="", created_ms=0)
            self.service.control.add_secret_key(key)
            self.principals[tenant] = Principal(tenant, key.id)
        self.tokens: dict[Tenant, tuple[str, int]] = {}
        for tenant in (TENANT, LIVE):
            for name, formula, window in zip(EVENT_NAMES, formulas, windows, strict=True):
                self.create_meter(tenant, name, formula, window, PAYLOAD_KEYS[0])
            self.create_customer(tenant)
            self.create_customer(tenant)

    @property
    def running(self) -> Service:
        assert self.service is not None
        return self.service

    # What must hold

    @invariant()
    def the_log_is_as_long_as_what_was_answered(self) -> None:
        if self.service is not None:
            assert self.service.log.end_offset() == len(self.oracle.entries)
            assert self.service.log.next_stamp_ms() == self.oracle.next_stamp_ms()

    @precondition(lambda self: any(self.oracle.events()))
    @rule(pick=picks)
    def look_up_a_receipt(self, pick: int) -> None:
        if self.running.progress.intent() is not None:
            return  # what the store has of a step that was broken off is not told apart from what it will have
        events = list(self.oracle.events())
        event = events[-1 - pick % len(events)]
        receipt = self.running.receipts.find(event.tenant, event.sent.identifier)
        expected = self.oracle.receipt(event.tenant, event.sent.identifier, self.applied_offset())
        assert {name: getattr(receipt, name) for name in expected} == expected

    def teardown(self) -> None:
        try:
            if self.service is not None:
                self.service.apply()
                check_service(self.service, self.oracle)
                rebuilt = self.service.rebuilt(self.resources, step_events_max=2)
                check_store(rebuilt, self.oracle)
        finally:
            if self.service is not None:
                self.service.stop()
            self.resources.close()

    # Filling in

    def applied_offset(self) -> int:
        return self.running.progress.checkpoint().next_offset

    def active(self, tenant: Tenant, name: str) -> bool:
        meters = self.oracle.meters.values()
        return any((each.tenant, each.event_name) == (tenant, name) and each.is_active for each in meters)

    def authenticated(self, tenant: Tenant) -> Principal:
        token, expires_ms = self.tokens.get(tenant, ("", 0))
        if self.latest_ms < expires_ms:
            principal, until_ms = self.running.sessions.authenticate(token)
            assert until_ms == expires_ms
            return principal
        if token and self.clock.at_ms >= expires_ms:
            with pytest.raises((SessionExpired, Unauthenticated)):
                self.running.sessions.authenticate(token)
        session, token = self.running.sessions.open(self.principals[tenant], "secret")
        assert session.expires_ms == self.clock.at_ms + SESSION_SECONDS * 1_000
        self.tokens[tenant] = (token, session.expires_ms)
        principal, _ = self.running.sessions.authenticate(token)
        assert principal == Principal(tenant, session.key_id, session.id)
        return principal

    def sent(self, tenant: Tenant, draft: Draft) -> Sent:
        names = (*(f"evt-{number}" for number in range(5)), *colliding_pair(tenant))
        customer_key, value_key = PAYLOAD_KEYS[draft.keys]
        customer = draft.customer
        if isinstance(customer, int):
            known = [each.id for each in self.oracle.customers.values() if each.tenant == tenant]
            customer = known[customer % len(known)] if known else "cus_none"
        payload = {customer_key: customer, value_key: draft.value}
        return Sent(
            event_name=draft.event_name,
            identifier=names[draft.identifier],
            timestamp_ms=None if draft.moment is None else self.oracle.next_stamp_ms() + draft.moment,
            payload={key: value for key, value in payload.items() if value is not None},
        )

    def wish(self, pick: int, event_name: str | None) -> Wish:
        """To cancel one of the latest events, by its own event name or another, or one that never was."""
        events = list(self.oracle.events())
        if pick >= len(events):
            return TENANT, event_name or "calls", "evt-never"
        event = events[-1 - pick]
        return event.tenant, event_name or event.sent.event_name, event.sent.identifier

    def key(
        self, where: str, tenant: Tenant, key: int | None, again: bool, path: str, asked: str
    ) -> tuple[KeyUse | None, RequestKey | None]:
        """What a request key stands for by now, and the key as it is sent: `again` with what was asked first."""
        if key is None:
            return None, None
        used = request_key(f"key-{key}", "POST", path, {"asked": asked})
        known = self.key_uses.get((where, tenant, key))
        if known is None or self.clock.at_ms - known.at_ms >= KEY_KEPT_MS:
            return None, used
        if self.latest_ms - known.at_ms >= KEY_KEPT_MS:
            return None, None  # the clock went back over its end: it may be forgotten or not, and is not used
        is_alike = where == "log" and (known.wish is not None) == (path == "cancel")
        return known, known.key if again and is_alike else used

    def set_clock(self, at_ms: int) -> None:
        self.clock.at_ms = self.oracle.now_ms = at_ms
        self.latest_ms = max(self.latest_ms, at_ms)

    def fail_once(self, point: str, *, before: bool) -> None:
        """While applying all that waits, if it comes to that point."""
        port = self.running.faulty_store if point in ("insert", "tear", "cancel") else self.running.faulty_progress
        port.fail_at(point, before=before)
        with contextlib.suppress(Crash):
            self.running.apply()
        port.fail_at("", before=True)

    # Changes of the catalogue, in the service and in the oracle

    def create_meter(
        self,
        tenant: Tenant,
        name: str,
        formula: Formula,
        window: EventTimeWindow | None,
        payload_keys: tuple[str, str],
        key: int | None = None,
    ) -> None:
        customer_key, value_key = payload_keys
        draft = MeterDraft(
            display_name="",
            event_name=name,
            formula=formula,
            event_time_window=window,
            customer_key=customer_key,
            value_key=value_key,
        )
        is_taken = self.active(tenant, name)

        def perform() -> str:
            return self.running.meters.create(tenant, draft).id

        created_id = self.changed(tenant, key, f"meter {draft}", None if is_taken else perform, perform)
        if created_id is not None:
            at_ms = self.oracle.last_stamp_ms
            self.oracle.meters[created_id] = KnownMeter(
                created_id, tenant, name, formula, window, *payload_keys, at_ms, [(at_ms, None)]
            )

    def create_customer(self, tenant: Tenant, key: int | None = None) -> None:
        def perform() -> str:
            return self.running.customers.create(tenant, {}).id

        created_id = self.changed(tenant, key, "customer", perform, perform)
        if created_id is not None:
            self.oracle.customers[created_id] = KnownCustomer(created_id, tenant, self.oracle.last_stamp_ms)

    def changed(
        self, tenant: Tenant, key: int | None, asked: str, allowed: Callable[[], str] | None, perform: Callable[[], str]
    ) -> str | None:
        """The id that a creation gives; None when it is refused, or was made before under the same request key."""
        known, used = self.key("control", tenant, key, True, "change", asked)
        if known is not None and used is not None:
            if known.key.fingerprint != used.fingerprint:
                with pytest.raises(IdempotencyKeyReused):
                    self.running.idempotency.once(tenant, used, lambda: (200, perform().encode()))
                return None
            answer, replayed = self.running.idempotency.once(tenant, used, lambda: (200, perform().encode()))
            assert (answer.body, replayed) == (known.answer, True)
            return None
        self.oracle.stamp()
        if allowed is None:
            with pytest.raises(InvalidRequest):
                perform()
            return None
        if used is None or key is None:
            return perform()
        answer, replayed = self.running.idempotency.once(tenant, used, lambda: (200, perform().encode()))
        assert not replayed
        self.key_uses["control", tenant, key] = KeyUse(used, self.clock.at_ms, answer=answer.body)
        return answer.body.decode()
