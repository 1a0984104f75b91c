"""The list of events: what was received, newest first, each with what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.event_block import EventBlock
from streamgauge.domain.fate import Fate
from streamgauge.domain.receipt import Receipt, StoredEvent, receipt_of
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.redrive import acknowledged
from streamgauge.engine.apply import contents_of
from streamgauge.engine.explanations import Explanations
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.event_search import EventFilter, EventRange, EventSearch
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.receipts import Receipts, pending_events

# Entries of the log that are looked through for pending events: those that were received first.
PENDING_ENTRIES_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Which part of the list is wanted: older than `before_offset`, or newer than `after_offset`, or the newest."""

    limit: int
    before_offset: int | None = None
    after_offset: int | None = None


@dataclass(frozen=True, slots=True)
class ListedEvents:
    """Newest first. `continue_offset` is where to go on in the same direction, None when there is nothing more: older
    ones are before it, newer ones after it. A page can be short, even empty, and be continued all the same: then it
    ended because a search takes a second at most."""

    receipts: tuple[Receipt, ...]
    continue_offset: int | None


class EventList:
    def __init__(
        self, search: EventSearch, log: EventLog, progress: Progress, receipts: Receipts, explanations: Explanations
    ) -> None:
        self._search = search
        self._log = log
        self._progress = progress
        self._receipts = receipts
        self._explanations = explanations

    def receipt(self, tenant: Tenant, identifier: str) -> Receipt:
        """All there is to tell of one identifier. Raises NotFound."""
        (receipt,) = self._explanations.of(tenant, [self._receipts.find(tenant, identifier)])
        return receipt

    def page(self, tenant: Tenant, wanted: EventFilter, page: EventPage) -> ListedEvents:
        """Events that were judged, or with `Fate.PENDING` those that were not yet."""
        if wanted.status is Fate.PENDING:
            return self._pending(tenant, wanted, page)
        where = self._range(wanted, page)
        found = self._search.find(tenant, wanted, where)
        events = found.events[: page.limit]
        continue_offset: int | None = None
        if len(found.events) > page.limit:
            continue_offset = events[-1].log_offset
        elif where.oldest_first and found.end_offset < where.next_offset:
            continue_offset = found.end_offset - 1
        elif not where.oldest_first and found.end_offset > where.first_offset:
            continue_offset = found.end_offset
        if where.oldest_first:
            events = events[::-1]
        receipts = self._explanations.of(tenant, self._receipts_of(tenant, events))
        return ListedEvents(tuple(receipts), continue_offset)

    def _range(self, wanted: EventFilter, page: EventPage) -> EventRange:
        # The checkpoint first: everything below it is in the store.
        first, end = 0, self._progress.checkpoint().next_offset
        # Times of receipt grow with offsets, so they say where to look.
        if wanted.received_before_ms is not None:
            end = _or(self._search.first_received_from(wanted.received_before_ms, 0, end), end)
        if wanted.received_from_ms is not None:
            first = _or(self._search.first_received_from(wanted.received_from_ms, 0, end), end)
        if page.before_offset is not None:
            end = min(end, page.before_offset)
        if page.after_offset is not None:
            first = max(first, page.after_offset + 1)
        # One more than is shown tells whether there is more.
        return EventRange(
            first_offset=min(first, end),
            next_offset=end,
            limit=page.limit + 1,
            oldest_first=page.after_offset is not None,
        )

    def _receipts_of(self, tenant: Tenant, events: Sequence[StoredEvent]) -> list[Receipt]:
        rows = self._search.with_identifiers(tenant, list({each.identifier for each in events}), events)
        return [_receipt_at(event, acknowledged(rows.get(event.identifier, ()))) for event in events]

    def _pending(self, tenant: Tenant, wanted: EventFilter, page: EventPage) -> ListedEvents:
        events = [
            event
            for event in self._waiting(tenant)
            if wanted.takes(event)
            and (page.before_offset is None or event.log_offset < page.before_offset)
            and (page.after_offset is None or event.log_offset > page.after_offset)
        ]
        is_newer = page.after_offset is not None
        shown = events[: page.limit] if is_newer else events[-page.limit :]
        continue_offset = None if len(shown) == len(events) else shown[-1 if is_newer else 0].log_offset
        return ListedEvents(tuple(receipt_of([each]) for each in reversed(shown)), continue_offset)

    def _waiting(self, tenant: Tenant) -> list[StoredEvent]:
        """In log order."""
        records = self._log.read(self._progress.checkpoint().next_offset, events_max=PENDING_ENTRIES_MAX)
        blocks = [(record, contents_of(record)) for record in records]
        logged = [
            LoggedBlock(block, record.first_offset, record.received_at_ms)
            for record, block in blocks
            if isinstance(block, EventBlock)
        ]
        return pending_events(received(logged), tenant) if logged else []


def _or(offset: int | None, otherwise: int) -> int:
    return otherwise if offset is None else offset


def _receipt_at(event: StoredEvent, rows: Sequence[StoredEvent]) -> Receipt:
    """Of the event that was received at this place, as it is now: a redrive may have given it another fate."""
    of_event = [each for each in rows if _first_place(each) == event.log_offset]
    return receipt_of(rows if of_event else [event, *rows], of_event[-1] if of_event else event)


def _first_place(event: StoredEvent) -> int:
    return event.log_offset if event.first_offset is None else event.first_offset
