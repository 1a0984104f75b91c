"""The thread that drops what is older than the retention."""

from collections.abc import Callable
from typing import Final

from streamgauge.engine.applying import Applying
from streamgauge.engine.retention import Retention
from streamgauge.engine.worker import Worker

_LOOK_SECONDS: Final = 3_600.0
# Between two portions of the log, so that appends come in between.
_REST_SECONDS: Final = 0.05


class Retaining(Worker):
    """Between steps of the applier, so that nothing is dropped while rollups are made anew from it."""

    def __init__(self, retention: Retention, applying: Applying, *, on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__("retention", on_fatal)
        self._retention = retention
        self._applying = applying

    def step(self) -> float:
        dropped: list[bool] = []

        def portion() -> bool:
            dropped.append(self._retention.run_once())
            return False

        self._applying.between_steps(portion).result()
        return _REST_SECONDS if dropped[0] else _LOOK_SECONDS
