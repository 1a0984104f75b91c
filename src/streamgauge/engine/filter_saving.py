"""The thread that keeps the deduplication filter for the next start."""

import logging
from collections.abc import Callable
from typing import Final

from streamgauge.domain.errors import Overloaded, Unavailable
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.worker import Worker

logger = logging.getLogger(__name__)

# How often it asks whether enough has come to it.
_IDLE_SECONDS: Final = 1.0


class FilterSaving(Worker):
    """Beside the applier, which must not wait for it to be synced."""

    def __init__(self, deduplication: Deduplication, *, on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__("filter", on_fatal)
        self._deduplication = deduplication

    def step(self) -> float:
        self._deduplication.save()
        return _IDLE_SECONDS

    def close(self) -> None:
        """Stop, and keep the last of it; without, the next start reads it from the store."""
        self.stop()
        try:
            self._deduplication.save(everything=True)
        except (Overloaded, Unavailable) as error:
            logger.warning("filter not kept: %s", error)
