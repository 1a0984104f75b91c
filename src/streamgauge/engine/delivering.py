"""The thread that keeps delivering, with an event loop of its own."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Final

from streamgauge.domain.errors import Overloaded, Unavailable
from streamgauge.engine.delivery import POSTS_MAX, Deliverer

logger = logging.getLogger(__name__)

# Posts that end soon after another are kept together, in one transaction.
_GATHERING_SECONDS: Final = 0.01
_RETRY_SECONDS: Final = 1.0
# While events wait to be applied. A delivery takes about a millisecond of CPU, most of it under the interpreter's lock,
# which applying needs as well: so that loses about a sixth of it at most.
_CLAIMS_WHILE_APPLYING: Final = 16
_SECONDS_WHILE_APPLYING: Final = 0.1


class Delivering:
    """Repeats `Deliverer.run_once`. What passes with time is tried again; for anything else `on_fatal` is called.

    While `is_applying` says that events wait to be applied, it takes its time.
    """

    def __init__(
        self,
        deliverer: Deliverer,
        *,
        is_applying: Callable[[], bool],
        on_fatal: Callable[[BaseException], None],
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._deliverer = deliverer
        self.counts = deliverer.counts
        self._is_applying = is_applying
        self._on_fatal = on_fatal
        self._loop_factory = loop_factory
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending = threading.Event()
        self._grace_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="deliver", daemon=True)
        self._pause_seconds = _GATHERING_SECONDS
        self._waits = False

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Something may be due. From any thread; does not block."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it ended; what is due is found at the next start
                loop.call_soon_threadsafe(self._deliverer.wake)

    def stop(self, grace_seconds: float) -> None:
        """Begin nothing more, wait for posts under way for at most so long, and keep what came of them."""
        self._grace_seconds = grace_seconds
        self._ending.set()
        if self._thread.ident is not None:  # a start that was refused stops what never ran
            self.wake()
            self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._deliver())
        except BaseException as error:
            logger.critical("delivering failed", exc_info=True)
            self._on_fatal(error)
            raise

    async def _deliver(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            while not self._ending.is_set():
                await self._deliverer.wait(await self._turn())
                await asyncio.sleep(self._pause_seconds)
            await self._deliverer.settle(self._grace_seconds)
        except (Overloaded, Unavailable) as error:
            logger.error("delivering waits: %s", error)  # for the next start: what was not kept is delivered again
        finally:
            self._loop = None
            await self._deliverer.aclose()

    async def _turn(self) -> float:
        """One turn; how long to wait for the next."""
        try:
            is_applying = self._is_applying()
            self._pause_seconds = _SECONDS_WHILE_APPLYING if is_applying else _GATHERING_SECONDS
            seconds = await self._deliverer.run_once(_CLAIMS_WHILE_APPLYING if is_applying else POSTS_MAX)
        except (Overloaded, Unavailable) as error:
            if not self._waits:
                logger.error("delivering waits: %s", error)
            self._waits = True
            # Posts that end meanwhile would wake it: the store is given time.
            await asyncio.sleep(_RETRY_SECONDS)
            return 0
        self._waits = False
        return seconds
