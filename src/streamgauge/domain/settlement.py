"""Settling fates: of all events with one identifier, the first that can be counted counts; later ones are duplicates.

Only a counted event claims its identifier, so a corrected resend of a rejected event counts.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.event_block import ReceivedEvents
from streamgauge.domain.fate import NO_REJECTION, Fate

# Columns carry a fate as its position here.
SETTLED_FATES: Final = (Fate.COUNTED, Fate.DUPLICATE, Fate.REJECTED)
COUNTED, DUPLICATE, REJECTED = range(len(SETTLED_FATES))

_NOBODY: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Settlement:
    """`fate` has one entry per event; `order` lists the events by hash, then log order, as the store keeps them."""

    fate: NDArray[np.uint8]
    order: NDArray[np.int64]


def settle(
    events: ReceivedEvents, code: NDArray[np.uint8], hashes: NDArray[np.uint64], claimed: NDArray[np.bool_]
) -> Settlement:
    """The fate of each event.

    `hashes` are those of the identifiers; `claimed` says which events repeat one that was counted before this step.
    All events of one step lie within one deduplication window of each other.
    """
    order = np.argsort(hashes, kind="stable").astype(np.int64)
    group_starts = _group_starts(events, hashes, order)
    if group_starts is None:
        order, group_starts = _regrouped(events, hashes)
    can_claim = (code == NO_REJECTION) & ~claimed
    # Within a group rows are in log order, so the least row that can claim is the one that does.
    candidates = np.where(can_claim[order], order, _NOBODY)
    claimant_of_group = np.minimum.reduceat(candidates, group_starts) if len(order) else candidates
    claimant = np.empty(len(order), np.int64)
    claimant[order] = np.repeat(claimant_of_group, np.diff(np.append(group_starts, len(order))))

    rows = np.arange(len(order))
    fate = np.full(len(order), REJECTED, np.uint8)
    fate[rows == claimant] = COUNTED
    fate[(rows > claimant) | claimed] = DUPLICATE
    return Settlement(fate, order)


def _group_starts(
    events: ReceivedEvents, hashes: NDArray[np.uint64], order: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Where in `order` a new identifier begins; None when two different identifiers share a hash."""
    in_order = hashes[order]
    same_hash = np.flatnonzero(in_order[1:] == in_order[:-1])
    if len(same_hash):
        left, right = order[same_hash], order[same_hash + 1]
        same_name = pc.equal(events.identifier.take(pa.array(left)), events.identifier.take(pa.array(right)))
        if not (pc.all(same_name).as_py() and np.array_equal(events.tenant[left], events.tenant[right])):
            return None
    new = np.ones(len(order), np.bool_)
    new[same_hash + 1] = False
    return np.flatnonzero(new)


def _regrouped(events: ReceivedEvents, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order and group starts when hashes collide (about once in 10^9 steps): sort by the names themselves."""
    keys = [
        (int(number), name, int(tenant))
        for number, name, tenant in zip(hashes, events.identifier.to_pylist(), events.tenant, strict=True)
    ]
    rows = sorted(range(len(keys)), key=lambda row: (keys[row], row))
    starts = [at for at, row in enumerate(rows) if at == 0 or keys[row] != keys[rows[at - 1]]]
    return np.array(rows, np.int64), np.array(starts, np.int64)
