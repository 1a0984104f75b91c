"""Rules: what callers do, by the stream, with single events and with cancellations."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamgauge.api.v2.stream_body import columns_of
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CancelBlock, CancelRequest, encode_cancels
from streamgauge.domain.errors import IdempotencyKeyReused
from streamgauge.domain.meter_event import MeterEvent
from streamgauge.domain.refusal import CannotCancel, DuplicateEvent, EventRefused
from tests.support.oracle import (
    DAY_MS,
    KEY_KEPT_MS,
    EventEntry,
    Sent,
)
from tests.support.service_drafts import CRASHES, Draft, cancel_names, drafts, good_drafts, keys, picks, tenants
from tests.support.service_machine import KeyUse, ServiceMachine


class CallerRules(ServiceMachine):
    @rule(tenant=tenants, requests=st.lists(st.lists(drafts, min_size=1, max_size=6), min_size=1, max_size=2))
    def stream(self, tenant: Tenant, requests: list[list[Draft]]) -> None:
        events = [[self.sent(tenant, draft) for draft in request] for request in requests]
        principal = self.authenticated(tenant)
        bodies = [_body(request) for request in events]
        self.running.stream([columns_of(principal, body) for body in bodies])
        self.oracle.accept([(tenant, sent) for request in events for sent in request])

    @rule(tenant=tenants, request=st.lists(drafts, min_size=1, max_size=8))
    def stream_one(self, tenant: Tenant, request: list[Draft]) -> None:
        self.stream(tenant, [request])  # often, because without events there is nothing to go wrong

    @precondition(lambda self: any(each.fate == "counted" for each in self.oracle.events()))
    @rule(pick=picks)
    def resend_around_the_end_of_a_claim(self, pick: int) -> None:
        """In its last millisecond and in the next: of two events of one step, one repeats what the other does not."""
        counted = [each for each in self.oracle.events() if each.fate == "counted"]
        event = counted[-1 - pick % len(counted)]
        self.set_clock(event.received_at_ms + self.oracle.window_ms - 1)
        again = replace(event.sent, timestamp_ms=None)
        for _ in range(2):
            self.running.stream([columns_of(self.principals[event.tenant], _body([again]))])
            self.oracle.accept([(event.tenant, again)])

    @precondition(lambda self: any(each.fate == "counted" for each in self.oracle.events()))
    @rule(pick=picks, past_it=st.integers(-1, 1))
    def cancel_around_the_last_moment(self, pick: int, past_it: int) -> None:
        events = list(self.oracle.events())
        counted = [at for at, each in enumerate(reversed(events)) if each.fate == "counted"]
        event_at = counted[pick % len(counted)]
        self.set_clock(events[-1 - event_at].received_at_ms + DAY_MS + past_it)
        self.cancel_in_the_log([(event_at, None)])

    @precondition(lambda self: self.key_uses)
    @rule(pick=picks, draft=good_drafts, past_it=st.integers(-1, 0))
    def use_a_key_around_its_end(self, pick: int, draft: Draft, past_it: int) -> None:
        (where, tenant, key), use = list(self.key_uses.items())[-1 - pick % len(self.key_uses)]
        self.set_clock(use.at_ms + KEY_KEPT_MS + past_it)
        if where == "log":
            self.single_event(tenant, draft, key, True)
        else:
            self.create_customer(tenant, key)

    @rule(tenant=tenants, draft=good_drafts, point=st.sampled_from(CRASHES), restarts=st.booleans())
    def a_step_with_an_event_and_its_cancellation_breaks_off(
        self, tenant: Tenant, draft: Draft, point: str, restarts: bool
    ) -> None:
        self.running.apply()
        self.stream(tenant, [[draft]])
        self.cancel_in_the_log([(0, None)])
        self.fail_once(point, before=False)
        if restarts:
            self.running.restart()

    @rule(tenant=tenants, draft=drafts, key=keys, again=st.booleans())
    def single_event(self, tenant: Tenant, draft: Draft, key: int | None, again: bool) -> None:
        sent = self.sent(tenant, draft)
        known, used = self.key("log", tenant, key, again, "event", repr(draft))
        if known is None or used is None:
            expected, entry = self._new_single(tenant, sent)
            if entry is not None and used is not None and key is not None:
                self.key_uses["log", tenant, key] = KeyUse(used, entry.received_at_ms, entry=entry)
        else:
            is_same = known.key.fingerprint == used.fingerprint
            expected, entry = (known.entry.fate, known.entry) if is_same and known.entry else ("key reused", None)
        event = MeterEvent(sent.event_name, sent.identifier, sent.timestamp_ms, sent.payload)
        try:
            accepted = asyncio.run(self.running.meter_events.submit(self.principals[tenant], event, used))
        except EventRefused as refusal:
            found = str(refusal.refusal.code)
        except DuplicateEvent:
            found = "duplicate"
        except IdempotencyKeyReused:
            found = "key reused"
        else:
            found = "counted"
            assert entry is not None and accepted.replayed == (known is not None)
            assert accepted.event == MeterEvent(
                entry.sent.event_name, entry.sent.identifier, entry.sent.timestamp_ms, dict(entry.sent.payload)
            )
            assert (accepted.received_at_ms, accepted.timestamp_ms) == (entry.received_at_ms, entry.timestamp_ms)
        assert found == expected, (found, expected)

    def _new_single(self, tenant: Tenant, sent: Sent) -> tuple[str, EventEntry | None]:
        code, *_ = self.oracle.judged(tenant, sent, self.oracle.next_stamp_ms())
        if code:
            return code, None
        (entry,) = self.oracle.accept([(tenant, sent)])
        return entry.fate, entry

    @precondition(lambda self: self.oracle.entries)
    @rule(pick=picks, event_name=cancel_names, key=keys, again=st.booleans())
    def cancel(self, pick: int, event_name: str | None, key: int | None, again: bool) -> None:
        wish = self.wish(pick, event_name)
        known, used = self.key("log", wish[0], key, again, "cancel", repr(wish))
        if known is not None and used is not None and known.wish is not None and again:
            wish = known.wish
        tenant, name, identifier = wish
        if known is None or used is None:
            verdict = self.oracle.cancellable(*wish, self.oracle.next_stamp_ms())
            outcome, event = verdict.outcome, verdict.event
            if outcome == "effective":
                self.oracle.accept_cancels([wish])
                if used is not None and key is not None:
                    at_ms = self.oracle.last_stamp_ms
                    self.key_uses["log", tenant, key] = KeyUse(used, at_ms, entry=event, wish=wish)
        else:
            is_same = known.key.fingerprint == used.fingerprint and known.wish is not None
            outcome, event = ("replayed", known.entry) if is_same else ("key reused", None)
        try:
            adjustment = self.running.adjustments.cancel(self.principals[tenant], name, identifier, used)
        except CannotCancel:
            assert outcome in ("not_counted", "other_event_name", "too_late"), outcome
        except IdempotencyKeyReused:
            assert outcome == "key reused", outcome
        else:
            assert outcome in ("effective", "already_cancelled", "replayed"), outcome
            assert event is not None and event.cancelled_by is not None
            assert adjustment.created_ms == event.cancelled_by.received_at_ms
            assert (adjustment.event_name, adjustment.identifier) == (name, identifier)
            assert adjustment.replayed == (outcome == "replayed")
            assert adjustment.is_complete == (event.cancelled_by.offset < self.applied_offset())

    @rule(wishes=st.lists(st.tuples(picks, cancel_names), min_size=1, max_size=2))
    def cancel_in_the_log(self, wishes: list[tuple[int, str | None]]) -> None:
        """As two processes would, which both found something to cancel: only the log decides."""
        wanted = [self.wish(*wish) for wish in wishes]
        block = CancelBlock(tuple(CancelRequest(self.principals[tenant], *named) for tenant, *named in wanted))
        self.running.log.append(encode_cancels(block), block.tallies)
        self.oracle.accept_cancels(wanted)


def _body(events: Sequence[Sent]) -> bytes:
    return json.dumps({"events": [_as_json(sent) for sent in events]}).encode()


def _as_json(sent: Sent) -> dict[str, object]:
    given: dict[str, object] = {"event_name": sent.event_name, "identifier": sent.identifier, "payload": sent.payload}
    if sent.timestamp_ms is not None:
        at = datetime.fromtimestamp(sent.timestamp_ms // 1000, UTC)
        given["timestamp"] = f"{at:%Y-%m-%dT%H:%M:%S}.{sent.timestamp_ms % 1000:03}Z"
    return given
