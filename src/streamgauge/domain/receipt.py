"""Receipts: what became of the events that carried one identifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from streamgauge.domain.fate import Fate

# A cancelled event had counted, and still holds what it was worth and the claim on its identifier.
_CLAIMED: Final = (Fate.COUNTED, Fate.CANCELLED)
# The rollups' buckets: minutes of event time.
BUCKET_MS: Final = 60_000
# Repeats that a receipt tells of one by one, the first ones; it counts all of them.
REPEATED_SHOWN_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event as the log or the store holds it. `timestamp_ms` is None where none was given and none was settled.

    Of a redriven event, `log_offset` and `received_at_ms` are those of the redrive, and `first_offset` and
    `first_received_at_ms` tell of its first receipt; None: it was not redriven. `first_code` and `first_meter` are what
    it was rejected with then, where that row was seen, too.
    """

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
    key_id: str = ""
    session_id: str = ""
    cancelled_at_ms: int | None = None
    first_offset: int | None = None
    first_received_at_ms: int | None = None
    first_code: str = ""
    first_meter: str = ""

    def says_the_same_as(self, other: "StoredEvent") -> bool:
        """Whether a resend repeats the content; two events without a timestamp do, whenever they were received."""
        return (
            self.event_name == other.event_name
            and dict(self.payload) == dict(other.payload)
            and self.timestamp_given == other.timestamp_given
            and (not self.timestamp_given or self.timestamp_ms == other.timestamp_ms)
        )


@dataclass(frozen=True, slots=True)
class Repeat:
    """One more event with the identifier of an event that counted; `differs`: it says something else."""

    received_at_ms: int
    log_offset: int
    differs: bool


class HintKind(StrEnum):
    """What may be wrong with a client."""

    REPEATED_WITH_DIFFERENT_CONTENT = "repeated_with_different_content"
    SAME_USAGE_UNDER_OTHER_IDENTIFIERS = "same_usage_under_other_identifiers"


@dataclass(frozen=True, slots=True)
class Hint:
    """`identifiers` are the other ones, where the hint is about some."""

    kind: HintKind
    identifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The record that says so. Absent members are None; times are milliseconds since the epoch, UTC.

    `repeats` are the later events that were recognised as duplicates, `conflicting_repeats` those of them whose
    content differs from the event that counted, which may have been cancelled since; `repeated` tells when the first
    of them came. `bucket_ms` is the start of the minute that the event counts in, `message` what its code means.
    `log_offset` is where it was received; of a redriven event, `judged_offset` is where it was taken up again, and
    `first_code` and `first_meter` say what it was rejected with before, and so reported.
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
    log_offset: int = 0
    judged_offset: int = 0
    key_id: str | None = None
    session_id: str | None = None
    timestamp_given: bool = True
    message: str | None = None
    bucket_ms: int | None = None
    cancelled_at_ms: int | None = None
    redriven_at_ms: int | None = None
    first_code: str | None = None
    first_meter: str | None = None
    repeated: tuple[Repeat, ...] = ()
    error_report_id: str | None = None
    hints: tuple[Hint, ...] = ()


def receipt_of(events: Sequence[StoredEvent], told: StoredEvent | None = None) -> Receipt:
    """The receipt of all events with one identifier, in log order, at least one of them.

    It tells of `told`, or else of the event that counted last, cancelled since or not; else of the newest that was
    judged; else of the first that is pending. Repeats are those of the event that counted last, in any case.
    """
    first = _told(events)
    told = told or first
    repeats = [each for each in events if each.status is Fate.DUPLICATE]
    has_counted = first.status in _CLAIMED
    conflicts = [each for each in repeats if has_counted and not each.says_the_same_as(first)]
    differing = {each.log_offset for each in conflicts}
    return Receipt(
        identifier=told.identifier,
        event_name=told.event_name,
        status=told.status,
        code=told.code or None,
        meter=told.meter or None,
        customer=told.customer or None,
        value=told.value if told.status in _CLAIMED else None,
        timestamp_ms=told.timestamp_ms,
        received_at_ms=told.received_at_ms if told.first_received_at_ms is None else told.first_received_at_ms,
        repeats=len(repeats),
        conflicting_repeats=len(conflicts),
        log_offset=told.log_offset if told.first_offset is None else told.first_offset,
        judged_offset=told.log_offset,
        redriven_at_ms=told.received_at_ms if told.first_offset not in (None, told.log_offset) else None,
        first_code=told.first_code or None,
        first_meter=told.first_meter or None,
        key_id=told.key_id or None,
        session_id=told.session_id or None,
        timestamp_given=told.timestamp_given,
        bucket_ms=told.timestamp_ms - told.timestamp_ms % BUCKET_MS if told.status is Fate.COUNTED else None,
        cancelled_at_ms=told.cancelled_at_ms,
        repeated=tuple(
            Repeat(each.received_at_ms, each.log_offset, each.log_offset in differing)
            for each in repeats[:REPEATED_SHOWN_MAX]
        ),
        hints=(Hint(HintKind.REPEATED_WITH_DIFFERENT_CONTENT),) if conflicts else (),
    )


def _told(events: Sequence[StoredEvent]) -> StoredEvent:
    claimed = [each for each in events if each.status in _CLAIMED]
    judged = [each for each in events if each.status is not Fate.PENDING]
    if claimed:
        return claimed[-1]
    return judged[-1] if judged else events[0]
