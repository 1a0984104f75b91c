"""The backlog: events that are acknowledged and not applied yet, and its bound."""

import threading
import time
from typing import Final

from streamgauge.domain.errors import BacklogFull
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress

_LOOK_SECONDS: Final = 0.1

# From so many events on acknowledging slows down, in proportion, until at the second number it is this much slower.
_EASY_EVENTS: Final = 500_000
_HARD_EVENTS: Final = 2_000_000
_PAUSE_SECONDS_MAX: Final = 0.15


class Backlog:
    """Looks at most ten times a second, so the bound is kept to within what arrives in that time."""

    def __init__(self, log: EventLog, progress: Progress, *, events_max: int) -> None:
        self._log = log
        self._progress = progress
        self._events_max = events_max
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._events = 0

    def events(self) -> int:
        """How many events wait. Blocks for the time of two small reads when it is due to look."""
        with self._lock:
            if self.is_due:
                checkpoint = self._progress.checkpoint()  # first: the end only grows meanwhile
                self._events = self._log.end_offset() - checkpoint.next_offset
                self._looked = time.monotonic()
            return self._events

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._looked > _LOOK_SECONDS

    def pause_seconds(self) -> float:
        """How much later to acknowledge, by what waited at the last look: applying and accepting share the machine, and
        what is acknowledged faster than it can be applied is only visible later."""
        share = (self._events - _EASY_EVENTS) / (_HARD_EVENTS - _EASY_EVENTS)
        return min(max(share, 0.0), 1.0) * _PAUSE_SECONDS_MAX

    def check(self) -> None:
        """Raises BacklogFull when the bound is reached."""
        if self.events() >= self._events_max:
            raise BacklogFull(
                f"{self._events} acknowledged events wait to be applied, which is the most that may; try again later."
            )
