"""Delivering: each destination on its own, again after a failure, and never lost.

The poster is scripted, the stores are those in memory, and time is told: a test drives every interleaving, turn by
turn. What a real receiver gets is in tests/e2e/test_delivery.py.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import Attempt, Delivery, DeliveryState
from streamgauge.domain.errors import StorageFull
from streamgauge.domain.event_destination import DisabledReason, EventDestination, MadeBy, signing_secrets
from streamgauge.domain.notification import NO_METER_FOUND, Notification, Style
from streamgauge.domain.retry_schedule import SPAN_MS, RetrySchedule
from streamgauge.domain.signature import signature_header
from streamgauge.engine.delivery import POSTS_MAX, POSTS_OF_DESTINATION_MAX, Deliverer
from streamgauge.engine.notifications import NotificationDraft, Notifications
from streamgauge.engine.ports.control_store import Page
from streamgauge.engine.ports.poster import PostFailure, PostLimits, PostResult
from tests.support.control import NOW_MS, CountingEntropy, SettableClock, store_with_accounts
from tests.support.notifying import on

TENANT = Tenant("acct_1", False)
ROOT = bytes(32)
FIRST_DELAY_MS = 10_000
# Further than any delay beyond a failure's first few, and than any claim.
LATER_MS = 3_600_000
HANGS = "hangs"


class ScriptedPoster:
    """Answers by URL, in order, the last for ever: a status, a failure, an exception, or `HANGS` until released."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = defaultdict(lambda: [200])
        self.posted: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.running: dict[str, int] = defaultdict(int)
        self.most_running: dict[str, int] = defaultdict(int)
        self.released = asyncio.Event()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], limits: PostLimits) -> PostResult:
        self.posted.append((url, body, headers))
        self.running[url] += 1
        self.most_running[url] = max(self.most_running[url], self.running[url])
        try:
            answers = self.answers[url]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if answer == HANGS:
                await self.released.wait()
                return PostResult(duration_ms=15_000, detail="no status", failure=PostFailure.TIMED_OUT)
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, PostFailure):
                return PostResult(duration_ms=3, detail="as scripted", failure=answer)
            return PostResult(duration_ms=2, detail="as scripted", status=answer)
        finally:
            self.running[url] -= 1

    async def aclose(self) -> None:
        self.released.set()

    def bodies(self, url: str) -> list[str]:
        return [body.decode() for posted, body, _ in self.posted if posted == url]


class World:
    """A deliverer on stores in memory."""

    def __init__(self) -> None:
        self.clock, self.entropy, self.poster = SettableClock(), CountingEntropy(), ScriptedPoster()
        self.stores = on(store_with_accounts("acct_1"))
        stores = self.stores
        self.notifications = Notifications(
            stores.control, stores.notifications, stores.destinations, stores.outbox, self.clock, self.entropy
        )
        self.disabled: list[str] = []
        self.deliverer = self.new_deliverer()

    def new_deliverer(self) -> Deliverer:
        return Deliverer(
            self.stores.control,
            self.stores.outbox,
            self.stores.destinations,
            self.poster,
            self.clock,
            render=lambda notification, destination: notification.id.encode(),
            secrets_of=lambda destination: signing_secrets(ROOT, destination, self.clock.ms),
            disable=self.disable,
            schedule=RetrySchedule(first_delay_ms=FIRST_DELAY_MS),
            user_agent="Streamgauge/test",
        )

    def disable(self, destination: EventDestination) -> bool:
        self.disabled.append(destination.id)
        self.stores.destinations.save(replace(destination, disabled_reason=DisabledReason.FAILING))
        return True

    def destination(self, name: str) -> EventDestination:
        made = EventDestination(
            id=f"ed_{name}",
            tenant=TENANT,
            made_by=MadeBy.V2,
            name=name,
            description="",
            url=f"https://{name}.test/",
            style=Style.THIN,
            enabled_events=("*",),
            metadata={},
            api_version=None,
            created_ms=self.clock.ms,
            updated_ms=self.clock.ms,
        )
        self.stores.destinations.add(made)
        return made

    def announce(self, only_to: EventDestination | None = None) -> Notification:
        draft = NotificationDraft(tenant=TENANT, type=NO_METER_FOUND, data={})
        return self.notifications.announce(draft, only_to=only_to)

    def deliveries(self) -> tuple[Delivery, ...]:
        return self.stores.outbox.list(TENANT, Page(limit=100)).items

    def attempts(self, delivery: Delivery) -> tuple[Attempt, ...]:
        return self.stores.outbox.attempts([delivery.id]).get(delivery.id, ())

    async def turn(self) -> None:
        """A turn, its posts as far as they come by themselves, and what came of them kept."""
        await self.deliverer.run_once()
        for _ in range(20):
            await asyncio.sleep(0)
        await self.deliverer.run_once()

    async def turns(self, count: int) -> None:
        for _ in range(count):
            await self.turn()


