"""Adjustments: an event is taken back once, and the caller is told at once whether that can be done."""

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import IdempotencyKeyReused
from streamgauge.domain.refusal import CannotCancel
from streamgauge.domain.request_key import request_key
from streamgauge.engine.adjustments import Adjustment, Adjustments
from streamgauge.engine.backlog import Backlog
from tests.support.world import DAY_MS, HOUR_MS, TENANT, Event, World

ORIGIN = Principal(TENANT, "key_test")
LIVE = Tenant(TENANT.account_id, livemode=True)


@pytest.fixture
def world() -> World:
    world = World()
    world.add_meter()
    world.add_customer()
    return world


@pytest.fixture
def adjustments(world: World) -> Adjustments:
    backlog = Backlog(world.log, world.progress, events_max=1_000)
    return Adjustments(world.log, world.progress, world.store, world.unapplied, backlog, world.clock)


def cancel(adjustments: Adjustments, identifier: str, event_name: str = "api_requests") -> Adjustment:
    return adjustments.cancel(ORIGIN, event_name, identifier, None)


@pytest.mark.parametrize("is_applied", [False, True])
def test_a_cancelled_event_counts_for_nothing(world: World, adjustments: Adjustments, is_applied: bool) -> None:
    world.accept(Event("a"), Event("b"))
    if is_applied:
        world.apply()
    assert not cancel(adjustments, "a").is_complete
    world.apply()
    assert world.fates("a") == ["cancelled"]
    assert world.fates("b") == ["counted"]


def test_asked_twice_the_answer_is_the_same_and_becomes_complete(world: World, adjustments: Adjustments) -> None:
    world.accept(Event("a"))
    first = cancel(adjustments, "a")
    world.clock.at_ms += 1_000
    second = cancel(adjustments, "a")
    world.apply()
    third = cancel(adjustments, "a")
    assert (first.id, first.created_ms) == (second.id, second.created_ms) == (third.id, third.created_ms)
    assert [each.is_complete for each in (first, second, third)] == [False, False, True]
    assert world.log.end_offset() == 2  # the event and one cancellation


@pytest.mark.parametrize("is_applied", [False, True])
@pytest.mark.parametrize(
    ("identifier", "event_name", "told"),
    [
        ("nothing", "api_requests", "No counted meter event with identifier nothing"),
        ("rejected", "api_requests", "No counted meter event with identifier rejected"),
        ("live", "api_requests", "No counted meter event with identifier live"),
        ("a", "other", "another event_name"),
    ],
)
def test_what_cannot_be_taken_back_is_refused_and_nothing_stored(
    world: World, adjustments: Adjustments, identifier: str, event_name: str, told: str, is_applied: bool
) -> None:
    world.accept(Event("a"), Event("rejected", value="many"))
    world.accept(Event("live"), tenant=LIVE)
    if is_applied:
        world.apply()
    with pytest.raises(CannotCancel, match=told):
        cancel(adjustments, identifier, event_name)
    assert world.log.end_offset() == 3


def test_an_event_of_more_than_24_hours_ago_stays(world: World, adjustments: Adjustments) -> None:
    world.accept(Event("a"), Event("b"))
    world.apply()
    world.clock.at_ms += DAY_MS - HOUR_MS
    cancel(adjustments, "a")
    world.clock.at_ms += 2 * HOUR_MS
    with pytest.raises(CannotCancel, match="more than 24 hours ago"):
        cancel(adjustments, "b")
    # What was taken back in time stays so.
    assert cancel(adjustments, "a").event_name == "api_requests"


def test_a_log_that_is_slow_over_the_24_hours_is_not_called_a_success(
    world: World, adjustments: Adjustments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The applier goes by when the cancellation was received, so the answer must, too."""
    world.accept(Event("a"))
    append = world.log.append

    def slow(*given: object) -> object:
        world.clock.at_ms += 2 * HOUR_MS
        return append(*given)  # type: ignore[arg-type]

    world.clock.at_ms += DAY_MS - HOUR_MS
    monkeypatch.setattr(world.log, "append", slow)
    with pytest.raises(CannotCancel, match="more than 24 hours ago"):
        cancel(adjustments, "a")
    world.apply()
    assert world.fates("a") == ["counted"]


def test_a_key_is_replayed_and_is_for_one_request_only(world: World, adjustments: Adjustments) -> None:
    world.accept(Event("a"), Event("b"))
    key, other = (request_key("k", "POST", "/", {"identifier": each}) for each in "ab")
    first = adjustments.cancel(ORIGIN, "api_requests", "a", key)
    again = adjustments.cancel(ORIGIN, "api_requests", "a", key)
    assert (first.replayed, again.replayed, first.id) == (False, True, again.id)
    with pytest.raises(IdempotencyKeyReused):
        adjustments.cancel(ORIGIN, "api_requests", "b", other)
    world.apply()
    assert world.fates("b") == ["counted"]
