"""The thread that keeps watching alerts."""

import time
from collections.abc import Callable
from typing import Final

from streamgauge.engine.alert_watch import AlertWatch
from streamgauge.engine.worker import Worker

# How often it asks whether more was applied: part of the time until an alert fires. Each time costs 2 ms of CPU, which
# at 20 times a second was a third of what alerts cost.
_IDLE_SECONDS: Final = 0.15
# The same while no alert is active: whether there is one now. Each time costs a query of the control store.
_UNWATCHED_SECONDS: Final = 0.25
# After a look it rests so many times as long as that took: a tenth of a core, and under load few looks at much each.
# But no longer than this, since an alert is to fire within a second.
_REST_FACTOR: Final = 9
_REST_SECONDS_MAX: Final = 0.6


class AlertWatching(Worker):
    def __init__(self, watch: AlertWatch, *, on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__("alerts", on_fatal)
        self._watch = watch

    def step(self) -> float:
        began = time.monotonic()
        looked = self._watch.run_once()
        # Also when it only read alerts that were changed: somebody may be creating thousands, one by one.
        rest_seconds = min(_REST_FACTOR * (time.monotonic() - began), _REST_SECONDS_MAX)
        if looked:
            return rest_seconds
        return max(rest_seconds, _IDLE_SECONDS if self._watch.is_watching else _UNWATCHED_SECONDS)
