"""Receipts: an acknowledged event can be looked up from the moment of its acknowledgement."""

from decimal import Decimal

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import NotFound
from streamgauge.domain.fate import Fate
from streamgauge.domain.receipt import Receipt
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.unapplied import Unapplied
from tests.support.world import START_MS, TENANT, Event, World

LIVE = Tenant(TENANT.account_id, livemode=True)


@pytest.fixture
def world() -> World:
    world = World()
    world.add_meter()
    world.add_customer()
    return world


def receipt(world: World, identifier: str, tenant: Tenant = TENANT) -> Receipt:
    return Receipts(world.unapplied, world.store).find(tenant, identifier)


def test_an_event_is_pending_until_it_is_applied_and_then_counted(world: World) -> None:
    record = world.accept(Event("a", value="2.50", timestamp_ms=START_MS - 5))
    waiting = receipt(world, "a")
    assert (waiting.status, waiting.event_name, waiting.value) == (Fate.PENDING, "api_requests", None)
    assert (waiting.timestamp_ms, waiting.received_at_ms) == (START_MS - 5, record.received_at_ms)
    world.apply()
    counted = receipt(world, "a")
    assert (counted.status, counted.code, counted.value) == (Fate.COUNTED, None, Decimal("2.5"))
    assert (counted.meter, counted.customer) == ("mtr_api_requests", "cus_1")
    assert (counted.timestamp_ms, counted.received_at_ms) == (START_MS - 5, record.received_at_ms)


def test_a_rejected_event_says_why(world: World) -> None:
    world.accept(Event("a", customer="cus_stranger"))
    world.apply()
    rejected = receipt(world, "a")
    assert (rejected.status, rejected.code) == (Fate.REJECTED, "meter_event_customer_not_found")


def test_repeats_are_counted_and_those_that_say_something_else_flagged(world: World) -> None:
    world.accept(Event("a", value="1"), Event("a", value="1"))
    world.accept(Event("a", value="2"))
    world.apply()
    assert (receipt(world, "a").repeats, receipt(world, "a").conflicting_repeats) == (2, 1)


def test_a_repeat_that_still_waits_does_not_hide_what_counted(world: World) -> None:
    world.accept(Event("a", value="1"))
    world.apply()
    world.accept(Event("a", value="2"))
    found = receipt(world, "a")
    assert (found.status, found.value, found.repeats) == (Fate.COUNTED, Decimal(1), 0)


def test_what_is_applied_during_the_look_up_is_told_of_once(world: World) -> None:
    """The checkpoint was read before, the store is read after: then both hold the event."""
    world.accept(Event("a"))
    stale = world.progress.checkpoint()
    world.apply()

    class StaleProgress:
        def checkpoint(self) -> object:
            return stale

    found = Receipts(Unapplied(world.log, StaleProgress(), world.judging), world.store).find(TENANT, "a")  # type: ignore[arg-type]
    assert (found.status, found.repeats) == (Fate.COUNTED, 0)


def test_an_identifier_that_was_never_acknowledged_is_not_found(world: World) -> None:
    world.accept(Event("a"))
    for applied in (False, True):
        if applied:
            world.apply()
        for identifier, tenant in (("b", TENANT), ("a", LIVE), ("A", TENANT), ("", TENANT)):
            with pytest.raises(NotFound) as refusal:
                receipt(world, identifier, tenant)
            assert refusal.value.param == "identifier"


def test_a_pending_event_is_found_anywhere_in_a_long_backlog(world: World) -> None:
    for number in range(30):
        world.accept(*(Event(f"{number}-{row}") for row in range(10)))
    for identifier in ("0-0", "15-5", "29-9"):
        assert receipt(world, identifier).status is Fate.PENDING
