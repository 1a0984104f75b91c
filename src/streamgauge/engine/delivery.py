"""Delivering: what is due is taken from the outbox, posted to its destination, and what came of it is kept."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

from streamgauge.domain.delivery import Attempt, DeliveryState
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import Notification
from streamgauge.domain.retry_schedule import RetrySchedule
from streamgauge.domain.signature import SIGNATURE_HEADER, signature_header
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.destinations import DestinationStore
from streamgauge.engine.ports.outbox import Claimed, Outbox, Outcome
from streamgauge.engine.ports.poster import Poster, PostLimits, PostResult

logger = logging.getLogger(__name__)

# What is posted to a destination; the same bytes on every attempt.
Render: TypeAlias = Callable[[Notification, EventDestination], bytes]
# The secrets that sign what is posted to a destination now, the current one first.
SecretsOf: TypeAlias = Callable[[EventDestination], Sequence[str]]
# Disable a destination, and tell of it, in the transaction around; whether it was enabled and failing still.
Disable: TypeAlias = Callable[[EventDestination], bool]

POSTS_MAX: Final = 512
POSTS_OF_DESTINATION_MAX: Final = 16
# A destination that nothing is known of gets few at once, so that many dead ones together do not take every place.
_POSTS_AT_FIRST: Final = 2
# What a claim lasts beyond the longest post: until its outcome is kept, also on a busy disk.
_CLAIM_MARGIN_MS: Final = 10_000
# The attempt that ends three days of failure comes a little after the three days began.
_FAILING_TOLERANCE_MS: Final = 3_600_000
_IDLE_SECONDS: Final = 5.0
_FULL_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Lane:
    """One destination's share: how many posts run, and how many may.

    After a failure one at a time; each success doubles that. So a dead destination holds one place, whatever is queued
    for it, and one that comes back is not flooded.
    """

    width: int = _POSTS_AT_FIRST
    running: int = 0

    @property
    def room(self) -> int:
        return max(self.width - self.running, 0)

    def succeeded(self) -> None:
        self.width = min(self.width * 2, POSTS_OF_DESTINATION_MAX)

    def failed(self) -> None:
        self.width = 1


@dataclass(frozen=True, slots=True)
class _Finished:
    destination: EventDestination
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Exchanged:
    """What the outbox gave: claims by destination, and when there may be more."""

    claims: Sequence[tuple[EventDestination, Sequence[Claimed]]]
    next_due_ms: int | None


@dataclass(slots=True, kw_only=True)
class DeliveryCounts:
    """Since the process started."""

    attempts: int = 0
    failures: int = 0
    running: int = 0


class Deliverer:
    """Delivers at least once: an attempt whose outcome was not kept, because of a crash, is made again.

    The id of the notification is the same each time, so a receiver can tell. Used on one event loop; the outbox is
    asked on a thread of its own, since it blocks. There is one deliverer for an outbox.

    A failed attempt is repeated as `schedule` says. A destination for which nothing but failures came for as long as
    the schedule lasts is disabled, which is announced; what is pending for it waits until somebody enables it.
    """

    def __init__(
        self,
        control: ControlStore,
        outbox: Outbox,
        destinations: DestinationStore,
        poster: Poster,
        clock: Clock,
        *,
        render: Render,
        secrets_of: SecretsOf,
        disable: Disable,
        schedule: RetrySchedule,
        user_agent: str,
        limits: PostLimits | None = None,
    ) -> None:
        self._control = control
        self._outbox = outbox
        self._destinations = destinations
        self._poster = poster
        self._clock = clock
        self._render = render
        self._secrets_of = secrets_of
        self._disable = disable
        self._schedule = schedule
        self._user_agent = user_agent
        self._limits = limits or PostLimits()
        self._lanes: dict[str, _Lane] = {}
        self._last_asked = ""
        self._running: set[asyncio.Task[None]] = set()
        self._finished: list[_Finished] = []
        self._news = asyncio.Event()
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self.counts = DeliveryCounts()

    def wake(self) -> None:
        """Something may be due. On the event loop."""
        self._news.set()

    async def run_once(self, claims_max: int = POSTS_MAX) -> float:
        """One turn: keep what came of attempts, take what is due, begin to post it. Waits for no post.

        It takes at most `claims_max`, fairly of all destinations that something is due for.
        Returns after how many seconds the next turn is worth while, if nothing happens before.
        Raises what the outbox raises; then no outcome is lost, and the next turn keeps them.
        """
        self._news.clear()
        finished, self._finished = self._finished, []
        rooms = {destination_id: lane.room for destination_id, lane in self._lanes.items()}
        free = min(POSTS_MAX - len(self._running), claims_max)
        idle = {destination_id for destination_id, lane in self._lanes.items() if lane.running == 0}
        try:
            exchanged = await asyncio.get_running_loop().run_in_executor(
                self._asking, self._exchange, finished, rooms, free
            )
        except BaseException:
            self._finished = finished + self._finished
            raise
        for destination, claims in exchanged.claims:
            for claimed in claims:
                self._begin(destination, claimed)
        self._forget_lanes(idle - {destination.id for destination, _ in exchanged.claims})
        if exchanged.next_due_ms is None:
            return _IDLE_SECONDS
        wait_seconds = (exchanged.next_due_ms - self._clock.now_ms()) / 1000
        # What is due and was not taken waits for a place, and a post that ends wakes us.
        return min(wait_seconds, _IDLE_SECONDS) if wait_seconds > 0 else _FULL_SECONDS

    async def wait(self, seconds: float) -> None:
        """Until something happened, but for at most so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    async def settle(self, seconds: float | None = None) -> None:
        """Wait for the posts under way, for at most so long, and keep what came of them. Nothing new is begun."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        finished, self._finished = self._finished, []
        if finished:
            await asyncio.get_running_loop().run_in_executor(self._asking, self._exchange, finished, {}, 0)

    async def aclose(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._poster.aclose()
        self._asking.shutdown()

    # On the event loop

    def _begin(self, destination: EventDestination, claimed: Claimed) -> None:
        lane = self._lanes.setdefault(destination.id, _Lane())
        lane.running += 1
        task = asyncio.create_task(self._attempt(lane, destination, claimed))
        self._running.add(task)
        self.counts.running = len(self._running)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self.counts.running = len(self._running)
        self._news.set()

    async def _attempt(self, lane: _Lane, destination: EventDestination, claimed: Claimed) -> None:
        at_ms = self._clock.now_ms()
        try:
            result = await self._post(destination, claimed, at_ms)
        except Exception:
            # Of one delivery: the others must go on, and this one must not be tried without end.
            logger.error("delivery failed id=%s", claimed.delivery.id, exc_info=True)
            result = PostResult(duration_ms=0, detail="a mistake of the server; its log says more")
        finally:
            lane.running -= 1
        self.counts.attempts += 1
        if result.succeeded:
            lane.succeeded()
        else:
            lane.failed()
            self.counts.failures += 1
        self._finished.append(_Finished(destination, self._outcome(claimed, at_ms, result)))

    async def _post(self, destination: EventDestination, claimed: Claimed, at_ms: int) -> PostResult:
        body = self._render(claimed.notification, destination)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": self._user_agent,
            SIGNATURE_HEADER: signature_header(body, self._secrets_of(destination), at_ms // 1000),
        }
        return await self._poster.post(destination.url, body, headers, self._limits)

    def _outcome(self, claimed: Claimed, at_ms: int, result: PostResult) -> Outcome:
        delivery = claimed.delivery
        failed = result.failure.value if result.failure is not None else None
        if result.status is None and failed is None:
            failed = "internal_error"
        attempt = Attempt(
            at_ms=at_ms,
            status=result.status,
            error=None if failed is None else f"{failed}: {result.detail}",
            duration_ms=result.duration_ms,
            response_excerpt=result.detail if failed is None else None,
        )
        if result.succeeded:
            return Outcome(delivery=delivery, attempt=attempt, state=DeliveryState.DELIVERED)
        next_at_ms = self._schedule.next_attempt_ms(
            delivery.id, failures=delivery.tries + 1, first_ms=delivery.begun_ms, now_ms=self._clock.now_ms()
        )
        state = DeliveryState.FAILED if next_at_ms is None else DeliveryState.PENDING
        return Outcome(delivery=delivery, attempt=attempt, state=state, next_at_ms=next_at_ms)

    def _forget_lanes(self, idle: set[str]) -> None:
        """Of destinations that nothing was due for, those of which nothing is known but success."""
        for destination_id in idle:
            if self._lanes[destination_id].width > 1:
                del self._lanes[destination_id]

    # On the thread of the outbox

    def _exchange(self, finished: Sequence[_Finished], rooms: dict[str, int], free: int) -> _Exchanged:
        """One transaction for all of a turn: a commit waits for the disk, and an attempt each would be many."""
        now_ms = self._clock.now_ms()
        due = self._outbox.due_destinations(now_ms) if free > 0 else ()
        wanted = self._in_turn([each for each in due if rooms.get(each.id, _POSTS_AT_FIRST) > 0])
        claims: list[tuple[EventDestination, Sequence[Claimed]]] = []
        if not finished and not wanted:
            return _Exchanged(claims, self._outbox.next_due_ms())
        with self._control.transaction():
            if finished:
                self._keep(finished)
            until_ms = now_ms + round(self._limits.total_seconds * 1000) + _CLAIM_MARGIN_MS
            for number, destination in enumerate(wanted):
                if free <= 0:
                    break
                share = max(free // (len(wanted) - number), 1)
                limit = min(rooms.get(destination.id, _POSTS_AT_FIRST), share)
                self._last_asked = destination.id
                claimed = self._outbox.claim(destination.id, now_ms, until_ms, limit)
                free -= len(claimed)
                if claimed:
                    claims.append((destination, claimed))
            # In the transaction: when this fails, nothing was kept or taken, and the next turn does it all.
            return _Exchanged(claims, self._outbox.next_due_ms())

    def _in_turn(self, due: Sequence[EventDestination]) -> Sequence[EventDestination]:
        """Beginning after the one that was asked last: with more of them than places everyone's turn comes."""
        by_id = sorted(due, key=lambda each: each.id)
        return [each for each in by_id if each.id > self._last_asked] + [
            each for each in by_id if each.id <= self._last_asked
        ]

    def _keep(self, finished: Sequence[_Finished]) -> None:
        self._outbox.record([each.outcome for each in finished])
        failed = {
            each.destination.id: each.destination
            for each in finished
            if each.outcome.state is not DeliveryState.DELIVERED
        }
        for destination in failed.values():
            self._disable_if_failing(destination)

    def _disable_if_failing(self, named: EventDestination) -> None:
        destination = self._destinations.get(named.tenant, named.id)  # as it is now, and not when it was claimed
        now_ms = self._clock.now_ms()
        if destination is None or not destination.is_enabled or destination.failing_since_ms is None:
            return
        if now_ms - destination.failing_since_ms < self._schedule.span_ms - _FAILING_TOLERANCE_MS:
            return
        if self._disable(destination):
            logger.warning("destination disabled id=%s", destination.id)
