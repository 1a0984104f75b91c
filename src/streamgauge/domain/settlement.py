"""Settling fates: of all events with one identifier, the first that can be counted counts; later ones are duplicates.

Only a counted event claims its identifier, so a corrected resend of a rejected event counts.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.fate import NO_REJECTION, Fate
from streamgauge.domain.identifier_hash import order_of
from streamgauge.domain.received_events import ReceivedEvents

# Columns carry a fate as its position here.
SETTLED_FATES: Final = (Fate.COUNTED, Fate.DUPLICATE, Fate.REJECTED)
COUNTED, DUPLICATE, REJECTED = range(len(SETTLED_FATES))

_NOBODY: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Claims:
    """One entry per event. `by_earlier`: it repeats one that was counted before this range.

    `since_ms`: of this range it repeats what was counted at that moment of receipt or later.
    """

    by_earlier: NDArray[np.bool_]
    since_ms: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Settlement:
    """`fate` has one entry per event; `order` lists the events by hash, then log order, as the store keeps them."""

    fate: NDArray[np.uint8]
    order: NDArray[np.int64]


def settle(events: ReceivedEvents, code: NDArray[np.uint8], hashes: NDArray[np.uint64], claims: Claims) -> Settlement:
    """The fate of each event. `hashes` are those of the identifiers."""
    order = order_of(hashes)
    group_starts = _group_starts(events, hashes, order)
    if group_starts is None:
        order, group_starts = _regrouped(events, hashes)
    received_at_ms = events.received_at_ms
    if len(order) and claims.since_ms.max() > received_at_ms[0]:
        fate = _one_by_one(order, group_starts, received_at_ms, code, claims)
    else:
        fate = _within_one_window(order, group_starts, code, claims.by_earlier)
    return Settlement(fate, order)


def _within_one_window(
    order: NDArray[np.int64], group_starts: NDArray[np.int64], code: NDArray[np.uint8], claimed: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """When no claim of these events ends among them: every step of the applier."""
    if native.compiled is not None:
        fate = np.empty(len(order), np.uint8)
        native.compiled.settle(order, group_starts, code, claimed, fate)
        return fate
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
    return fate


def _one_by_one(
    order: NDArray[np.int64],
    group_starts: NDArray[np.int64],
    received_at_ms: NDArray[np.int64],
    code: NDArray[np.uint8],
    claims: Claims,
) -> NDArray[np.uint8]:
    """When one may: what waited longer than the window and is judged ahead, a few identifiers at a time."""
    fate = np.full(len(order), REJECTED, np.uint8)
    for group in np.split(order, group_starts[1:]):
        claimed_ms = -1
        for row in group:
            if claims.by_earlier[row] or claimed_ms >= max(claims.since_ms[row], 0):
                fate[row] = DUPLICATE
            elif code[row] == NO_REJECTION:
                fate[row] = COUNTED
                claimed_ms = received_at_ms[row]
    return fate


def _group_starts(
    events: ReceivedEvents, hashes: NDArray[np.uint64], order: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Where in `order` a new identifier begins; None when two different identifiers share a hash."""
    in_order = hashes.take(order)
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
