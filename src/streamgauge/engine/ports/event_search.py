"""Looking for stored events by what they are, not by their identifier: for lists, hints and error reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.error_report import Rejections
from streamgauge.domain.fate import Fate
from streamgauge.domain.receipt import StoredEvent

# Rows of one identifier that a page of the list looks at.
IDENTIFIER_EVENTS_MAX: Final = 1_000
# Identifiers of the same usage: that of the event itself, and others that a hint names.
ALIKE_MAX: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are wanted: those that pass every filter that is given. Bounds are half-open, milliseconds."""

    identifier: str | None = None
    customer: str | None = None
    meter: str | None = None
    event_name: str | None = None
    status: Fate | None = None
    code: str | None = None
    received_from_ms: int | None = None
    received_before_ms: int | None = None
    timestamp_from_ms: int | None = None
    timestamp_before_ms: int | None = None

    def takes(self, event: StoredEvent) -> bool:
        """Whether it is wanted. A pending event has no customer, meter and code yet."""
        return (
            self.identifier in (None, event.identifier)
            and self.customer in (None, event.customer)
            and self.meter in (None, event.meter)
            and self.event_name in (None, event.event_name)
            and self.status in (None, event.status)
            and self.code in (None, event.code)
            and _is_within(event.received_at_ms, self.received_from_ms, self.received_before_ms)
            and _is_within(event.timestamp_ms, self.timestamp_from_ms, self.timestamp_before_ms)
        )


def _is_within(at_ms: int, from_ms: int | None, before_ms: int | None) -> bool:
    return (from_ms is None or from_ms <= at_ms) and (before_ms is None or at_ms < before_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRange:
    """Where to look in the log, [first_offset, next_offset), from which end, and how many events are enough."""

    first_offset: int
    next_offset: int
    limit: int
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class FoundEvents:
    """What was found, in the order asked for. `end_offset` is how far the search came: everything that is wanted
    between the end it began at and there is in `events`. It is the other end when all was looked at."""

    events: tuple[StoredEvent, ...]
    end_offset: int


class Usage(NamedTuple):
    """What two events have in common when one is likely to be the other, sent again under a new identifier."""

    meter: str
    customer: str
    value: Decimal
    timestamp_ms: int


# For `EventSearch.alike`.
NONE_KNOWN: Final[Mapping[int, tuple[Usage, str]]] = {}


class EventSearch(Protocol):
    """Raises Unavailable when the store is away. All offsets asked about are below the checkpoint.

    A redriven event stands once more in the log. Only `with_identifiers` sees that second row of it; whatever else is
    asked for, an event is where it was received, with the fate that it had there.
    """

    def find(self, tenant: Tenant, wanted: EventFilter, where: EventRange) -> FoundEvents:
        """Looks from one end of the range on until there are `limit` events, or until it took long; then `end_offset`
        says where to go on. A counted event that was cancelled has that status, and only that."""

    def with_identifiers(
        self, tenant: Tenant, identifiers: Sequence[str], known: Sequence[StoredEvent] = ()
    ) -> Mapping[str, Sequence[StoredEvent]]:
        """The events that carried them, in log order: all, or the first IDENTIFIER_EVENTS_MAX of one. `known` are some
        of them, as `find` gave them a moment ago, that need not be read again."""

    def alike(
        self,
        tenant: Tenant,
        usages: Sequence[Usage],
        ranges: Sequence[tuple[int, int]],
        known: Mapping[int, tuple[Usage, str]] = NONE_KNOWN,
    ) -> Mapping[Usage, Sequence[str]]:
        """The distinct identifiers of counted events in one of the `ranges` of offsets, half-open, whose client named
        such a timestamp: in log order, the first ALIKE_MAX of them. `known` are some of them, by offset, with their
        identifiers: they need not be read."""

    def rejected(self, first_offset: int, next_offset: int) -> Sequence[Rejections]:
        """All rejected events of that part of the log, by window, tenant, meter and code, in that order, codes in
        that of precedence. The same part always gives the same."""

    def first_received_from(self, at_ms: int, first_offset: int, next_offset: int) -> int | None:
        """The offset of the first event in that part of the log which was received then or later."""

    def last_received_ms(self, first_offset: int, next_offset: int) -> int | None:
        """When the last event in that part of the log was received."""

    def close(self) -> None: ...
