"""Ingest: requests that arrive together are appended to the event log together, and answered once that is durable."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from streamgauge.domain.errors import BacklogFull, DurabilityLost, Overloaded, StreamgaugeError, Unavailable
from streamgauge.domain.event_block import IncomingRequest, encoded
from streamgauge.engine.ports.event_log import EventLog

logger = logging.getLogger(__name__)

# A record stays small enough to be read, checked and judged in one piece.
RECORD_EVENTS_MAX: Final = 50_000

# A record costs some 0.8 ms of CPU whatever it holds. So where several requests come at a time records begin this far
# apart. Neither a request that comes alone waits for that, nor the next one of its client.
_APART_SECONDS: Final = 0.005

Waiting = tuple[IncomingRequest, asyncio.Future[None]]


class GroupCommit:
    """While one append is being synced, the requests that arrive form the next one: nothing waits for company when
    there is none, and groups grow by themselves under load. `pause` says how many seconds more records should begin
    apart, so that applying keeps up; it is asked for each.

    Lives on one event loop, which also builds the blocks; only the append itself runs in a thread. (A thread that
    builds blocks would fight with the loop for the interpreter: that cost more than it did in parallel.)
    Bounded by `pending_bytes_max` of request bodies. `on_fatal` is called for what no later append can cure.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        pending_bytes_max: int,
        on_fatal: Callable[[BaseException], None],
        pause: Callable[[], float],
    ) -> None:
        self._log = log
        self._pause = pause
        self._pending_bytes_max = pending_bytes_max
        self._on_fatal = on_fatal
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="append")
        self._pending: list[Waiting] = []
        self._pending_bytes = 0
        self._appending: asyncio.Task[None] | None = None
        self._closed = False
        self._failing = False

    def submit(self, request: IncomingRequest) -> asyncio.Future[None]:
        """A future that is done when the request's events would survive a power cut.

        Raises BacklogFull at once when too much is waiting, Unavailable when the server is stopping: nothing is
        stored then. The future fails with what the append raised.
        """
        if self._closed:
            raise Unavailable("The server is stopping.")
        if self._pending_bytes + request.size_bytes > self._pending_bytes_max:
            raise BacklogFull("Too many requests wait for the event log; try again in a moment.")
        future = asyncio.get_running_loop().create_future()
        self._pending.append((request, future))
        self._pending_bytes += request.size_bytes
        if self._appending is None:
            # A task begins after the other requests of this turn of the loop: they come along.
            self._appending = asyncio.create_task(self._append_pending())
        return future

    async def close(self) -> None:
        """Refuse what comes, append what was submitted, and end the thread."""
        self._closed = True
        if self._appending is not None:
            await self._appending
        self._thread.shutdown()

    async def _append_pending(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            while self._pending:
                group = self._take()
                next_at = now() + _APART_SECONDS + self._pause()
                try:
                    await self._append(group)
                except StreamgaugeError as error:
                    if not self._failing:  # what every refused request would repeat is said once
                        logger.error("requests are refused: %s", error)
                    self._failing = True
                    _settle(group, error)
                else:
                    if self._failing:
                        logger.info("requests are accepted again")
                    self._failing = False
                    _settle(group, None)
                    if len(group) > 1 and not self._closed:
                        await asyncio.sleep(max(0.0, next_at - now()))
        finally:
            self._appending = None

    async def _append(self, group: list[Waiting]) -> None:
        """Raises a StreamgaugeError whatever goes wrong; what is not one that passes is fatal."""
        try:
            block = encoded([request for request, _ in group])
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._log.append, block.data, block.tallies)
        except (Overloaded, Unavailable):
            raise
        except Exception as error:  # nothing is hidden: it is logged, and the process ends
            logger.critical("appending to the event log failed", exc_info=True)
            # No other append is tried: one that succeeds after a failed fsync would be called durable and may not be.
            self._closed = True
            _settle(self._pending, Unavailable("The server is stopping: its event log failed."))
            self._pending = []
            self._on_fatal(error)
            raise DurabilityLost(f"could not append to the event log: {error}") from error

    def _take(self) -> list[Waiting]:
        events = 0
        count = 0
        for request, _ in self._pending:
            events += len(request)
            if count and events > RECORD_EVENTS_MAX:
                break
            count += 1
        group, self._pending = self._pending[:count], self._pending[count:]
        self._pending_bytes -= sum(request.size_bytes for request, _ in group)
        return group


def _settle(group: list[Waiting], error: StreamgaugeError | None) -> None:
    for _, future in group:
        if future.done():  # its client went away
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
