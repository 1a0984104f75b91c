"""What the folder's owner asks of a running server: rollups and filter made anew, a snapshot to verify.

Both happen between steps of the applier, so that nothing is half applied. Events are accepted and queries answered
meanwhile; what is applied waits for at most one portion at a time.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from streamgauge.domain.errors import Unavailable
from streamgauge.engine.applying import Applying
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Checkpoint, Progress
from streamgauge.engine.ports.rebuild import DerivedState, OnProgress, Rollups
from streamgauge.engine.rebuilding import refuse_without_beginning

logger = logging.getLogger(__name__)

_UNDER_WAY: Final = "a rebuild is under way; wait until it has ended"


class Upkeep:
    """May be called from several threads; each call returns when all is done.

    Raises Unavailable when the server ends before, or a rebuild is under way already, and what the store raises.
    """

    def __init__(
        self,
        applying: Applying,
        log: EventLog,
        progress: Progress,
        rollups: Rollups,
        deduplication: Deduplication,
        state: DerivedState,
        snapshot: Callable[[], str],
    ) -> None:
        self._applying = applying
        self._log = log
        self._progress = progress
        self._rollups = rollups
        self._deduplication = deduplication
        self._state = state
        self._snapshot = snapshot
        self._rebuilding = threading.Lock()

    def rebuild(self, on_progress: OnProgress) -> Checkpoint:
        """Make rollups and deduplication filter anew; how far the log is applied then.

        A crash in between leaves the rollups from before, and the filter is read at each start anyway. Raises
        StartRefused when retention dropped events: their totals could not be made again.
        """
        with self._alone():
            logger.info("rebuild beside serving begins")
            portions = self._rollups.renew(self._state.sync_store)

            def portion() -> bool:
                # Retention drops between steps as well, and then not before this has ended.
                refuse_without_beginning(self._log)
                told = next(portions, None)
                if told is not None:
                    on_progress(*told)
                return told is not None

            try:
                self._between_steps(portion)
            finally:
                portions.close()
            self._between_steps(self._fill_filter)
            reached = self._progress.checkpoint()
            logger.info("rebuild beside serving complete next_offset=%d", reached.next_offset)
            return reached

    def snapshot(self) -> str:
        """Where store and progress of one moment are now, apart from those that are in use. Who asked deletes it."""
        made: list[str] = []

        def portion() -> bool:
            made.append(self._snapshot())
            return False

        self._between_steps(portion)
        return made[0]

    def _fill_filter(self) -> bool:
        self._deduplication.rebuild(self._progress.checkpoint())
        return False

    def _between_steps(self, portion: Callable[[], bool]) -> None:
        self._applying.between_steps(portion).result()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._rebuilding.acquire(blocking=False):
            raise Unavailable(_UNDER_WAY)
        try:
            yield
        finally:
            self._rebuilding.release()
