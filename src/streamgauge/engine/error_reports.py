"""Error reports: what could not be counted is told, window by window, each event exactly once."""

import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from streamgauge.domain.error_report import VALIDATION_WINDOW_MS, ErrorReport, window_start_of
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.event_search import EventSearch
from streamgauge.engine.ports.marks import Marks
from streamgauge.engine.ports.progress import Progress

logger = logging.getLogger(__name__)

# Every rejected event below this offset was told of.
MARK: Final = "error_reports"
# And so many reports of what follows it, when there are more than one transaction takes.
TOLD_MARK: Final = "error_reports.told"
# Entries of the log that one look covers, or as many as the next window has.
LOOK_ENTRIES_MAX: Final = 1_000_000
# Reports in one transaction: nobody else can write meanwhile.
TRANSACTION_REPORTS_MAX: Final = 100

# Tells everyone of a report. Called inside of the transaction that moves the mark.
Announce = Callable[[ErrorReport], None]


class ErrorReports:
    """Follows the applier by validation windows, which are of receipt: `received_at` never goes backwards in the log,
    so a window has ended for good once something later is applied. After a pause nothing later comes by itself. Then
    the log is told never to stamp anything with a time in that window again.

    The mark is an offset, and moves in the transaction that tells of what lies below it. What lies above is looked up
    again after a crash, and is the same. It is kept with the reports, so a store that is rebuilt repeats none.
    """

    def __init__(
        self,
        control: ControlStore,
        marks: Marks,
        search: EventSearch,
        log: EventLog,
        progress: Progress,
        announce: Announce,
    ) -> None:
        self._control = control
        self._marks = marks
        self._search = search
        self._log = log
        self._progress = progress
        self._announce = announce
        self._mark: int | None = None
        # Every event from the mark on was received then or later: until a window after it is complete, there is
        # nothing to look for. Without it each look searched all that the open window has received so far.
        self._open_from_ms = 0

    def run_once(self) -> bool:
        """Tell of the next windows that are complete; False when there are none.

        Raises Overloaded, Unavailable or Corrupt: the same step can be run again.
        """
        if self._mark is None:
            self._mark, self._open_from_ms = self._marks.get(MARK) or 0, 0
        checkpoint = self._progress.checkpoint()
        # After a rebuild began, the mark is ahead of the applier.
        if self._mark >= checkpoint.next_offset:
            return False
        complete_ms = window_start_of(checkpoint.received_at_ms)
        if self._is_over(complete_ms + VALIDATION_WINDOW_MS, checkpoint.next_offset):
            complete_ms += VALIDATION_WINDOW_MS
        if complete_ms <= self._open_from_ms:
            return False
        next_offset, open_from_ms = self._end_of_look(checkpoint.next_offset, complete_ms)
        has_something = next_offset != self._mark
        if has_something:
            self._tell(self._mark, next_offset)
        self._open_from_ms = open_from_ms
        return has_something

    def _is_over(self, end_ms: int, applied_offset: int) -> bool:
        """Whether the newest window has ended and all of it is applied."""
        if self._log.next_stamp_ms() < end_ms or self._log.end_offset() > applied_offset:
            return False
        # The clock may be set back. What is appended while this is asked for shows in the end of the log.
        self._log.stamp(end_ms - 1)
        return self._log.end_offset() <= applied_offset

    def _end_of_look(self, applied_offset: int, complete_ms: int) -> tuple[int, int]:
        """The offset after the last complete window of this look, that of the mark when there is none; and when what
        follows it was received at the earliest."""
        mark = self._mark or 0
        if applied_offset - mark > LOOK_ENTRIES_MAX:
            end = mark + LOOK_ENTRIES_MAX
            last_ms = self._search.last_received_ms(mark, end)
            if last_ms is None:  # nothing but other entries
                return end, self._open_from_ms
            window_ms = window_start_of(last_ms)
            if self._search.first_received_from(window_ms, mark, end) == mark:
                window_ms += VALIDATION_WINDOW_MS
            complete_ms = min(complete_ms, window_ms)
        first_open = self._search.first_received_from(complete_ms, mark, applied_offset)
        return applied_offset if first_open is None else first_open, complete_ms

    def _tell(self, first_offset: int, next_offset: int) -> None:
        reports = [
            ErrorReport(tuple(rejections))
            for _, rejections in groupby(
                self._search.rejected(first_offset, next_offset),
                key=lambda each: (each.window_start_ms, each.tenant, each.meter_id),
            )
        ]
        told = self._marks.get(TOLD_MARK) or 0
        starts: Sequence[int] = range(told, len(reports), TRANSACTION_REPORTS_MAX) or (told,)
        self._mark = None  # until it is known what was committed
        for start in starts:
            part = reports[start : start + TRANSACTION_REPORTS_MAX]
            is_last = start == starts[-1]
            with self._control.transaction():
                for report in part:
                    self._announce(report)
                # While a store is rebuilt, fewer windows may be seen than were told of before.
                self._marks.put(TOLD_MARK, max(told - len(reports), 0) if is_last else start + len(part))
                if is_last:
                    self._marks.put(MARK, next_offset)
        self._mark = next_offset
        if reports[told:]:
            logger.info("errors reported reports=%d next_offset=%d", len(reports) - told, next_offset)
