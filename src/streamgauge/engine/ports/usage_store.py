"""The usage store: every event with its fate, and the rollups that summaries are read from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation, CountedEvent
from streamgauge.domain.claims import ClaimRange, KnownClaims
from streamgauge.domain.meter import EventTimeWindow, Meter
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.domain.summary import Range


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryQuery:
    """Which windows of one customer's usage are wanted.

    `range` is aligned. Without `grouping` it is one window. The newest `limit` windows are answered.
    """

    meter: Meter
    customer_id: str
    range: Range
    grouping: EventTimeWindow | None
    limit: int


@dataclass(frozen=True, slots=True)
class WindowTotal:
    """The value of the meter's formula over one window that has at least one event."""

    window: Range
    value: Decimal


class UsageStore(Protocol):
    """Raises Unavailable when the store is away, StorageFull when it has no room. A call that failed is repeated as it
    was, with `again`."""

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        """Store the events of a step and fold them into rollups; both would survive a power cut on return.

        `step` is the offset in the log at which the step begins. Steps come in order, and the next one only after
        this one is whole. `again`: the same call may have been cut anywhere before, by a crash or an error; what of
        it is there is not stored again. Without it the caller knows that nothing of the step is there.
        """

    def cancel(self, cancellations: Sequence[Cancellation], *, step: int, again: bool = False) -> None:
        """Take these events out of every total, exactly, for every formula; they stay stored, with their claims.

        Durable on return; `step` and `again` as in `insert`, which comes first when a step has both. No event is
        cancelled twice: the caller has looked.
        """

    def claims(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        """The counted events with one of these hashes: the narrower `where` is, the quicker.

        Several claims of one identifier are possible when one fell out of the deduplication window before the next.
        """

    def neighbouring_claims(self, hashes: NDArray[np.uint64], where: ClaimRange) -> KnownClaims:
        """Some of `claims`, those that stand together in the log, what a client sent at one time and sends again; and
        others that stand between. Of many hashes they are found much sooner; what is not found must be asked for."""

    def counted(self, hashes: NDArray[np.uint64], *, since_ms: int, below_offset: int) -> Sequence[CountedEvent]:
        """Like `claims`, with all that a cancellation must know. Cancellations logged at or after `below_offset` are
        not seen, so that a step that is redone finds what it found the first time."""

    def claimed_hashes(self, *, since_ms: int, from_offset: int = 0) -> Iterator[tuple[NDArray[np.uint64], int]]:
        """Chunks of hashes of all counted events received at or after `since_ms`, and perhaps of some more of that
        day, logged at or after `from_offset`, with the latest `received_at` (ms) in the chunk, or a later one of its
        day, oldest first: what the deduplication filter is rebuilt from."""

    def count_events(self) -> int:
        """How many events are stored, whatever their fate."""

    def count_claimed(self, *, since_ms: int, from_offset: int = 0) -> int:
        """How many hashes `claimed_hashes` gives, for a progress bar."""

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        """Newest window first; windows without an event are left out."""

    def events_of(self, tenant: Tenant, identifier: str, identifier_hash: int) -> Sequence[StoredEvent]:
        """Every stored event with this identifier, in log order; a counted one that was cancelled has that status."""

    def close(self) -> None: ...
