"""Whose usage the latest steps touched, handed from the applier to a watch that follows it."""

import threading
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from streamgauge.domain.cancellation import Cancellation
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.domain.touched_usage import Touched, added_up, touched_by
from streamgauge.engine.ports.progress import Intent

# Some 100 bytes each. A watch looks twice a second; when it is far behind, it asks the store.
_ROWS_MAX: Final = 500_000


@dataclass(frozen=True, slots=True)
class _Wanted:
    meters: frozenset[str] = frozenset()
    by_day: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Step:
    range: Intent
    rows: pa.Table


class RecentlyTouched:
    """What the applier had in its hands anyway need not be looked for in the store, which took three times as long.

    Kept are whole steps that follow each other, of the meters that the watch wants; nothing while it wants none.
    """

    def __init__(self, *, rows_max: int = _ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._wanted = _Wanted()
        self._steps: deque[_Step] = deque()
        self._changing = threading.Lock()

    def want(self, meters: Collection[str], by_day: Collection[str]) -> None:
        """From now on these; what was kept for others is forgotten."""
        wanted = _Wanted(frozenset(meters), frozenset(by_day))
        with self._changing:
            if wanted != self._wanted:
                self._wanted = wanted
                self._steps.clear()

    def add(self, step: Intent, settled: SettledEvents | None, cancellations: Sequence[Cancellation]) -> None:
        """A step that is in the store, before the checkpoint says so; perhaps once more."""
        wanted = self._wanted
        if not wanted.meters:
            return
        rows = touched_by(settled, cancellations, wanted.meters, wanted.by_day)
        with self._changing:
            if wanted is not self._wanted:
                return
            if self._steps and self._steps[-1].range.next_offset != step.first_offset:
                self._steps.clear()
            self._steps.append(_Step(step, rows))
            while sum(len(each.rows) for each in self._steps) > self._rows_max:
                self._steps.popleft()

    def between(self, first_offset: int, next_offset: int) -> Sequence[Touched] | None:
        """As `UsageWatch.touched` has it; None when these steps are not exactly that part of the log. What lies before
        it is forgotten."""
        with self._changing:
            while self._steps and self._steps[0].range.next_offset <= first_offset:
                self._steps.popleft()
            steps = [each for each in self._steps if each.range.next_offset <= next_offset]
        if not steps or steps[0].range.first_offset != first_offset or steps[-1].range.next_offset != next_offset:
            return None
        return added_up(each.rows for each in steps)
