"""The thread that drops what is older than the retention."""

from collections.abc import Callable
from typing import Final

from streamgauge.engine.retention import Retention
from streamgauge.engine.worker import Worker

_LOOK_SECONDS: Final = 3_600.0
# Between two portions of the log, so that appends come in between.
_REST_SECONDS: Final = 0.05


class Retaining(Worker):
    def __init__(self, retention: Retention, *, on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__("retention", on_fatal)
        self._retention = retention

    def step(self) -> float:
        return _REST_SECONDS if self._retention.run_once() else _LOOK_SECONDS
