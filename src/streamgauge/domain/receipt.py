"""Receipts: what became of the events that carried one identifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from streamgauge.domain.fate import Fate

# A cancelled event had counted, and still holds what it was worth and the claim on its identifier.
_CLAIMED: Final = (Fate.COUNTED, Fate.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event as the log or the store holds it. `timestamp_ms` is None where none was given and none was settled."""

    identifier: str
    event_name: str
    status: Fate
    code: str
    meter: str
    customer: str
    value: Decimal | None
    timestamp_ms: int
    timestamp_given: bool
    received_at_ms: int
    log_offset: int
    payload: Mapping[str, str] = field(default_factory=dict)

    def says_the_same_as(self, other: "StoredEvent") -> bool:
        """Whether a resend repeats the content; two events without a timestamp do, whenever they were received."""
        return (
            self.event_name == other.event_name
            and dict(self.payload) == dict(other.payload)
            and self.timestamp_given == other.timestamp_given
            and (not self.timestamp_given or self.timestamp_ms == other.timestamp_ms)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The record that says so. Absent members are None; times are milliseconds since the epoch, UTC.

    `repeats` are the later events that were recognised as duplicates, `conflicting_repeats` those of them whose
    content differs from the event that counted, which may have been cancelled since.
    """

    identifier: str
    event_name: str
    status: Fate
    code: str | None
    meter: str | None
    customer: str | None
    value: Decimal | None
    timestamp_ms: int
    received_at_ms: int
    repeats: int
    conflicting_repeats: int


def receipt_of(events: Sequence[StoredEvent]) -> Receipt:
    """The receipt of all events with one identifier, in log order, at least one of them.

    It tells of the event that counted last, cancelled since or not; else of the newest that was judged; else of the
    first that is pending.
    """
    told = _told(events)
    repeats = [each for each in events if each.status is Fate.DUPLICATE]
    conflicts = [each for each in repeats if told.status in _CLAIMED and not each.says_the_same_as(told)]
    return Receipt(
        identifier=told.identifier,
        event_name=told.event_name,
        status=told.status,
        code=told.code or None,
        meter=told.meter or None,
        customer=told.customer or None,
        value=told.value if told.status in _CLAIMED else None,
        timestamp_ms=told.timestamp_ms,
        received_at_ms=told.received_at_ms,
        repeats=len(repeats),
        conflicting_repeats=len(conflicts),
    )


def _told(events: Sequence[StoredEvent]) -> StoredEvent:
    claimed = [each for each in events if each.status in _CLAIMED]
    judged = [each for each in events if each.status is not Fate.PENDING]
    if claimed:
        return claimed[-1]
    return judged[-1] if judged else events[0]
