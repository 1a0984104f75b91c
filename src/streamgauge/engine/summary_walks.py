"""Lists of summaries from one page to the next, so that a walk through a month asks the store once.

A list is given back only while nothing more was applied since it was read: what is reported as visible is in every page
that is asked for after that.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from streamgauge.domain.summary import SummaryRow

WALKS_MAX: Final = 32
# A month and some days of hours. Longer lists are read for each page.
ROWS_MAX: Final = 1_000
# A rebuild of rollups is not told apart, so nothing stays for long.
KEPT_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Walk:
    """A whole list, newest first, and where each row stands in it."""

    rows: tuple[SummaryRow, ...]
    places: dict[str, int]

    @classmethod
    def of(cls, rows: tuple[SummaryRow, ...]) -> "Walk":
        return cls(rows, {row.id: at for at, row in enumerate(rows)})


@dataclass(frozen=True, slots=True)
class _Kept:
    walk: Walk
    applied: int
    until: float


class SummaryWalks:
    """`applied` says up to which offset of the log everything is in the store."""

    def __init__(self, applied: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._applied = applied
        self._monotonic = monotonic
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, key: Hashable, rows: Callable[[], tuple[SummaryRow, ...]]) -> Walk:
        """Read the list, and keep it for its next pages."""
        applied = self._applied()  # first: what is applied meanwhile may be in the list, or not
        walk = Walk.of(rows())
        if len(walk.rows) <= ROWS_MAX:
            with self._lock:
                self._kept[key] = _Kept(walk, applied, self._monotonic() + KEPT_SECONDS)
                self._kept.move_to_end(key)
                if len(self._kept) > WALKS_MAX:
                    self._kept.popitem(last=False)
        return walk

    def continued(self, key: Hashable) -> Walk | None:
        """The list as it was read, if it would be the same now."""
        with self._lock:
            kept = self._kept.get(key)
        if kept is None or kept.until < self._monotonic() or kept.applied != self._applied():
            return None
        return kept.walk
