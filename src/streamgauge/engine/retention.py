"""Retention: what is old enough is dropped, first from the log, then from the store; totals stay.

Everything that decides fates looks back 35 days at most: from the receipt of an event that is being applied, or from
the first receipt of one that is redriven. Days are dropped whole, counted back from the moment up to which everything
is applied, and letters whose past may be dropped before they are judged are no longer redriven. So nothing is dropped
that a later judgement could ask for.

The log comes first, and says itself where it begins: from then on it cannot give back what lies before. A crash in
between leaves days in the store that the log has no more, which the next look drops.
"""

import logging
from typing import Final

from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.retained_events import RetainedEvents

logger = logging.getLogger(__name__)

DAY_MS: Final = 24 * 3_600_000
# What a judgement looks back at the most: the longest deduplication window, and how old a timestamp may be.
LOOKS_BACK_DAYS: Final = 35
# One day more, because moments are compared that are taken one after the other; and one to redrive in.
RETENTION_DAYS_MIN: Final = LOOKS_BACK_DAYS + 2


class RetentionPeriod:
    """How long events are kept, and what follows for redriving. `days`: None keeps everything."""

    def __init__(self, log: EventLog, days: int | None) -> None:
        self._log = log
        self.days = days

    def redrivable_from_ms(self) -> int:
        """Letters that were received first before this moment cannot be redriven: an event with their identifier may
        have counted in time, and be dropped before they are judged."""
        beginning = self._log.beginning()
        from_ms = beginning.received_from_ms + LOOKS_BACK_DAYS * DAY_MS if beginning.offset else 0
        if self.days is not None:
            from_ms = max(from_ms, self._log.next_stamp_ms() - (self.days - LOOKS_BACK_DAYS - 1) * DAY_MS)
        return from_ms


class Retention:
    """Drops the days that ended `days` before the moment up to which everything is applied, portion by portion."""

    def __init__(self, log: EventLog, progress: Progress, events: RetainedEvents, clock: Clock, days: int) -> None:
        self._log = log
        self._progress = progress
        self._events = events
        self._clock = clock
        self._days = days
        # What was appended under another setting is applied before anything is dropped under this one: a redrive
        # among it may look back further than this one lets it.
        self._applied_from = log.end_offset()
        self._dropped = 0

    def run_once(self) -> bool:
        """Drop a portion of the log; or, when all of it is dropped, whole days of the store. False: nothing is left
        to drop now."""
        # The checkpoint first: when it is at the end, everything that was received before now is applied.
        now_ms = self._clock.now_ms()
        checkpoint = self._progress.checkpoint()
        if checkpoint.next_offset < self._applied_from:
            return False
        is_all_applied = checkpoint.next_offset >= self._log.end_offset()
        until_ms = now_ms if is_all_applied else checkpoint.received_at_ms
        before_ms = (until_ms // DAY_MS - self._days) * DAY_MS
        entries = self._log.drop(before_ms=before_ms, below_offset=checkpoint.next_offset)
        if entries:
            self._dropped += entries
            return True
        days = self._events.drop(before_ms)
        if days or self._dropped:
            logger.info("retention dropped entries=%d days=%d before_ms=%d", self._dropped, days, before_ms)
        self._dropped = 0
        return False
