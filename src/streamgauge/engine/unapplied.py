"""The part of the log that is not applied yet: found by identifier, and judged ahead for those who must answer now."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamgauge.domain.cancellation import CancelBlock, LoggedCancel
from streamgauge.domain.identifier_hash import hash_identifiers, hash_names
from streamgauge.domain.received_events import LoggedBlock, ReceivedEvents, received
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.engine.apply import contents_of, logged_cancels, logged_events
from streamgauge.engine.judging import Judging
from streamgauge.engine.ports.event_log import EventLog, LogRecord
from streamgauge.engine.ports.progress import Progress

_READ_ENTRIES: Final = 100_000
# Blocks of at most so many events are kept decoded: those of single events, which are asked for at once.
_KEPT_EVENTS_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Indexed:
    """A record with the hashes of its identifiers, one per entry."""

    first_offset: int
    next_offset: int
    hashes: NDArray[np.uint64]
    events: LoggedBlock | None
    cancels: list[LoggedCancel]


@dataclass(frozen=True, slots=True)
class Ahead:
    """What waits in the log for the identifiers asked about, in log order. Below `checkpoint` all is in the store."""

    checkpoint: int
    events: ReceivedEvents | None
    cancels: list[LoggedCancel]


class Unapplied:
    """An index that follows the log when it is asked, so it costs nothing while nobody asks.

    Memory is 8 bytes per entry that waits; the backlog's bound is its bound.
    """

    def __init__(self, log: EventLog, progress: Progress, judging: Judging) -> None:
        self._log = log
        self._progress = progress
        self._judging = judging
        self._lock = threading.Lock()
        self._records: deque[_Indexed] = deque()

    def find(self, hashes: NDArray[np.uint64]) -> Ahead:
        """Every entry of the log beyond the checkpoint whose identifier has one of these hashes."""
        with self._lock:
            # The checkpoint first: what is applied meanwhile is then found here, in the store, or in both.
            checkpoint = self._progress.checkpoint().next_offset
            self._follow(checkpoint)
            hits = [(each, np.flatnonzero(np.isin(each.hashes, hashes))) for each in self._records]
        hits = [(each, rows) for each, rows in hits if len(rows)]
        cancels = [each.cancels[row] for each, rows in hits if each.cancels for row in rows]
        blocks = [(self._events_of(each), rows) for each, rows in hits if not each.cancels]
        if not blocks:
            return Ahead(checkpoint, None, cancels)
        starts = np.cumsum([0, *(len(logged.block) for logged, _ in blocks)])
        rows = np.concatenate([start + rows for start, (_, rows) in zip(starts, blocks, strict=False)])
        return Ahead(checkpoint, received([logged for logged, _ in blocks]).take(rows), cancels)

    def judged(self, ahead: Ahead) -> SettledEvents | None:
        """The fates that these events will get."""
        if ahead.events is None:
            return None
        return self._judging.settled(ahead.events, below_offset=ahead.checkpoint)

    def _follow(self, checkpoint: int) -> None:
        while self._records and self._records[0].next_offset <= checkpoint:
            self._records.popleft()
        offset = self._records[-1].next_offset if self._records else checkpoint
        for record in self._read(offset):
            self._records.append(_indexed(record))

    def _read(self, offset: int) -> Iterator[LogRecord]:
        while records := self._log.read(offset, events_max=_READ_ENTRIES):
            yield from records
            offset = records[-1].next_offset

    def _events_of(self, indexed: _Indexed) -> LoggedBlock:
        if indexed.events is not None:
            return indexed.events
        (record, *_) = self._log.read(indexed.first_offset, events_max=1)
        block = contents_of(record)
        assert not isinstance(block, CancelBlock), "the record was indexed as one of events"
        return logged_events(block, record)


def _indexed(record: LogRecord) -> _Indexed:
    block = contents_of(record)
    if isinstance(block, CancelBlock):
        cancels = logged_cancels(block, record)
        hashes = hash_names([(each.request.origin.tenant, each.request.identifier) for each in cancels])
        return _Indexed(record.first_offset, record.next_offset, hashes, None, cancels)
    logged = logged_events(block, record)
    events = received([logged])
    hashes = hash_identifiers(events.identifier, events.tenant, events.tenants)
    kept = logged if len(block) <= _KEPT_EVENTS_MAX else None
    return _Indexed(record.first_offset, record.next_offset, hashes, kept, [])
