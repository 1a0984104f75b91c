"""The newest claims, exactly as the store has them, in memory.

A repeat mostly follows its first event soon: a client's retry. Asking the store for one costs some 60 µs, whatever its
tables look like, because every row of the answer is read from a place of its own.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.column_groups import bools_of
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.settled_events import SettledEvents

# About 60 bytes each.
RECENT_CLAIMS_MAX: Final = 2_000_000

_KEPT: Final = ("account", "livemode", "identifier", "received_at", "log_offset")


@dataclass(frozen=True, slots=True)
class _Step:
    """The claims of one step, by hash: `rows` of `events` (columns of SETTLED_SCHEMA)."""

    hashes: NDArray[np.uint64]
    rows: NDArray[np.int64]
    events: pa.Table


class RecentClaims:
    """Up to `claims_max` of the newest claims, and all of the last step; whole steps are forgotten. What it finds
    is claimed; what it does not find may be claimed by an older step. May be asked from several threads at once."""

    def __init__(self, claims_max: int = RECENT_CLAIMS_MAX) -> None:
        self._claims_max = claims_max
        self._steps: deque[_Step] = deque()
        self._count = 0
        self._lock = threading.Lock()

    def add(self, settled: SettledEvents) -> None:
        """What counted in a step."""
        rows = settled.by_hash[settled.is_counted[settled.by_hash]]
        step = _Step(settled.hashes[rows], rows, settled.table.select(_KEPT))
        with self._lock:
            self._steps.append(step)
            self._count += len(rows)
            # Never the newest: it is judged by before the store has it.
            while self._count > self._claims_max and len(self._steps) > 1:
                self._count -= len(self._steps.popleft().rows)

    def clear(self) -> None:
        with self._lock:
            self._steps.clear()
            self._count = 0

    def repeated(
        self,
        events: ReceivedEvents,
        hashes: NDArray[np.uint64],
        rows: NDArray[np.int64],
        since_ms: NDArray[np.int64],
        *,
        below_offset: int,
    ) -> NDArray[np.bool_]:
        """For each of these rows of `events` whether a claim is known here that it repeats: of its tenant and
        identifier, received at `since_ms` or later (an entry for each event), and below the offset."""
        found = np.zeros(len(rows), np.bool_)
        with self._lock:
            steps = list(self._steps)
        for step in steps:
            open_rows = np.flatnonzero(~found)
            at = np.searchsorted(step.hashes, hashes[rows[open_rows]])
            while True:  # as often as different identifiers of the step share a hash, which is once
                is_hit = at < len(step.hashes)
                is_hit[is_hit] = step.hashes[at[is_hit]] == hashes[rows[open_rows[is_hit]]]
                open_rows, at = open_rows[is_hit], at[is_hit]
                if not len(open_rows):
                    break
                places = step.rows[at]
                found[open_rows] |= _is_repeated(step.events, places, events, rows[open_rows], since_ms, below_offset)
                at = at + 1
        return found


def _is_repeated(
    claims: pa.Table,
    places: NDArray[np.int64],
    events: ReceivedEvents,
    rows: NDArray[np.int64],
    since_ms: NDArray[np.int64],
    below_offset: int,
) -> NDArray[np.bool_]:
    """Whether the claim at each place is repeated by the event in the same row."""
    claim = claims.take(pa.array(places))
    tenant = events.tenant[rows]
    accounts = pa.array([each.account_id for each in events.tenants], pa.string()).take(pa.array(tenant))
    modes = np.array([each.livemode for each in events.tenants])[tenant]
    same_name = pc.equal(claim["identifier"], events.identifier.take(pa.array(rows)))
    same_account = pc.equal(claim["account"].cast(pa.string()), accounts)
    return np.asarray(
        bools_of(same_name)
        & bools_of(same_account)
        & (bools_of(claim["livemode"]) == modes)
        & (claim["received_at"].cast(pa.int64()).to_numpy() >= since_ms[rows])
        & (claim["log_offset"].to_numpy() < below_offset)
    )
