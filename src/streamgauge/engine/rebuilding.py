"""Rebuilding what the log decides: rollups from the stored events, or store and progress from the log itself.

A mark says durably what is under way. It is written before anything is deleted and taken away when all is complete
again, so a rebuild that was killed is taken up by the next start of a server, before it serves, and by the next
rebuild: nothing that is half built is ever served as whole. The deduplication filter lives in memory and is read from
the store at each start, so it needs no rebuild of its own.
"""

import logging
from typing import Final

from streamgauge.domain.errors import Corrupt, StartRefused
from streamgauge.engine.apply import Applier, contents_of
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.rebuild import DerivedState, OnProgress, Rollups, Stage

logger = logging.getLogger(__name__)

_READ_EVENTS: Final = 200_000


def is_outdated(state: DerivedState, store_format: int) -> bool:
    """Whether the store is of an older format. Raises StartRefused when it is of a newer one."""
    found = state.store_format()
    if found is not None and found > store_format:
        raise StartRefused(
            f"the usage store has format {found}, and this program knows up to {store_format}; start the version that "
            "wrote it, or a newer one"
        )
    return found is not None and found < store_format


def refuse_without_beginning(log: EventLog) -> None:
    """Raises StartRefused when records were dropped: totals that they went into cannot be made again."""
    if offset := log.beginning().offset:
        raise StartRefused(
            f"the event log begins at offset {offset}, since older records were dropped (retention_days); the totals "
            "of that time are in the usage store alone and would be lost, so nothing is rebuilt and nothing was changed"
        )


def empty(state: DerivedState, store_format: int, log: EventLog) -> None:
    """Delete store and progress if that is what a rebuild is at, or begin one because the store is of an older format:
    the log has everything. Before either is opened. Raises StartRefused when the log has not."""
    if state.stage() is None and is_outdated(state, store_format):
        refuse_without_beginning(log)
        logger.info("store outdated format=%s", state.store_format())
        state.mark(Stage.EMPTYING)
    if state.stage() is Stage.EMPTYING:
        state.delete()
        state.mark(Stage.APPLYING)


def check_that_the_log_is_whole(log: EventLog, applied: int) -> None:
    """Before anything is deleted that only the log can bring back: read all of it.

    Raises Corrupt when a record cannot be read, or when it ends before the offset up to which it was applied.
    """
    offset = 0
    while records := log.read(offset, events_max=_READ_EVENTS):
        for record in records:
            contents_of(record)
        offset = records[-1].next_offset
    if offset < applied:
        raise Corrupt(f"event log, offset {offset}: it ends here, and events up to {applied} were applied")


class Rebuilding:
    """Of a folder whose parts are open and that nobody else applies to."""

    def __init__(
        self,
        state: DerivedState,
        log: EventLog,
        progress: Progress,
        rollups: Rollups,
        applier: Applier,
        deduplication: Deduplication,
    ) -> None:
        self._state = state
        self._log = log
        self._progress = progress
        self._rollups = rollups
        self._applier = applier
        self._deduplication = deduplication

    def begin_rollups(self) -> None:
        """Mark the rollups as being rebuilt; a step that a crash left behind is completed before: redone after the
        rebuild it would be folded in twice, since its events would be in the new rollups already."""
        if self._progress.intent() is not None:
            self._deduplication.rebuild(self._progress.checkpoint())
            self._applier.run_once()
        self._state.mark(Stage.ROLLUPS)

    def finish(self, on_progress: OnProgress | None = None) -> bool:
        """Do what the mark says, to the end; False when there is none. `on_progress` gets (entries done, in all)."""
        stage = self._state.stage()
        if stage is None:
            return False
        logger.info("rebuild stage=%s", stage)
        if stage is Stage.ROLLUPS:
            self._rollups.rebuild(self._state.sync_store, on_progress)
        else:
            self._apply(on_progress)
        self._state.unmark()
        logger.info("rebuild complete next_offset=%d", self._progress.checkpoint().next_offset)
        return True

    def _apply(self, on_progress: OnProgress | None) -> None:
        end = self._log.end_offset()
        self._deduplication.rebuild(self._progress.checkpoint())
        while self._applier.run_once():
            if on_progress is not None:
                on_progress(min(self._applier.checkpoint.next_offset, end), end)
