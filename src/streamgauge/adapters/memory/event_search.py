"""`EventSearch` over the usage store in memory."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.error_report import SAMPLES_MAX, RejectedSample, Rejections, window_start_of
from streamgauge.domain.fate import CODE_NUMBER, Fate, RejectionCode
from streamgauge.domain.receipt import StoredEvent
from streamgauge.engine.ports.event_search import (
    ALIKE_MAX,
    IDENTIFIER_EVENTS_MAX,
    NONE_KNOWN,
    EventFilter,
    EventRange,
    FoundEvents,
    Usage,
)


class MemoryEventSearch:
    def __init__(self, store: MemoryUsageStore) -> None:
        self._store = store

    def find(self, tenant: Tenant, wanted: EventFilter, where: EventRange) -> FoundEvents:
        events = [event for event in self._within(tenant, where.first_offset, where.next_offset) if wanted.takes(event)]
        if not where.oldest_first:
            events.reverse()
        found = tuple(events[: where.limit])
        if len(found) < where.limit:
            return FoundEvents(found, where.next_offset if where.oldest_first else where.first_offset)
        return FoundEvents(found, found[-1].log_offset + 1 if where.oldest_first else found[-1].log_offset)

    def with_identifiers(
        self, tenant: Tenant, identifiers: Sequence[str], known: Sequence[StoredEvent] = ()
    ) -> Mapping[str, Sequence[StoredEvent]]:
        found: dict[str, list[StoredEvent]] = defaultdict(list)
        for event in sorted(self._store.all_of(tenant), key=lambda each: each.log_offset):
            if event.identifier in identifiers:
                found[event.identifier].append(event)
        return {identifier: events[:IDENTIFIER_EVENTS_MAX] for identifier, events in found.items()}

    def alike(
        self,
        tenant: Tenant,
        usages: Sequence[Usage],
        ranges: Sequence[tuple[int, int]],
        known: Mapping[int, tuple[Usage, str]] = NONE_KNOWN,
    ) -> Mapping[Usage, Sequence[str]]:
        found: dict[Usage, list[str]] = defaultdict(list)
        for event in self._own(tenant):
            usage = Usage(event.meter, event.customer, event.value or Decimal(0), event.timestamp_ms)
            is_counted = event.status in (Fate.COUNTED, Fate.CANCELLED) and event.timestamp_given
            is_near = any(first <= event.log_offset < end for first, end in ranges)
            if is_counted and is_near and usage in usages and event.identifier not in found[usage]:
                found[usage].append(event.identifier)
        return {usage: identifiers[:ALIKE_MAX] for usage, identifiers in found.items()}

    def rejected(self, first_offset: int, next_offset: int) -> Sequence[Rejections]:
        groups: dict[tuple[int, Tenant, str, str], list[StoredEvent]] = defaultdict(list)
        for tenant in self._store.tenants():
            for event in self._within(tenant, first_offset, next_offset):
                if event.status is Fate.REJECTED:
                    groups[window_start_of(event.received_at_ms), tenant, event.meter, event.code].append(event)
        rejections = [
            Rejections(
                window_start_ms=window_start_ms,
                tenant=tenant,
                meter_id=meter_id,
                code=RejectionCode(code),
                count=len(events),
                samples=tuple(
                    RejectedSample(each.identifier, each.event_name, each.customer) for each in events[:SAMPLES_MAX]
                ),
            )
            for (window_start_ms, tenant, meter_id, code), events in groups.items()
        ]
        return sorted(
            rejections, key=lambda each: (each.window_start_ms, each.tenant, each.meter_id, CODE_NUMBER[each.code])
        )

    def first_received_from(self, at_ms: int, first_offset: int, next_offset: int) -> int | None:
        events = self._of_all(first_offset, next_offset)
        return min((each.log_offset for each in events if each.received_at_ms >= at_ms), default=None)

    def last_received_ms(self, first_offset: int, next_offset: int) -> int | None:
        return max((each.received_at_ms for each in self._of_all(first_offset, next_offset)), default=None)

    def close(self) -> None:
        """Nothing to release."""

    def _of_all(self, first_offset: int, next_offset: int) -> list[StoredEvent]:
        return [event for tenant in self._store.tenants() for event in self._within(tenant, first_offset, next_offset)]

    def _within(self, tenant: Tenant, first_offset: int, next_offset: int) -> list[StoredEvent]:
        return [event for event in self._own(tenant) if first_offset <= event.log_offset < next_offset]

    def _own(self, tenant: Tenant) -> list[StoredEvent]:
        """In log order, without the second rows of redriven events."""
        own = [each for each in self._store.all_of(tenant) if each.first_offset in (None, each.log_offset)]
        return sorted(own, key=lambda each: each.log_offset)
