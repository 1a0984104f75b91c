"""Lists of summaries from one page to the next, so that a walk through a month asks the store once.

A list is given back only while nothing more was applied since it was read: what is reported as visible is in every page
that is asked for after that.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from streamgauge.domain.summary import SummaryRow
from streamgauge.engine.ports.usage_store import WindowTotal

WALKS_MAX: Final = 32
# A month and some days of hours. Longer lists are read for each page.
ROWS_MAX: Final = 1_000
# A rebuild of rollups is not told apart, so nothing stays for long.
KEPT_SECONDS: Final = 10.0
_MADE_AT_ONCE: Final = 100


class Walk:
    """A whole list, newest first. Its rows are made as far as it is walked: each has a digest for its id."""

    def __init__(self, totals: Sequence[WindowTotal], row_of: Callable[[WindowTotal], SummaryRow]) -> None:
        self._totals = totals
        self._row_of = row_of
        self._rows: list[SummaryRow] = []
        self._places: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._totals)

    def rows(self, start: int, end: int) -> tuple[SummaryRow, ...]:
        """Those at [start, end), or as many of them as there are."""
        self._make(end)
        return tuple(self._rows[start:end])

    def place_of(self, id: str) -> int | None:
        """Where the row with this id stands; None when there is none."""
        while (place := self._places.get(id)) is None and len(self._rows) < len(self._totals):
            self._make(len(self._rows) + _MADE_AT_ONCE)
        return place

    def _make(self, end: int) -> None:
        with self._lock:
            for total in self._totals[len(self._rows) : end]:
                row = self._row_of(total)
                self._places[row.id] = len(self._rows)
                self._rows.append(row)


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

    def read(
        self, key: Hashable, totals: Callable[[], Sequence[WindowTotal]], row_of: Callable[[WindowTotal], SummaryRow]
    ) -> Walk:
        """Read the list, and keep it for its next pages."""
        applied = self._applied()  # first: what is applied meanwhile may be in the list, or not
        walk = Walk(totals(), row_of)
        if len(walk) <= ROWS_MAX:
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
