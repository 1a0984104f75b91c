"""Single events: refused before they are stored, told apart from repeats before they are answered, and once per key."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import pytest

from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import IdempotencyKeyReused, StorageFull, StreamgaugeError, Unavailable
from streamgauge.domain.meter_event import MeterEvent
from streamgauge.domain.refusal import DuplicateEvent, EventRefused
from streamgauge.domain.request_key import RequestKey, request_key
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.meter_events import Accepted, MeterEvents
from tests.support.world import DAY_MS, START_MS, TENANT, Event, World

ORIGIN = Principal(TENANT, "key_test")


@pytest.fixture
def world() -> World:
    world = World()
    world.add_meter()
    world.add_customer()
    return world


@pytest.fixture
def meter_events(world: World) -> Iterator[MeterEvents]:
    backlog = Backlog(world.log, world.progress, events_max=1_000)
    opened = MeterEvents(world.log, world.store, world.catalogue, world.unapplied, backlog, world.clock)
    yield opened
    opened.close()


def event(identifier: str, value: str = "1", *, customer: str = "cus_1", timestamp_ms: int | None = None) -> MeterEvent:
    payload = {"stripe_customer_id": customer, "value": value}
    return MeterEvent("api_requests", identifier, timestamp_ms, payload)


def submit(meter_events: MeterEvents, event: MeterEvent, key: RequestKey | None = None) -> Accepted:
    return asyncio.run(meter_events.submit(ORIGIN, event, key))


def key(name: str, asked: str = "") -> RequestKey:
    return request_key(name, "POST", "/", {"asked": asked})


def test_an_accepted_event_counts(world: World, meter_events: MeterEvents) -> None:
    accepted = submit(meter_events, event("a", "2.5"))
    assert accepted == Accepted(event("a", "2.5"), accepted.received_at_ms, replayed=False)
    assert accepted.timestamp_ms == accepted.received_at_ms
    world.apply()
    assert world.fates("a") == ["counted"]


@pytest.mark.parametrize(
    ("refused", "code"),
    [
        (MeterEvent("nothing", "x", None, {}), "no_meter"),
        (event("x", "many"), "meter_event_invalid_value"),
        (event("x", customer="cus_stranger"), "meter_event_customer_not_found"),
        (event("x", timestamp_ms=START_MS - 36 * DAY_MS), "timestamp_too_far_in_past"),
        (MeterEvent("api_requests", "x", None, {"stripe_customer_id": "cus_1"}), "meter_event_value_not_found"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_not_stored(
    world: World, meter_events: MeterEvents, refused: MeterEvent, code: str
) -> None:
    with pytest.raises(EventRefused) as raised:
        submit(meter_events, refused)
    assert raised.value.refusal.code == code
    assert world.log.end_offset() == 0


def test_a_repeat_is_told_at_once_also_of_what_the_stream_brought_and_nobody_applied(
    world: World, meter_events: MeterEvents
) -> None:
    world.accept(Event("streamed"))
    for identifier in ("streamed", "single"):
        if identifier == "single":
            submit(meter_events, event(identifier))
        for _ in range(2):
            with pytest.raises(DuplicateEvent, match=f"An event already exists with identifier {identifier}"):
                submit(meter_events, event(identifier))
            world.apply()
    assert world.fates("streamed") == world.fates("single") == ["counted", "duplicate", "duplicate"]


def test_an_event_that_the_stream_brought_and_that_will_be_rejected_claims_nothing(
    world: World, meter_events: MeterEvents
) -> None:
    world.accept(Event("a", value="many"))
    submit(meter_events, event("a"))
    world.apply()
    assert world.fates("a") == ["meter_event_invalid_value", "counted"]


def test_what_was_applied_before_its_fate_was_looked_up_is_found_in_the_store(
    world: World, meter_events: MeterEvents
) -> None:
    """The applier may be faster than the one who waits."""
    find = world.unapplied.find

    def find_late(hashes: object) -> object:
        world.apply()
        return find(hashes)  # type: ignore[arg-type]

    world.unapplied.find = find_late  # type: ignore[method-assign, assignment]
    assert submit(meter_events, event("a"), None).event.identifier == "a"
    with pytest.raises(DuplicateEvent):
        submit(meter_events, event("a"))


def test_a_key_that_comes_again_gets_the_answer_of_the_first_time(world: World, meter_events: MeterEvents) -> None:
    first = submit(meter_events, event("a", "7"), key("k"))
    world.clock.at_ms += 60_000
    for _ in range(2):
        again = submit(meter_events, event("made anew", "7"), key("k"))
        assert (again.event, again.received_at_ms, again.replayed) == (first.event, first.received_at_ms, True)
        world.apply()
    assert world.log.end_offset() == 1


def test_a_refused_repeat_stays_refused_under_its_key(world: World, meter_events: MeterEvents) -> None:
    submit(meter_events, event("a"), key("k1"))
    for _ in range(2):
        with pytest.raises(DuplicateEvent):
            submit(meter_events, event("a"), key("k2"))
        world.apply()
    assert world.log.end_offset() == 2


def test_a_key_is_for_one_request_only(world: World, meter_events: MeterEvents) -> None:
    submit(meter_events, event("a"), key("k", "one"))
    with pytest.raises(IdempotencyKeyReused):
        submit(meter_events, event("b"), key("k", "another"))
    assert world.log.end_offset() == 1


def test_a_key_is_new_again_after_24_hours(world: World, meter_events: MeterEvents) -> None:
    submit(meter_events, event("a"), key("k", "one"))
    world.clock.at_ms += DAY_MS + 1_000
    assert not submit(meter_events, event("b"), key("k", "another")).replayed


def test_requests_with_one_key_at_the_same_moment_have_one_effect(world: World, meter_events: MeterEvents) -> None:
    async def together() -> list[Accepted]:
        # Without an identifier of its own each attempt has another one.
        attempts = (meter_events.submit(ORIGIN, event(f"made {number}", "3"), key("k")) for number in range(8))
        return await asyncio.gather(*attempts)

    answers = asyncio.run(together())
    assert len({answer.event.identifier for answer in answers}) == 1
    assert [answer.replayed for answer in answers].count(False) == 1
    world.apply()
    assert world.total(world.catalogue.settled().meters_named(TENANT, "api_requests")[0]) == Decimal(3)


def test_of_events_with_one_identifier_at_the_same_moment_one_counts(world: World, meter_events: MeterEvents) -> None:
    async def together() -> list[Accepted | BaseException]:
        attempts = (meter_events.submit(ORIGIN, event("same", str(number)), None) for number in range(40))
        return await asyncio.gather(*attempts, return_exceptions=True)

    outcomes = asyncio.run(together())
    assert sorted(type(each).__name__ for each in outcomes) == ["Accepted", *["DuplicateEvent"] * 39]
    world.apply()
    assert sorted(world.fates("same")) == ["counted", *["duplicate"] * 39]


def test_an_append_that_fails_is_told_to_whoever_waits_and_the_next_goes_on(
    world: World, meter_events: MeterEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageFull("no room")

    with monkeypatch.context() as broken:
        broken.setattr(world.log, "append", full)
        with pytest.raises(StorageFull):
            submit(meter_events, event("a"), key("k"))
    assert submit(meter_events, event("a"), key("k")).replayed is False


def test_after_the_end_nothing_is_taken(meter_events: MeterEvents) -> None:
    meter_events.close()
    with pytest.raises(Unavailable):
        submit(meter_events, event("a"))


def test_a_mistake_of_ours_ends_no_thread(
    world: World, meter_events: MeterEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(world.catalogue, "settled", mistaken)
        with pytest.raises(StreamgaugeError):
            submit(meter_events, event("a"))
    assert isinstance(submit(meter_events, event("a"), None), Accepted)