def run(test: Callable[[World], Awaitable[None]]) -> None:
    async def running() -> None:
        world = World()
        try:
            await test(world)
        finally:
            await world.deliverer.aclose()

    asyncio.run(running())


def test_a_notification_is_posted_once_to_every_destination_and_signed() -> None:
    async def test(world: World) -> None:
        one, two = world.destination("one"), world.destination("two")
        told = world.announce()
        await world.turns(3)
        assert sorted((url, body.decode()) for url, body, _ in world.poster.posted) == [
            (one.url, told.id),
            (two.url, told.id),
        ]
        for url, body, headers in world.poster.posted:
            secrets = signing_secrets(ROOT, one if url == one.url else two, NOW_MS)
            assert headers["Stripe-Signature"] == signature_header(body, secrets, NOW_MS // 1000)
            assert headers["Content-Type"].startswith("application/json")
        for delivery in world.deliveries():
            assert (delivery.state, delivery.attempts, delivery.next_at_ms) == (DeliveryState.DELIVERED, 1, None)
            (attempt,) = world.attempts(delivery)
            assert (attempt.status, attempt.error, attempt.response_excerpt) == (200, None, "as scripted")

    run(test)


@pytest.mark.parametrize("answer", [500, 302, 404, PostFailure.TIMED_OUT, PostFailure.ADDRESS_REFUSED])
def test_a_failed_attempt_is_kept_and_made_again_when_its_time_has_come(answer: object) -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.poster.answers[destination.url] = [answer, 200]
        told = world.announce()
        await world.turns(3)
        (delivery,) = world.deliveries()
        assert (delivery.state, delivery.tries) == (DeliveryState.PENDING, 1)
        assert delivery.next_at_ms is not None
        assert 0.75 * FIRST_DELAY_MS <= delivery.next_at_ms - NOW_MS <= 1.25 * FIRST_DELAY_MS
        world.clock.ms = delivery.next_at_ms
        await world.turn()
        assert world.poster.bodies(destination.url) == [told.id, told.id]
        (delivery,) = world.deliveries()
        assert (delivery.state, delivery.attempts) == (DeliveryState.DELIVERED, 2)
        failed, succeeded = world.attempts(delivery)
        if isinstance(answer, PostFailure):
            assert (failed.status, failed.error) == (None, f"{answer.value}: as scripted")
        else:
            assert (failed.status, failed.error, failed.response_excerpt) == (answer, None, "as scripted")
        assert succeeded.status == 200

    run(test)


def test_a_destination_that_hangs_delays_no_other() -> None:
    async def test(world: World) -> None:
        dead, alive = world.destination("dead"), world.destination("alive")
        world.poster.answers[dead.url] = [HANGS]
        for _ in range(300):
            world.announce()
        await world.turns(40)
        assert len(world.poster.bodies(alive.url)) == 300
        assert len(set(world.poster.bodies(alive.url))) == 300
        assert len(world.poster.bodies(dead.url)) <= POSTS_OF_DESTINATION_MAX

    run(test)


def test_a_destination_that_fails_gets_one_at_a_time_and_more_when_it_is_back() -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.poster.answers[destination.url] = [500] * 50 + [200]
        for _ in range(200):
            world.announce()
        for _ in range(30):
            await world.turn()
        assert world.poster.most_running[destination.url] <= 2
        began_again = len(world.poster.posted)
        await world.turns(60)
        assert len(world.poster.posted) > began_again + 60  # several a turn

    run(test)


def test_posts_under_way_have_a_bound_for_each_destination_and_over_all() -> None:
    async def test(world: World) -> None:
        destinations = [world.destination(f"d{n}") for n in range(40)]
        for _ in range(60):
            world.announce()
        await world.turns(8)  # all are well, and get their full share
        for destination in destinations:
            world.poster.answers[destination.url] = [HANGS]
        for _ in range(60):
            world.announce()
        await world.turns(8)
        assert world.deliverer.counts.running <= POSTS_MAX
        assert max(world.poster.most_running.values()) <= POSTS_OF_DESTINATION_MAX

    run(test)


def test_with_few_places_every_destination_has_its_turn() -> None:
    async def test(world: World) -> None:
        destinations = [world.destination(f"d{n}") for n in range(10)]
        for _ in range(20):
            world.announce()
        for _ in range(20):
            await world.deliverer.run_once(claims_max=3)
            await asyncio.sleep(0)
        counts = [len(world.poster.bodies(each.url)) for each in destinations]
        assert sum(counts) == 60
        assert max(counts) - min(counts) <= 1

    run(test)


def test_after_three_days_a_delivery_is_given_up_and_its_destination_disabled() -> None:
    async def test(world: World) -> None:
        destination, other = world.destination("one"), world.destination("other")
        world.poster.answers[destination.url] = [500]
        told = world.announce()
        await world.turn()
        while world.clock.ms < NOW_MS + SPAN_MS:
            assert world.disabled == []
            due_ms = world.stores.outbox.next_due_ms()
            assert due_ms is not None
            world.clock.ms = due_ms
            await world.turn()
        states = {each.destination_id: each.state for each in world.deliveries()}
        assert states == {destination.id: DeliveryState.FAILED, other.id: DeliveryState.DELIVERED}
        assert world.disabled == [destination.id]
        assert set(world.poster.bodies(destination.url)) == {told.id}
        assert 15 <= len(world.poster.bodies(destination.url)) <= 30

    run(test)


def test_a_success_in_between_keeps_a_destination_enabled() -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.poster.answers[destination.url] = [500]
        world.announce()
        await world.turn()
        world.clock.ms = NOW_MS + SPAN_MS // 2
        world.poster.answers[destination.url] = [200]
        await world.turn()
        world.poster.answers[destination.url] = [500]
        world.clock.ms = NOW_MS + SPAN_MS
        world.announce()
        await world.turn()
        world.clock.ms += SPAN_MS // 2
        await world.turn()
        assert world.disabled == []

    run(test)


def test_nothing_is_posted_to_a_destination_that_is_disabled_and_all_of_it_when_it_is_enabled_again() -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.announce()
        world.stores.destinations.save(replace(destination, disabled_reason=DisabledReason.USER))
        await world.turns(2)
        assert world.poster.posted == []
        world.stores.destinations.save(destination)
        await world.turns(2)
        assert len(world.poster.posted) == 1

    run(test)


def test_the_deliveries_of_a_deleted_destination_end() -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.poster.answers[destination.url] = [500]
        world.announce()
        await world.turn()
        world.stores.destinations.delete(TENANT, destination.id, world.clock.ms)
        world.clock.ms += LATER_MS
        await world.turns(2)
        assert len(world.poster.posted) == 1
        assert [each.state for each in world.deliveries()] == [DeliveryState.CANCELLED]

    run(test)


def test_what_a_crash_left_claimed_is_delivered_by_the_next_start() -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.poster.answers[destination.url] = [HANGS]
        told = world.announce()
        await world.turn()
        crashed, world.deliverer = world.deliverer, world.new_deliverer()
        world.poster.answers[destination.url] = [200]
        world.clock.ms += 60_000
        await world.turn()
        await crashed.aclose()
        assert world.poster.bodies(destination.url) == [told.id, told.id]
        assert [each.state for each in world.deliveries()] == [DeliveryState.DELIVERED]

    run(test)


def test_an_outcome_that_could_not_be_kept_is_kept_later() -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.poster.answers[destination.url] = [200]
        world.announce()
        await world.deliverer.run_once()
        await asyncio.sleep(0)
        kept = world.stores.outbox.record

        def full(outcomes: Any) -> None:
            raise StorageFull("no room")

        world.stores.outbox.record = full  # type: ignore[method-assign]
        with pytest.raises(StorageFull):
            await world.deliverer.run_once()
        world.stores.outbox.record = kept  # type: ignore[method-assign]
        await world.turn()
        assert [each.state for each in world.deliveries()] == [DeliveryState.DELIVERED]
        assert len(world.poster.posted) == 1

    run(test)


def test_a_mistake_of_ours_in_one_delivery_is_kept_as_a_failure_and_stops_no_other() -> None:
    async def test(world: World) -> None:
        bad, good = world.destination("bad"), world.destination("good")
        world.poster.answers[bad.url] = [ZeroDivisionError()]
        world.announce()
        await world.turns(2)
        states = {each.destination_id: each for each in world.deliveries()}
        assert states[good.id].state is DeliveryState.DELIVERED
        assert states[bad.id].state is DeliveryState.PENDING
        assert (world.attempts(states[bad.id])[0].error or "").startswith("internal_error")

    run(test)


def test_the_next_turn_is_worth_while_when_the_next_delivery_is_due() -> None:
    async def test(world: World) -> None:
        destination = world.destination("one")
        world.poster.answers[destination.url] = [500]
        idle_seconds = await world.deliverer.run_once()
        world.announce()
        await world.turn()
        (delivery,) = world.deliveries()
        assert delivery.next_at_ms is not None
        world.clock.ms = delivery.next_at_ms - 700
        assert await world.deliverer.run_once() == pytest.approx(0.7)
        assert idle_seconds > 1

    run(test)


def test_settling_waits_for_posts_under_way_and_keeps_what_came_of_them() -> None:
    async def test(world: World) -> None:
        world.destination("one")
        world.announce()
        await world.deliverer.run_once()
        await world.deliverer.settle(5)
        assert [each.state for each in world.deliveries()] == [DeliveryState.DELIVERED]

    run(test)
