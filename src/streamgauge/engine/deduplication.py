"""Which events repeat one that was counted before: the filter first, then the store for what it cannot exclude."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamgauge.domain.claims import ClaimRange, KnownClaims
from streamgauge.domain.counting_rules import RulesHistory
from streamgauge.domain.identifier_hash import order_of
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.domain.settlement import Claims
from streamgauge.engine.dedup_filter import DedupFilter, FilterImage, Sought
from streamgauge.engine.kept_filter import KeptFilter
from streamgauge.engine.ports.progress import Checkpoint
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.recent_claims import RecentClaims

logger = logging.getLogger(__name__)

# So few hashes of a segment are not asked for apart from those of others.
TOGETHER_MAX: Final = 50
# Of so many the store is first asked for those that stand together: a hash by itself costs 10 to 20 µs in each part,
# in the largest ones 130.
NEIGHBOURS_MIN: Final = 1_000


class Deduplication:
    """The claims of the deduplication window. What it answers depends on the store alone; the filter only saves
    look-ups, and can be dropped and rebuilt at any time.

    May be asked from several threads at once; only one claims, forgets and rebuilds.
    """

    def __init__(self, store: UsageStore, rules: RulesHistory, kept: KeptFilter | None = None) -> None:
        """`kept`: what a rebuild may begin with, so that it reads only newer claims from the store."""
        self._store = store
        self._rules = rules
        self._kept = kept
        self._filter = DedupFilter()
        self._recent = RecentClaims()
        self._is_filled = False
        self.rebuilds = 0
        """How often the filter was made anew: claims that the store had not then must be made again."""
        self._complete = Checkpoint()
        self._unsaved = 0
        self._lock = threading.Lock()

    @property
    def filter_count(self) -> int:
        return self._filter.count

    @property
    def filter_bytes(self) -> int:
        return self._filter.size_bytes

    def rebuild(self, checkpoint: Checkpoint, progress: Callable[[int, int], None] | None = None) -> None:
        """Fill the filter from what was kept of it, and the store. `progress` is called with (hashes read, in all).

        The window is that of the checkpoint's `received_at_ms`, not of now: an event that still waits in the log is
        judged by the window before its own receipt.
        """
        since_ms = self._rules.looks_back_to_ms(checkpoint.received_at_ms)
        kept = None if self._kept is None else self._kept.load(checkpoint, since_ms)
        from_offset = 0 if kept is None else kept[1]
        total = self._store.count_claimed(since_ms=since_ms, from_offset=from_offset)
        rebuilt = DedupFilter(total, since_ms=since_ms) if kept is None else kept[0]
        rebuilt.forget(since_ms)
        # Of what came after it was kept. With another window at the next start that may be too little.
        rebuilt.lack(since_ms)
        kept_count = rebuilt.count
        for hashes, last_ms in self._store.claimed_hashes(since_ms=since_ms, from_offset=from_offset):
            # They come by day and hash: any of them may stand anywhere in what was read.
            rebuilt.add(hashes, last_ms, from_offset, checkpoint.next_offset)
            if progress is not None:
                progress(rebuilt.count - kept_count, total)
        self._recent.clear()
        with self._lock:
            self._filter, self._is_filled, self._complete = rebuilt, True, checkpoint
            self.rebuilds += 1
            self._unsaved = rebuilt.count - kept_count
        logger.info(
            "deduplication filter rebuilt identifiers=%d kept=%d bytes=%d",
            rebuilt.count,
            kept_count,
            rebuilt.size_bytes,
        )

    def claimed(self, events: ReceivedEvents, hashes: NDArray[np.uint64], *, below_offset: int) -> Claims:
        """Which events carry an identifier that was counted, within the window before them, below `below_offset`.

        Before a redriven event it is the window before its first receipt, and all that came since: however late it is
        redriven, and however often, it counts once.
        """
        sought = self._sought(hashes, below_offset)
        if events.first_receipt is None:
            since_ms = self._rules.claims_from_ms(events.records_at_ms).take(events.record)
        else:
            since_ms = self._rules.claims_from_ms(events.first_received_at_ms)
            # The filter may have forgotten what lies so far back.
            redriven = np.flatnonzero(events.first_offset != events.offset)
            sought.append(Sought(redriven, 0, below_offset))
        is_repeated = np.zeros(len(hashes), np.bool_)

        def mark(known: KnownClaims | RecentClaims, rows: NDArray[np.int64]) -> None:
            is_repeated[rows[known.repeated(events, hashes, rows, since_ms, below_offset=below_offset)]] = True

        mark(self._recent, _by_hash(_places_of(sought, from_offset=self._recent.first_offset), hashes))
        # Only what the filter could not exclude gets here: old repeats, and one event in a thousand.
        for each in _joined(sought, ~is_repeated):
            where = ClaimRange(int(since_ms.min()), each.first_offset, min(each.next_offset, below_offset))
            rows = _by_hash(each.places, hashes)
            if len(rows) >= NEIGHBOURS_MIN:
                mark(self._store.neighbouring_claims(_distinct(hashes[rows]), where), rows)
                rows = rows[~is_repeated[rows]]
            mark(self._store.claims(_distinct(hashes[rows]), where), rows)
        return Claims(is_repeated, since_ms)

    def claim(self, settled: SettledEvents, last_ms: int) -> None:
        """Remember what a step counts, which was received until `last_ms`, and forget what left the window by then.

        The store need not have it yet: until it has, its claims are found among the recent ones.
        """
        self._recent.add(settled)
        with self._lock:
            self._filter.add(settled.claimed_hashes, last_ms, *settled.offsets)
            self._filter.forget(self._rules.looks_back_to_ms(last_ms))
            self._unsaved += len(settled.claimed_hashes)

    def complete(self, checkpoint: Checkpoint) -> None:
        """All claims below the checkpoint, which is durable, were made."""
        with self._lock:
            self._complete = checkpoint

    def save(self, *, everything: bool = False) -> None:
        """Keep the filter for the next start if enough has come to it since the last time: a quarter of its newest
        segment, so that keeping it costs 8 bytes of writing for each claim. `everything`: also when it is less.

        Raises StorageFull or Unavailable: what was kept before is kept.
        """
        if self._kept is None:
            return
        with self._lock:
            due = 1 if everything else max(self._filter.newest_capacity // 4, 1)
            if not self._is_filled or self._unsaved < due:
                return
            unsaved, self._unsaved = self._unsaved, 0
            complete, filter = self._complete, self._filter
            image = FilterImage(complete.next_offset, complete.received_at_ms, filter.since_ms, filter.images())
        try:
            self._kept.save(image)
        except BaseException:
            with self._lock:
                self._unsaved += unsaved
            raise

    def _sought(self, hashes: NDArray[np.uint64], below_offset: int) -> list[Sought]:
        with self._lock:
            if self._is_filled:
                return self._filter.sought(hashes)
        # A filter that is not filled yet has seen nothing, and would exclude everything.
        return [Sought(np.arange(len(hashes)), 0, below_offset)]


def _by_hash(places: NDArray[np.int64], hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """In the order in which claims are: in a storm of repeats most of the time went into jumping about in them."""
    return places[order_of(hashes[places])]


def _distinct(ascending: NDArray[np.uint64]) -> NDArray[np.uint64]:
    is_first = np.ones(len(ascending), np.bool_)
    is_first[1:] = ascending[1:] != ascending[:-1]
    return ascending[is_first]


def _places_of(sought: Sequence[Sought], *, from_offset: int) -> NDArray[np.int64]:
    """Of all hashes that may stand at the offset or behind it."""
    places = [each.places for each in sought if each.next_offset > from_offset]
    return places[0] if len(places) == 1 else np.unique(np.concatenate([np.empty(0, np.int64), *places]))


def _joined(sought: Sequence[Sought], is_open: NDArray[np.bool_]) -> list[Sought]:
    """What is still open of it; few of them together, since asking the store takes as long as looking for some tens."""
    left = [replace(each, places=each.places[is_open[each.places]]) for each in sought]
    many = [each for each in left if len(each.places) > TOGETHER_MAX]
    few = [each for each in left if 0 < len(each.places) <= TOGETHER_MAX]
    if few:
        first_offset, next_offset = min(each.first_offset for each in few), max(each.next_offset for each in few)
        many.append(Sought(_places_of(few, from_offset=0), first_offset, next_offset))
    return many
