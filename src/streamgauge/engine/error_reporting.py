"""The thread that keeps reporting errors."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from streamgauge.domain.errors import Corrupt, Overloaded, Unavailable
from streamgauge.engine.error_reports import ErrorReports

logger = logging.getLogger(__name__)

# How often it asks whether a window has ended.
_IDLE_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 1.0


class ErrorReporting:
    """Repeats `ErrorReports.run_once` in a thread of its own. What passes with time is tried again; damaged data ends
    it, as it ends applying. For anything else `on_fatal` is called: the process should end."""

    def __init__(self, reports: ErrorReports, *, on_fatal: Callable[[BaseException], None]) -> None:
        self._reports = reports
        self._on_fatal = on_fatal
        self._stopping = threading.Event()
        self._is_waiting = False
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

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
            logger.critical("reporting errors stopped: %s", error)
        except BaseException as error:
            logger.critical("reporting errors failed", exc_info=True)
            self._on_fatal(error)
            raise

    def _step(self) -> float:
        """Look once; how many seconds to wait until the next time."""
        try:
            has_told = self._reports.run_once()
        except (Overloaded, Unavailable) as error:
            if not self._is_waiting:
                logger.error("reporting errors waits: %s", error)
            self._is_waiting = True
            return _RETRY_SECONDS
        self._is_waiting = False
        return 0 if has_told else _IDLE_SECONDS
