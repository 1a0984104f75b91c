"""The thread that keeps applying, and what the rest of the service may know about it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from streamgauge.domain.errors import Corrupt, DurabilityLost, Overloaded, StreamgaugeError, Unavailable
from streamgauge.engine.apply import AHEAD_ENTRIES_MIN, Applier

logger = logging.getLogger(__name__)

# How often an idle server looks for new records: part of the time until an event is visible.
_IDLE_SECONDS: Final = 0.01
_RETRY_SECONDS: Final = 1.0
# Damage is looked at again: a disk that failed to read once, or memory that flipped a bit, may give the right bytes.
_DAMAGED_SECONDS: Final = 10.0
# A step of fewer entries than this is no load, and need not be followed by as long a pause.
_LOAD_ENTRIES_MIN: Final = 1_000
# How often is looked, between two steps, whether more arrives that the next one should take along.
_LOOK_SECONDS: Final = 0.03
_WORK_ENDED: Final = "applying has ended, or is about to; see the server's log"


class Applying:
    """Repeats `Applier.run_once` in a thread of its own, after `prepare` once: events are accepted meanwhile.

    Under load steps begin at least `interval_seconds` apart, so that they are large and few, and half as far apart if
    they are small all the same or nothing more arrives; after a pause the next one begins at once, and so does one that
    is large already. What passes with time is tried again. A
    corrupt record stops applying, is logged with its place and stays in `failure` as long as it is read as it is:
    nothing is passed over. For anything else `on_fatal` is called: the process should end.

    Work that must not run beside a step is done between two of them, portion by portion (`between_steps`).
    """

    def __init__(
        self,
        applier: Applier,
        *,
        prepare: Callable[[], None],
        interval_seconds: float,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._applier = applier
        self._prepare = prepare
        self._interval_seconds = interval_seconds
        self._on_fatal = on_fatal
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="apply", daemon=True)
        self._work: deque[tuple[Callable[[], bool], Future[None]]] = deque()
        self._takes_work = True
        self._lock = threading.Lock()  # of the two above
        self.failure: StreamgaugeError | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self, drain_seconds: float) -> None:
        """Apply what is in the log, for at most `drain_seconds` (and to the end of a step under way), then stop."""
        self._deadline = time.monotonic() + drain_seconds
        self._stopping.set()
        if self._thread.ident is not None:  # a start that was refused stops what never ran
            self._thread.join()

    def between_steps(self, portion: Callable[[], bool]) -> Future[None]:
        """Call `portion` between steps, one call between two, until it says False. No step is half done meanwhile, and
        no other work begins before it has ended.

        The result says that it has, or raises what a portion raised; Unavailable when applying ends before.
        """
        ended: Future[None] = Future()
        with self._lock:
            if self._takes_work:
                self._work.append((portion, ended))
            else:
                ended.set_exception(Unavailable(_WORK_ENDED))
        return ended

    def end_work(self) -> None:
        """Take no more work, and leave what is begun where it is: before the end, which need not wait for it."""
        with self._lock:
            self._takes_work = False

    def _run(self) -> None:
        try:
            self._repeat()
        finally:
            self.end_work()
            self._leave_work(_WORK_ENDED)

    def _repeat(self) -> None:
        try:
            self._prepare()
            while time.monotonic() < self._deadline and self._step():
                pass
        except Corrupt as error:
            self.failure = error
            logger.critical("applying stopped: %s", error)
        except BaseException as error:
            logger.critical("applying failed", exc_info=True)
            self._on_fatal(error)
            raise

    def _step(self) -> bool:
        """Apply once and wait as long as is due; False when there is nothing more to do."""
        began = time.monotonic()
        if not self._takes_work:
            self._leave_work(_WORK_ENDED)
        try:
            applied = self._applier.run_once()
        except (Overloaded, Unavailable) as error:
            if self.failure is None:
                logger.error("applying waits: %s", error)
            self.failure = error
            return not self._stopping.wait(_RETRY_SECONDS)
        except Corrupt as error:
            if str(error) != str(self.failure):
                logger.critical("applying stopped: %s", error)
            self.failure = error
            self._leave_work(str(error))
            return not self._stopping.wait(_DAMAGED_SECONDS)
        if isinstance(self.failure, Corrupt):
            logger.warning("applying goes on: what was read as damaged is not")
        self.failure = None
        if self._stopping.is_set():
            return applied > 0
        self._work_on()
        if applied:
            self._rest(began, is_load=applied >= _LOAD_ENTRIES_MIN)
        else:
            self._stopping.wait(_IDLE_SECONDS)
        return True

    def _rest(self, began: float, *, is_load: bool) -> None:
        """Until the next step is due, after one that began then: sooner when it would not become larger any more, or
        is large already."""
        soonest, due = began + self._interval_seconds / 2, began + self._interval_seconds / (1 if is_load else 2)
        waiting = -1
        while not self._stopping.is_set() and (now := time.monotonic()) < due:
            seen = waiting
            try:
                waiting = self._applier.waiting
            except (Corrupt, Overloaded, Unavailable):
                return  # the next step meets the same, and says so
            if waiting >= AHEAD_ENTRIES_MIN or (waiting == seen and now >= soonest):
                return
            self._stopping.wait(min(now + _LOOK_SECONDS, due) - now)

    def _leave_work(self, why: str) -> None:
        while self._work:
            self._work.popleft()[1].set_exception(Unavailable(why))

    def _work_on(self) -> None:
        """After a step that succeeded: only then nothing of it is left to do."""
        if not self._work:
            return
        portion, ended = self._work[0]
        try:
            if portion():
                return
        except BaseException as error:
            self._work.popleft()
            ended.set_exception(error)
            if isinstance(error, StreamgaugeError) and not isinstance(error, DurabilityLost):
                return
            raise
        self._work.popleft()
        ended.set_result(None)
