"""Refusals of single events: what a caller is told at once, where the stream would tell it later in a report."""

from dataclasses import dataclass

from streamgauge.domain.errors import Rejected
from streamgauge.domain.fate import RejectionCode
from streamgauge.domain.meter import Meter


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an event cannot be counted. `meter` is the one that it reached, `customer` what its payload named."""

    code: RejectionCode
    event_name: str
    meter: Meter | None
    customer: str | None
    received_at_ms: int


class EventRefused(Rejected):
    """A single event cannot be counted; nothing of it was stored."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"The event cannot be counted: {refusal.code}.")
        self.refusal = refusal


class DuplicateEvent(Rejected):
    """A single event repeats the identifier of one that was counted."""

    code = "duplicate_meter_event"

    def __init__(self, identifier: str) -> None:
        super().__init__(f"An event already exists with identifier {identifier}.")
        self.identifier = identifier


class CannotCancel(Rejected):
    """There is no such event to take back; the message says why."""

    code = "invalid_cancel_configuration"
