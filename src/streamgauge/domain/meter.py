"""A meter: which events it takes, where customer and value stand in the payload, and how they add up."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from streamgauge.domain.account import Tenant
from streamgauge.domain.span import Span

DISPLAY_NAME_LENGTH_MAX = 250
EVENT_NAME_LENGTH_MAX = 100
PAYLOAD_KEY_LENGTH_MAX = 100
DEFAULT_CUSTOMER_KEY = "stripe_customer_id"
DEFAULT_VALUE_KEY = "value"


class Formula(StrEnum):
    """How the events of a bucket become one number."""

    COUNT = "count"
    LAST = "last"
    SUM = "sum"


class EventTimeWindow(StrEnum):
    """Within one customer and one such window (UTC) only the event received last counts."""

    DAY = "day"
    HOUR = "hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One meter with the history of when it took events.

    `active_spans` are in order and disjoint; only the last may be open. They decide what an event
    received at some moment finds: an active meter, an archived one, or none (before the first span).
    """

    id: str
    tenant: Tenant
    display_name: str
    event_name: str
    formula: Formula
    event_time_window: EventTimeWindow | None = None
    customer_key: str = DEFAULT_CUSTOMER_KEY
    value_key: str = DEFAULT_VALUE_KEY
    created_ms: int
    updated_ms: int
    active_spans: tuple[Span, ...]

    @property
    def is_active(self) -> bool:
        return self.active_spans[-1].end_ms is None

    @property
    def deactivated_ms(self) -> int | None:
        """When it was last deactivated; None while it is active."""
        return self.active_spans[-1].end_ms

    @property
    def keeps_latest(self) -> bool:
        """Whether its totals ask which event is the latest (`last`, event time windows), not how much all are."""
        return self.formula is Formula.LAST or self.event_time_window is not None

    def renamed(self, display_name: str, at_ms: int) -> "Meter":
        return replace(self, display_name=display_name, updated_ms=at_ms)

    def deactivated(self, at_ms: int) -> "Meter":
        *closed, current = self.active_spans
        return replace(self, active_spans=(*closed, replace(current, end_ms=at_ms)), updated_ms=at_ms)

    def reactivated(self, at_ms: int) -> "Meter":
        return replace(self, active_spans=(*self.active_spans, Span(at_ms)), updated_ms=at_ms)


@dataclass(frozen=True, slots=True)
class Found:
    """What an event name meant at one moment: a meter that was active or archived, or nothing."""

    meter: Meter | None
    archived: bool = False


def resolve(meters: Sequence[Meter], at_ms: int) -> Found:
    """The meter among those that ever shared an event name which an event received at `at_ms` reaches.

    The active one wins; else any that had existed by then makes it `archived`; else there is none.
    """
    archived: Meter | None = None
    for meter in meters:
        if any(at_ms in span for span in meter.active_spans):
            return Found(meter)
        if meter.active_spans[0].start_ms <= at_ms:
            archived = meter
    return Found(archived, archived=archived is not None)
