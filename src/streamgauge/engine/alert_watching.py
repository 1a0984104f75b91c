"""The thread that keeps watching alerts."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from streamgauge.domain.errors import Corrupt, Overloaded, Unavailable
from streamgauge.engine.alert_watch import AlertWatch

logger = logging.getLogger(__name__)

# How often it asks whether more was applied: part of the time until an alert fires.
_IDLE_SECONDS: Final = 0.05
# After a look it rests so many times as long as that took: a tenth of a core, and under load few looks at much each.
# But no longer than this, since an alert is to fire within a second.
_REST_FACTOR: Final = 9
_REST_SECONDS_MAX: Final = 0.6
_RETRY_SECONDS: Final = 1.0


class AlertWatching:
    """Repeats `AlertWatch.run_once` in a thread of its own. What passes with time is tried again; damaged data ends
    it, as it ends applying. For anything else `on_fatal` is called: the process should end."""

    def __init__(self, watch: AlertWatch, *, on_fatal: Callable[[BaseException], None]) -> None:
        self._watch = watch
        self._on_fatal = on_fatal
        self._stopping = threading.Event()
        self._is_waiting = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """To the end of a step under way. The next start goes on at the mark."""
        self._stopping.set()
        if self._thread.ident is not None:  # a start that was refused stops what never ran
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._stopping.wait(self._step())
        except Corrupt as error:
            logger.critical("watching alerts stopped: %s", error)
        except BaseException as error:
            logger.critical("watching alerts failed", exc_info=True)
            self._on_fatal(error)
            raise

    def _step(self) -> float:
        """Look once; how many seconds to wait until the next time."""
        began = time.monotonic()
        try:
            has_looked = self._watch.run_once()
        except (Overloaded, Unavailable) as error:
            if not self._is_waiting:
                logger.error("watching alerts waits: %s", error)
            self._is_waiting = True
            return _RETRY_SECONDS
        self._is_waiting = False
        if not has_looked:
            return _IDLE_SECONDS
        return min(_REST_FACTOR * (time.monotonic() - began), _REST_SECONDS_MAX)
