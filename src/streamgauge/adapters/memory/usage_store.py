"""`UsageStore` as a list of events: summaries straight from the definition of each formula, without rollups."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation, CountedEvent
from streamgauge.domain.claims import CLAIM_SCHEMA, ClaimRange, KnownClaims
from streamgauge.domain.decimals import EXACT
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import Formula
from streamgauge.domain.payload_text import filled, payload_of
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.settled_events import FIRST_RECEIPT_SCHEMA, SettledEvents, milliseconds
from streamgauge.domain.summary import WINDOW_S, Range
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

_DAY_MS: Final = 24 * 3_600_000


class MemoryUsageStore:
    def __init__(self) -> None:
        self._offsets: set[int] = set()
        self._cancelled: dict[tuple[Tenant, str, int], Cancellation] = {}  # by identifier and the event's offset
        self._events: dict[Tenant, list[tuple[int, StoredEvent, bool]]] = defaultdict(list)
        self._of_customer: dict[tuple[Tenant, str, str], list[StoredEvent]] = defaultdict(list)  # with meter; counted
        self._dropped_before_ms = 0
        self.rows: list[dict[str, Any]] = []  # as they were inserted (SETTLED_SCHEMA), with their hashes

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        for row, number in zip(events.table.to_pylist(), events.hashes.tolist(), strict=True):
            if row["log_offset"] in self._offsets:
                assert again, "inserted before, and nobody says so"
                continue
            self._offsets.add(row["log_offset"])
            if row.get("first_offset") == row["log_offset"]:  # another event of its step is redriven
                row = {name: each for name, each in row.items() if name not in FIRST_RECEIPT_SCHEMA.names}
            text = filled(row["payload_form"], row["customer"], row["value"]) or row["payload_text"]
            row |= {"identifier_hash": number, "payload": text}
            self.rows.append(row)
            tenant = Tenant(row["account"], row["livemode"])
            event = _stored(row)
            self._events[tenant].append((number, event, row["keeps_latest"]))
            if event.status is Fate.COUNTED:
                self._of_customer[tenant, event.meter, event.customer].append(event)

    def drop(self, before_ms: int) -> int:
        """`RetainedEvents`: the events are no longer to be found, but still make up the totals."""
        days = {event.received_at_ms // _DAY_MS for events in self._events.values() for _, event, _ in events}
        before = min(before_ms // _DAY_MS, max(days, default=0))
        dropped = [day for day in days if self._dropped_before_ms // _DAY_MS <= day < before]
        self._dropped_before_ms = max(self._dropped_before_ms, before * _DAY_MS)
        self.rows = [row for row in self.rows if milliseconds(row["received_at"]) >= self._dropped_before_ms]
        return len(dropped)

    def cancel(self, cancellations: Sequence[Cancellation], *, step: int, again: bool = False) -> None:
        self._cancelled |= {(each.tenant, each.identifier, each.event_offset): each for each in cancellations}

    def claims(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        wanted = set(hashes.tolist())
        found = [
            (tenant, identifier_hash, event)
            for tenant, identifier_hash, event, _ in self._counted(where.since_ms)
            if identifier_hash in wanted and where.from_offset <= event.log_offset < where.below_offset
        ]
        rows = [
            [tenant.account_id, tenant.livemode, event.identifier, event.received_at_ms, event.log_offset]
            for tenant, _, event in found
        ]
        columns = [[row[at] for row in rows] for at in range(len(CLAIM_SCHEMA))]
        return KnownClaims.of(
            pa.table(columns, schema=CLAIM_SCHEMA), np.array([each for _, each, _ in found], np.uint64)
        )

    def neighbouring_claims(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        # Nothing is quicker here; whoever asks must get along with every second one.
        return self.claims(hashes[::2], where)

    def counted(self, hashes: NDArray[np.uint64], *, since_ms: int, below_offset: int) -> Sequence[CountedEvent]:
        wanted = set(hashes.tolist())
        return [
            CountedEvent(
                tenant=tenant,
                identifier_hash=identifier_hash,
                identifier=event.identifier,
                event_name=event.event_name,
                meter=event.meter,
                customer=event.customer,
                value=event.value or Decimal(0),
                timestamp_ms=event.timestamp_ms,
                keeps_latest=keeps_latest,
                received_at_ms=event.received_at_ms,
                offset=event.log_offset,
                cancelled_at_ms=gone.cancelled_at_ms if gone is not None and gone.offset < below_offset else None,
            )
            for tenant, identifier_hash, event, keeps_latest in self._counted(since_ms)
            if identifier_hash in wanted and event.log_offset < below_offset
            for gone in (self._cancellation_of(tenant, event),)
        ]

    def claimed_hashes(self, *, since_ms: int, from_offset: int = 0) -> Iterator[tuple[NDArray[np.uint64], int]]:
        found = sorted(
            (event.received_at_ms, number)
            for _, number, event, _ in self._counted(since_ms)
            if event.log_offset >= from_offset
        )
        if found:
            yield np.array([number for _, number in found], np.uint64), found[-1][0]

    def count_events(self) -> int:
        return sum(self._is_kept(event) for events in self._events.values() for _, event, _ in events)

    def count_claimed(self, *, since_ms: int, from_offset: int = 0) -> int:
        return sum(event.log_offset >= from_offset for _, _, event, _ in self._counted(since_ms))

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        windows: dict[Range, list[StoredEvent]] = defaultdict(list)
        for event in self._that_count(query):
            if query.range.start_s * 1000 <= event.timestamp_ms < query.range.end_s * 1000:
                windows[_window_of(event, query)].append(event)
        totals = [WindowTotal(window, _formula(query, events)) for window, events in windows.items()]
        return sorted(totals, key=lambda total: total.window.start_s, reverse=True)[: query.limit]

    def events_of(self, tenant: Tenant, identifier: str, identifier_hash: int) -> Sequence[StoredEvent]:
        found = (event for _, event, _ in self._events[tenant] if event.identifier == identifier)
        events = [event for event in found if self._is_kept(event)]
        return [self.as_cancelled(tenant, event) for event in sorted(events, key=lambda event: event.log_offset)]

    @property
    def cancellations(self) -> Sequence[Cancellation]:
        return list(self._cancelled.values())

    def counting(self) -> list[tuple[Tenant, StoredEvent, bool]]:
        """Every event that counts and was not cancelled, and whether its meter keeps the latest."""
        return [
            (tenant, event, keeps_latest)
            for tenant, _, event, keeps_latest in self._ever_counted()
            if self._cancellation_of(tenant, event) is None
        ]

    def all_of(self, tenant: Tenant) -> list[StoredEvent]:
        """Every event of a tenant, cancelled ones as such."""
        return [self.as_cancelled(tenant, event) for _, event, _ in list(self._events[tenant]) if self._is_kept(event)]

    def tenants(self) -> list[Tenant]:
        return list(self._events)

    def as_cancelled(self, tenant: Tenant, event: StoredEvent) -> StoredEvent:
        """The event as it is now: with the status and the time of its cancellation, if there is one."""
        gone = self._cancellation_of(tenant, event)
        return event if gone is None else replace(event, status=Fate.CANCELLED, cancelled_at_ms=gone.cancelled_at_ms)

    def close(self) -> None:
        """Nothing to release."""

    def _cancellation_of(self, tenant: Tenant, event: StoredEvent) -> Cancellation | None:
        return self._cancelled.get((tenant, event.identifier, event.log_offset))

    def _is_kept(self, event: StoredEvent) -> bool:
        return event.received_at_ms >= self._dropped_before_ms

    def _counted(self, since_ms: int) -> list[tuple[Tenant, int, StoredEvent, bool]]:
        """With hash, and whether the meter keeps the latest; cancelled events too, since they keep their claims."""
        since_ms = max(since_ms, self._dropped_before_ms)
        return [each for each in self._ever_counted() if each[2].received_at_ms >= since_ms]

    def _ever_counted(self) -> list[tuple[Tenant, int, StoredEvent, bool]]:
        return [
            (tenant, identifier_hash, event, keeps_latest)
            for tenant, events in list(self._events.items())
            for identifier_hash, event, keeps_latest in events
            if event.status is Fate.COUNTED
        ]

    def _that_count(self, query: SummaryQuery) -> Iterable[StoredEvent]:
        tenant = query.meter.tenant
        counted = self._of_customer.get((tenant, query.meter.id, query.customer_id), ())
        events = [event for event in counted if self._cancellation_of(tenant, event) is None]
        if query.meter.event_time_window is None:
            return events
        step_ms = WINDOW_S[query.meter.event_time_window] * 1000
        # Later replaces earlier: what is left is the event that was received last, which no redrive changes.
        kept = {event.timestamp_ms // step_ms: event for event in sorted(events, key=first_place)}
        return kept.values()


def _window_of(event: StoredEvent, query: SummaryQuery) -> Range:
    if query.grouping is None:
        return query.range
    step_s = WINDOW_S[query.grouping]
    start_s = event.timestamp_ms // 1000 // step_s * step_s
    return Range(start_s, start_s + step_s)


def _formula(query: SummaryQuery, events: Sequence[StoredEvent]) -> Decimal:
    match query.meter.formula:
        case Formula.COUNT:
            return Decimal(len(events))
        case Formula.SUM:
            with localcontext(EXACT):
                return sum((event.value or Decimal(0) for event in events), Decimal(0))
        case Formula.LAST:
            return max(events, key=lambda each: (each.timestamp_ms, first_place(each))).value or Decimal(0)


def first_place(event: StoredEvent) -> int:
    """Where in the log it stood when it was received."""
    return event.log_offset if event.first_offset is None else event.first_offset


def _stored(row: dict[str, Any]) -> StoredEvent:
    return StoredEvent(
        identifier=row["identifier"],
        event_name=row["event_name"],
        status=Fate(row["status"]),
        code=row["code"],
        meter=row["meter"],
        customer=row["customer"],
        value=row["value"],
        timestamp_ms=milliseconds(row["timestamp"]),
        timestamp_given=row["timestamp_given"],
        received_at_ms=milliseconds(row["received_at"]),
        log_offset=row["log_offset"],
        payload=payload_of(row["payload"]),
        key_id=row["key_id"],
        session_id=row["session_id"],
        first_offset=row.get("first_offset"),
        first_received_at_ms=None if "first_offset" not in row else milliseconds(row["first_received_at"]),
    )
