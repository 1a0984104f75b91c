"""The thread that keeps reporting errors."""

from collections.abc import Callable
from typing import Final

from streamgauge.engine.error_reports import ErrorReports
from streamgauge.engine.worker import Worker

# How often it asks whether a window has ended.
_IDLE_SECONDS: Final = 0.25


class ErrorReporting(Worker):
    def __init__(self, reports: ErrorReports, *, on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__("reports", on_fatal)
        self._reports = reports

    def step(self) -> float:
        return 0 if self._reports.run_once() else _IDLE_SECONDS
