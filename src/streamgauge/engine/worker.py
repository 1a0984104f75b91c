"""A thread that repeats one step, for what follows the applier or waits for something to do."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from streamgauge.domain.errors import Corrupt, Overloaded, Unavailable

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 1.0


class Worker(ABC):
    """Repeats `step` in a thread of its own. What passes with time is tried again; damaged data ends it, as it ends
    applying. For anything else `on_fatal` is called: the process should end."""

    def __init__(self, name: str, on_fatal: Callable[[BaseException], None]) -> None:
        self._name = name
        self._on_fatal = on_fatal
        self._stopping = threading.Event()
        self._is_waiting = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def step(self) -> float:
        """Do what there is to do; how many seconds to rest then. Overloaded or Unavailable: it is tried again."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """To the end of a step under way. The next start goes on where this one ended."""
        self._stopping.set()
        if self._thread.ident is not None:  # a start that was refused stops what never ran
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._stopping.wait(self._rest())
        except Corrupt as error:
            logger.critical("worker stopped name=%s: %s", self._name, error)
        except BaseException as error:
            logger.critical("worker failed name=%s", self._name, exc_info=True)
            self._on_fatal(error)
            raise

    def _rest(self) -> float:
        try:
            rest_seconds = self.step()
        except (Overloaded, Unavailable) as error:
            if not self._is_waiting:
                logger.error("worker waits name=%s: %s", self._name, error)
            self._is_waiting = True
            return _RETRY_SECONDS
        self._is_waiting = False
        return rest_seconds
