"""What the whole service must answer, recomputed one entry of the log at a time from the semantics in plain Python.

Nothing here is fast or shared with the service but names of formulas and windows: lists, dictionaries and `Decimal`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import TypeAlias

from streamgauge.domain.account import Tenant
from streamgauge.domain.meter import EventTimeWindow, Formula
from tests.fuzz.references import value_or_code

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
PAST_MAX_MS = 35 * DAY_MS
FUTURE_MAX_MS = 5 * MINUTE_MS
CANCEL_MAX_MS = DAY_MS
KEY_KEPT_MS = DAY_MS
STEP_MS = {EventTimeWindow.HOUR: HOUR_MS, EventTimeWindow.DAY: DAY_MS}


@dataclass(frozen=True)
class Sent:
    """An event as a caller sends it."""

    event_name: str
    identifier: str
    timestamp_ms: int | None
    payload: Mapping[str, str]


@dataclass
class KnownMeter:
    id: str
    tenant: Tenant
    event_name: str
    formula: Formula
    window: EventTimeWindow | None
    customer_key: str
    value_key: str
    created_ms: int
    active: list[tuple[int, int | None]]

    @property
    def is_active(self) -> bool:
        return self.active[-1][1] is None

    def was_active(self, at_ms: int) -> bool:
        return any(start <= at_ms and (end is None or at_ms < end) for start, end in self.active)


@dataclass
class KnownCustomer:
    id: str
    tenant: Tenant
    created_ms: int
    deleted_ms: int | None = None


@dataclass
class EventEntry:
    """An acknowledged event and its one fate, which is known as soon as its place in the log is."""

    offset: int
    tenant: Tenant
    sent: Sent
    received_at_ms: int
    fate: str
    code: str
    meter: str
    customer: str
    value: Decimal
    cancelled_by: "CancelEntry | None" = None

    @property
    def timestamp_ms(self) -> int:
        return self.received_at_ms if self.sent.timestamp_ms is None else self.sent.timestamp_ms

    @property
    def content(self) -> object:
        return self.sent.event_name, dict(self.sent.payload), self.sent.timestamp_ms

    def status(self, below_offset: int) -> str:
        """As it is told once everything below that offset is applied."""
        if self.offset >= below_offset:
            return "pending"
        gone = self.cancelled_by is not None and self.cancelled_by.offset < below_offset
        return "cancelled" if gone else self.fate


@dataclass
class CancelEntry:
    offset: int
    tenant: Tenant
    event_name: str
    identifier: str
    received_at_ms: int


Entry: TypeAlias = EventEntry | CancelEntry
Found: TypeAlias = tuple[str, str, str, Decimal]  # code, meter, customer, value


@dataclass(frozen=True)
class Verdict:
    """What becomes of a wish to cancel: `outcome` in one word, and the event that was meant."""

    outcome: str
    event: EventEntry | None


@dataclass
class Oracle:
    window_ms: int
    accept_unknown_customers: bool
    now_ms: int
    last_stamp_ms: int = 0
    entries: list[Entry] = field(default_factory=list)
    meters: dict[str, KnownMeter] = field(default_factory=dict)
    customers: dict[str, KnownCustomer] = field(default_factory=dict)

    # Time: stamps only rise, whatever the clock does.

    def next_stamp_ms(self) -> int:
        return max(self.now_ms, self.last_stamp_ms + 1)

    def stamp(self) -> int:
        self.last_stamp_ms = self.next_stamp_ms()
        return self.last_stamp_ms

    # The log

    def accept(self, events: Sequence[tuple[Tenant, Sent]]) -> list[EventEntry]:
        """One record of events."""
        at_ms = self.stamp()
        return [self._accepted(tenant, sent, at_ms) for tenant, sent in events]

    def accept_cancels(self, wishes: Sequence[tuple[Tenant, str, str]]) -> list[Verdict]:
        """One record of (tenant, event name, identifier)."""
        at_ms = self.stamp()
        verdicts = []
        for tenant, event_name, identifier in wishes:
            verdict = self.cancellable(tenant, event_name, identifier, at_ms)
            entry = CancelEntry(len(self.entries), tenant, event_name, identifier, at_ms)
            self.entries.append(entry)
            if verdict.outcome == "effective" and verdict.event is not None:
                verdict.event.cancelled_by = entry
            verdicts.append(verdict)
        return verdicts

    def _accepted(self, tenant: Tenant, sent: Sent, at_ms: int) -> EventEntry:
        code, meter, customer, value = self.judged(tenant, sent, at_ms)
        claim = self.counted(tenant, sent.identifier)
        if claim is not None and at_ms - claim.received_at_ms < self.window_ms:
            fate, code = "duplicate", ""
        else:
            fate = "rejected" if code else "counted"
        counts = value if fate == "counted" else Decimal(0)
        entry = EventEntry(len(self.entries), tenant, sent, at_ms, fate, code, meter, customer, counts)
        self.entries.append(entry)
        return entry

    def of(self, tenant: Tenant, identifier: str) -> list[EventEntry]:
        return [each for each in self.events() if (each.tenant, each.sent.identifier) == (tenant, identifier)]

    def events(self) -> Iterator[EventEntry]:
        return (each for each in self.entries if isinstance(each, EventEntry))

    def counted(self, tenant: Tenant, identifier: str) -> EventEntry | None:
        """The last one that counted; cancelled or not, it has the claim."""
        return next((each for each in reversed(self.of(tenant, identifier)) if each.fate == "counted"), None)

    def cancellable(self, tenant: Tenant, event_name: str, identifier: str, at_ms: int) -> Verdict:
        event = self.counted(tenant, identifier)
        if event is None:
            return Verdict("not_counted", None)
        if event.sent.event_name != event_name:
            return Verdict("other_event_name", event)
        if event.cancelled_by is not None:
            return Verdict("already_cancelled", event)
        if at_ms - event.received_at_ms > CANCEL_MAX_MS:
            return Verdict("too_late", event)
        return Verdict("effective", event)

    # Judging

    def judged(self, tenant: Tenant, sent: Sent, at_ms: int) -> Found:
        named = [each for each in self.meters.values() if (each.tenant, each.event_name) == (tenant, sent.event_name)]
        meter = next((each for each in named if each.was_active(at_ms)), None)
        if meter is None:
            existed = any(each.created_ms <= at_ms for each in named)
            return "archived_meter" if existed else "no_meter", "", "", Decimal(0)
        customer = sent.payload.get(meter.customer_key, "")
        found = Decimal(1) if meter.formula is Formula.COUNT else value_or_code(sent.payload.get(meter.value_key))
        age_ms = 0 if sent.timestamp_ms is None else at_ms - sent.timestamp_ms
        code = ""
        if age_ms > PAST_MAX_MS:
            code = "timestamp_too_far_in_past"
        elif age_ms < -FUTURE_MAX_MS:
            code = "timestamp_in_future"
        elif not customer:
            code = "meter_event_no_customer_defined"
        elif not self._exists(tenant, customer, at_ms):
            code = "meter_event_customer_not_found"
        elif isinstance(found, str):
            code = found
        return code, meter.id, customer, Decimal(0) if isinstance(found, str) else found

    def _exists(self, tenant: Tenant, customer: str, at_ms: int) -> bool:
        if self.accept_unknown_customers:
            return True
        known = self.customers.get(customer)
        if known is None or known.tenant != tenant:
            return False
        return known.created_ms <= at_ms and (known.deleted_ms is None or at_ms < known.deleted_ms)

    # Answers

    def totals(
        self, meter: KnownMeter, customer: str, start_s: int, end_s: int, grouping: EventTimeWindow | None
    ) -> dict[int, Decimal]:
        """By the start of each window (s) that has an event; everything in the log counts as applied."""
        events = [
            each
            for each in self.events()
            if each.fate == "counted"
            and each.cancelled_by is None
            and (each.meter, each.customer) == (meter.id, customer)
        ]
        if meter.window is not None:
            received_last = {each.timestamp_ms // STEP_MS[meter.window]: each for each in events}
            events = list(received_last.values())
        windows: dict[int, list[EventEntry]] = {}
        for each in events:
            if start_s * 1000 <= each.timestamp_ms < end_s * 1000:
                step_ms = None if grouping is None else STEP_MS[grouping]
                at_s = start_s if step_ms is None else each.timestamp_ms // step_ms * step_ms // 1000
                windows.setdefault(at_s, []).append(each)
        return {at_s: _total(meter.formula, members) for at_s, members in windows.items()}

    def receipt(self, tenant: Tenant, identifier: str, below_offset: int) -> dict[str, object]:
        """What is told of an identifier that was seen, once everything below that offset is applied."""
        events = self.of(tenant, identifier)
        judged = [each for each in events if each.offset < below_offset]
        claims = [each for each in judged if each.fate == "counted"]
        told = claims[-1] if claims else judged[-1] if judged else events[0]
        repeats = [each for each in judged if each.fate == "duplicate"]
        status = told.status(below_offset)
        return {
            "status": status,
            "code": (told.code or None) if status != "pending" else None,
            "value": told.value if claims else None,
            "event_name": told.sent.event_name,
            "timestamp_ms": told.timestamp_ms,
            "received_at_ms": told.received_at_ms,
            "repeats": len(repeats),
            "conflicting_repeats": sum(each.content != told.content for each in repeats) if claims else 0,
        }


def _total(formula: Formula, events: Sequence[EventEntry]) -> Decimal:
    if formula is Formula.COUNT:
        return Decimal(len(events))
    if formula is Formula.LAST:
        return max(events, key=lambda each: (each.timestamp_ms, each.offset)).value
    with localcontext(Context(prec=100)):
        return sum((each.value for each in events), Decimal(0))
