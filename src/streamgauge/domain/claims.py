"""Claims: events that counted, whose identifiers nothing else may count under. Columns, so that a storm of repeats is
compared as fast as anything else is judged."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.column_groups import bools_of, milliseconds_of, one_chunk
from streamgauge.domain.identifier_hash import order_of
from streamgauge.domain.received_events import ReceivedEvents

CLAIM_SCHEMA: Final = pa.schema(
    [
        pa.field("account", pa.string()),
        pa.field("livemode", pa.bool_()),
        pa.field("identifier", pa.string()),
        pa.field("received_at", pa.timestamp("ms", "UTC")),
        pa.field("log_offset", pa.uint64()),
    ]
)


@dataclass(frozen=True, slots=True)
class ClaimRange:
    """Claims that were received at `since_ms` or later and stand in the log at [from_offset, below_offset)."""

    since_ms: int
    from_offset: int
    below_offset: int


@dataclass(frozen=True, slots=True)
class KnownClaims:
    """Claims by the hash of their identifiers: `hashes` ascend, and the claim of each is that of `rows` in `events`
    (the columns of CLAIM_SCHEMA, words plain or numbered). One identifier may have several."""

    hashes: NDArray[np.uint64]
    rows: NDArray[np.int64]
    events: pa.Table

    @classmethod
    def of(cls, events: pa.Table, hashes: NDArray[np.uint64]) -> "KnownClaims":
        """All of `events`, with their hashes."""
        rows = order_of(hashes)
        return cls(hashes[rows], rows, events)

    def __len__(self) -> int:
        return len(self.hashes)

    def repeated(
        self,
        events: ReceivedEvents,
        hashes: NDArray[np.uint64],
        rows: NDArray[np.int64],
        since_ms: NDArray[np.int64],
        *,
        below_offset: int,
    ) -> NDArray[np.bool_]:
        """For each of these rows of `events` whether it repeats a claim of its tenant and identifier that was received
        at `since_ms` or later (an entry for each event) and stands below the offset.

        Quick when `rows` are in the order of their hashes, as then each is looked for near the one before.
        """
        found = np.zeros(len(rows), np.bool_)
        open_rows = np.arange(len(rows))
        at = np.searchsorted(self.hashes, hashes[rows])
        while True:  # as often as claims share a hash, which is once for nearly all
            is_hit = at < len(self.hashes)
            is_hit[is_hit] = self.hashes[at[is_hit]] == hashes[rows[open_rows[is_hit]]]
            open_rows, at = open_rows[is_hit], at[is_hit]
            if not len(open_rows):
                return found
            found[open_rows] |= self._are_repeated(self.rows[at], events, rows[open_rows], since_ms, below_offset)
            at = at + 1

    def _are_repeated(
        self,
        places: NDArray[np.int64],
        events: ReceivedEvents,
        rows: NDArray[np.int64],
        since_ms: NDArray[np.int64],
        below_offset: int,
    ) -> NDArray[np.bool_]:
        """Whether the claim at each place is repeated by the event in the same row."""
        claim = self.events.take(pa.array(places))
        tenant = events.tenant[rows]
        accounts = pa.array([each.account_id for each in events.tenants], pa.string()).take(pa.array(tenant))
        modes = np.array([each.livemode for each in events.tenants])[tenant]
        same_name = pc.equal(claim["identifier"], events.identifier.take(pa.array(rows)))
        same_account = pc.equal(claim["account"].cast(pa.string()), accounts)
        return np.asarray(
            bools_of(same_name)
            & bools_of(same_account)
            & (bools_of(claim["livemode"]) == modes)
            & (milliseconds_of(claim["received_at"]) >= since_ms[rows])
            & (one_chunk(claim["log_offset"]).to_numpy() < below_offset)
        )
