"""The newest claims, exactly as the store has them, in memory.

A repeat mostly follows its first event soon: a client's retry. Asking the store for one costs some 60 µs, whatever its
tables look like, because every row of the answer is read from a place of its own.
"""

import threading
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamgauge.domain.claims import CLAIM_SCHEMA, KnownClaims
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.settled_events import SettledEvents

# About 60 bytes each.
RECENT_CLAIMS_MAX: Final = 2_000_000


class RecentClaims:
    """Up to `claims_max` of the newest claims, and all of the last step; whole steps are forgotten. What it finds
    is claimed; what it does not find may be claimed by an older step. May be asked from several threads at once."""

    def __init__(self, claims_max: int = RECENT_CLAIMS_MAX) -> None:
        self._claims_max = claims_max
        self._steps: deque[tuple[int, KnownClaims]] = deque()  # each with the offset at which it begins
        self._count = 0
        self._lock = threading.Lock()

    def add(self, settled: SettledEvents) -> None:
        """What counted in a step."""
        rows = settled.by_hash[settled.is_counted[settled.by_hash]]
        step = KnownClaims(settled.hashes[rows], rows, settled.table.select(CLAIM_SCHEMA.names))
        with self._lock:
            self._steps.append((settled.offsets[0], step))
            self._count += len(step)
            # Never the newest: it is judged by before the store has it.
            while self._count > self._claims_max and len(self._steps) > 1:
                self._count -= len(self._steps.popleft()[1])

    def clear(self) -> None:
        with self._lock:
            self._steps.clear()
            self._count = 0

    @property
    def first_offset(self) -> int:
        """No claim here stands before it in the log."""
        with self._lock:
            return self._steps[0][0] if self._steps else 0

    def repeated(
        self,
        events: ReceivedEvents,
        hashes: NDArray[np.uint64],
        rows: NDArray[np.int64],
        since_ms: NDArray[np.int64],
        *,
        below_offset: int,
    ) -> NDArray[np.bool_]:
        """For each of these rows of `events` whether a claim is known here that it repeats (`KnownClaims.repeated`)."""
        found = np.zeros(len(rows), np.bool_)
        with self._lock:
            steps = [step for _, step in self._steps]
        for step in steps:
            is_open = ~found
            found[is_open] = step.repeated(events, hashes, rows[is_open], since_ms, below_offset=below_offset)
        return found
