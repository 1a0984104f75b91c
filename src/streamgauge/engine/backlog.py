"""The backlog: events that are acknowledged and not applied yet, and its bound."""

import asyncio
import threading
import time
from typing import Final

from streamgauge.domain.errors import BacklogFull, StreamgaugeError
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress

_LOOK_SECONDS: Final = 0.1
# How long a look waits for the answer to the request that found it due: as long as most answers take, and more.
_AFTER_SECONDS: Final = 0.02

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
        self.events()
        self.check_seen()

    def check_seen(self) -> None:
        """The same by what the last look saw."""
        if self._events >= self._events_max:
            raise BacklogFull(
                f"{self._events} acknowledged events wait to be applied, which is the most that may; try again later."
            )


class BacklogBeside:
    """The backlog for requests on an event loop that do not wait for a look: it is made when they have their answer,
    and holds for those that come then. Only the first request of all waits, and one after a look that failed."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._next_look: asyncio.TimerHandle | None = None
        self._is_known = False

    def check(self) -> None:
        """Raises BacklogFull when the bound was reached, Unavailable when that cannot be told."""
        if not self._is_known:
            self._backlog.check()
            self._is_known = True
        elif self._next_look is None and self._backlog.is_due:
            self._next_look = asyncio.get_running_loop().call_later(_AFTER_SECONDS, self._look)
        self._backlog.check_seen()

    def _look(self) -> None:
        self._next_look = None
        try:
            self._backlog.events()
        except StreamgaugeError:
            self._is_known = False  # the next request looks itself, and is refused for what it meets
