"""Cancellations: one counted event is taken out of every total, and keeps its claim on its identifier."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.tally import NOTHING, Tally

# Counted from the event's receipt to the cancellation's.
CANCEL_WINDOW_MS: Final = 24 * 3_600_000
FORMAT: Final = "cancellations 1"


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """One entry of the log: this event shall not count."""

    origin: Principal
    event_name: str
    identifier: str


@dataclass(frozen=True, slots=True)
class CancelBlock:
    """Requests that stand one after the other in the log; what a record of it holds instead of events."""

    requests: tuple[CancelRequest, ...]

    def __len__(self) -> int:
        return len(self.requests)

    @property
    def size_bytes(self) -> int:
        return sum(len(each.identifier) for each in self.requests)

    @property
    def tallies(self) -> dict[Tenant, Tally]:
        tallies: dict[Tenant, Tally] = {}
        for request in self.requests:
            tenant = request.origin.tenant
            tallies[tenant] = tallies.get(tenant, NOTHING) + Tally(cancellations=1)
        return tallies


@dataclass(frozen=True, slots=True)
class LoggedCancel:
    """A cancel request with its place in the log and when it was received (ms since the epoch, UTC)."""

    request: CancelRequest
    offset: int
    received_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedEvent:
    """A counted event with everything that its cancellation must know. `cancelled_at_ms`: None, it still counts."""

    tenant: Tenant
    identifier_hash: int
    identifier: str
    event_name: str
    meter: str
    customer: str
    value: Decimal
    timestamp_ms: int
    keeps_latest: bool
    received_at_ms: int
    offset: int
    cancelled_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """A counted event, and the entry of the log that takes it back.

    `value` is what the event added, 1 for an event of a `count` meter. `event_offset` and `offset` are the places of
    the event and of its cancellation in the log. Times are milliseconds since the epoch, UTC.
    """

    tenant: Tenant
    identifier_hash: int
    identifier: str
    meter: str
    customer: str
    value: Decimal
    timestamp_ms: int
    keeps_latest: bool
    event_offset: int
    offset: int
    cancelled_at_ms: int


def adjustment_id(tenant: Tenant, identifier: str, event_offset: int) -> str:
    """The same event taken back has the same id, however often it is asked for."""
    key = f"{tenant.account_id} {tenant.livemode} {event_offset} {identifier}"
    return "mtr_event_adj_" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class CancelOutcome(StrEnum):
    """What a cancel request comes to. Only the first of these changes a total."""

    EFFECTIVE = "effective"
    ALREADY_CANCELLED = "already_cancelled"
    NOT_COUNTED = "not_counted"  # no counted event has the identifier
    OTHER_EVENT_NAME = "other_event_name"
    TOO_LATE = "too_late"


@dataclass(frozen=True, slots=True)
class CancelVerdict:
    """`event` is the one that the identifier means; None: NOT_COUNTED."""

    outcome: CancelOutcome
    event: CountedEvent | None


def judge_cancels(requests: Iterable[LoggedCancel], counted: Iterable[CountedEvent]) -> list[CancelVerdict]:
    """One verdict per request, in log order; a pure function of what stands in the log before each of them.

    `counted` holds every counted event with one of their identifiers, as of the first request. Of several, the last
    one received before a request is meant.
    """
    known: dict[tuple[Tenant, str], list[CountedEvent]] = {}
    for event in sorted(counted, key=lambda each: each.offset):
        known.setdefault((event.tenant, event.identifier), []).append(event)
    return [_judge(each, known.get((each.request.origin.tenant, each.request.identifier), [])) for each in requests]


def _judge(cancel: LoggedCancel, events: list[CountedEvent]) -> CancelVerdict:
    at = max((at for at, event in enumerate(events) if event.offset < cancel.offset), default=None)
    if at is None:
        return CancelVerdict(CancelOutcome.NOT_COUNTED, None)
    event = events[at]
    if event.event_name != cancel.request.event_name:
        return CancelVerdict(CancelOutcome.OTHER_EVENT_NAME, event)
    if event.cancelled_at_ms is not None:
        return CancelVerdict(CancelOutcome.ALREADY_CANCELLED, event)
    if cancel.received_at_ms - event.received_at_ms > CANCEL_WINDOW_MS:
        return CancelVerdict(CancelOutcome.TOO_LATE, event)
    events[at] = event = replace(event, cancelled_at_ms=cancel.received_at_ms)
    return CancelVerdict(CancelOutcome.EFFECTIVE, event)


def effective(requests: Sequence[LoggedCancel], counted: Iterable[CountedEvent]) -> list[Cancellation]:
    """The cancellations that these requests come to."""
    return [
        _cancellation(verdict.event, each)
        for each, verdict in zip(requests, judge_cancels(requests, counted), strict=True)
        if verdict.outcome is CancelOutcome.EFFECTIVE and verdict.event is not None
    ]


def _cancellation(event: CountedEvent, cancel: LoggedCancel) -> Cancellation:
    return Cancellation(
        tenant=event.tenant,
        identifier_hash=event.identifier_hash,
        identifier=event.identifier,
        meter=event.meter,
        customer=event.customer,
        value=event.value,
        timestamp_ms=event.timestamp_ms,
        keeps_latest=event.keeps_latest,
        event_offset=event.offset,
        offset=cancel.offset,
        cancelled_at_ms=cancel.received_at_ms,
    )


def encode_cancels(block: CancelBlock) -> bytes:
    """The block as a record of the log: JSON, since cancellations are few and never on the hot path."""
    rows = [
        [
            request.origin.tenant.account_id,
            request.origin.tenant.livemode,
            request.origin.key_id,
            request.event_name,
            request.identifier,
        ]
        for request in block.requests
    ]
    return json.dumps({"format": FORMAT, "requests": rows}, separators=(",", ":")).encode()


def decode_cancels(data: bytes) -> CancelBlock:
    """The inverse. Raises ValueError when the bytes are not a block of this format."""
    try:
        decoded = json.loads(data)
        if decoded["format"] != FORMAT:
            raise ValueError(f"block format {decoded['format']!r} is not {FORMAT!r}")
        return CancelBlock(tuple(_request(*each) for each in decoded["requests"]))
    except (LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"not a block of cancellations: {error!r}") from error


def _request(account_id: object, livemode: object, key_id: object, event_name: str, identifier: str) -> CancelRequest:
    if not (isinstance(event_name, str) and isinstance(identifier, str)):
        raise ValueError(f"{event_name!r}, {identifier!r} name no event")
    identifier.encode()  # half a pair of surrogates is a ValueError here, and would be one too late when it is hashed
    return CancelRequest(Principal.recorded(account_id, livemode, key_id), event_name, identifier)
