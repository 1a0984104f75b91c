"""Redriving by itself when a missing customer or meter is created, whatever was going on."""

import threading
from collections.abc import Callable
from decimal import Decimal

import pytest

from streamgauge.domain.errors import Unavailable
from streamgauge.engine import automatic_redrive, worker
from streamgauge.engine.automatic_redrive import MARK, AutomaticRedrive, RedrivingAutomatically
from tests.support.notifying import on
from tests.support.redriving import dead_letters, fates, redrives_of
from tests.support.world import Event, World


@pytest.fixture
def world() -> World:
    return World()


def automatic(world: World) -> AutomaticRedrive:
    made = AutomaticRedrive(world.control, on(world.control).marks, world.log, world.progress, redrives_of(world))
    world.catalogue.when_changed(made.created)
    return made


def settle(world: World, redrive: AutomaticRedrive) -> None:
    world.apply()
    while redrive.run_once():
        world.apply()


def test_what_was_rejected_for_a_missing_customer_counts_when_it_is_created(world: World) -> None:
    meter = world.add_meter()
    redrive = automatic(world)
    world.accept(Event("a"), Event("b", customer="cus_2"))
    settle(world, redrive)
    world.add_customer()
    settle(world, redrive)
    assert (fates(world, "a"), world.total(meter)) == (["counted"], Decimal(1))
    assert fates(world, "b") == ["meter_event_customer_not_found"]
    # Only what named it was put into the log.
    assert world.log.end_offset() == 3


def test_what_was_rejected_for_a_missing_meter_counts_when_it_is_created_or_active_again(world: World) -> None:
    world.add_customer()
    redrive = automatic(world)
    world.accept(Event("a"))
    settle(world, redrive)
    meter = world.add_meter()
    settle(world, redrive)
    assert fates(world, "a") == ["counted"]
    meter = world.change_meter(meter, active=False)
    world.accept(Event("b"))
    settle(world, redrive)
    assert fates(world, "b") == ["archived_meter"]
    world.change_meter(meter, active=True)
    settle(world, redrive)
    assert (fates(world, "b"), world.total(meter)) == (["counted"], Decimal(2))


@pytest.mark.parametrize("first", ["meter", "customer"])
def test_of_both_missing_the_second_makes_it_count(world: World, first: str) -> None:
    redrive = automatic(world)
    world.accept(Event("a"))
    creates: list[Callable[[], object]] = [world.add_meter, world.add_customer]
    for create in creates if first == "meter" else creates[::-1]:
        create()
        settle(world, redrive)
    assert fates(world, "a") == ["counted"]


def test_it_waits_for_what_was_received_before_the_creation(world: World) -> None:
    world.add_meter()
    redrive = automatic(world)
    world.accept(Event("a"))  # not applied yet: its rejection is not in the store
    world.add_customer()
    assert redrive.run_once() is False
    settle(world, redrive)
    assert fates(world, "a") == ["counted"]


def test_a_creation_before_a_crash_is_redriven_after_it(world: World) -> None:
    world.add_meter()
    automatic(world)
    world.accept(Event("a"))
    world.apply()
    world.add_customer()
    world.restart()
    settle(world, automatic(world))
    assert fates(world, "a") == ["counted"]


def test_what_is_done_is_not_done_again_after_a_restart(world: World) -> None:
    world.add_meter()
    settle(world, automatic(world))
    world.add_customer("cus_2")
    world.accept(Event("a", customer="cus_2", value="x"), Event("b"))
    settle(world, automatic(world))
    mark = on(world.control).marks.get(MARK)
    world.restart()
    again = automatic(world)
    settle(world, again)
    assert on(world.control).marks.get(MARK) == mark
    assert world.log.end_offset() == 2


def test_what_was_created_before_it_was_switched_on_is_left_alone(world: World) -> None:
    world.accept(Event("a"))
    world.apply()
    world.add_meter()
    world.add_customer()
    settle(world, automatic(world))
    assert [each.identifier for each in dead_letters(world)] == ["a"]
    assert world.log.end_offset() == 1


def test_other_changes_redrive_nothing(world: World) -> None:
    meter, customer = world.add_meter(), world.add_customer()
    redrive = automatic(world)
    world.accept(Event("a", value="x"), Event("b", event_name="other"))
    settle(world, redrive)
    world.change_meter(meter, active=False)
    world.delete_customer(customer)
    settle(world, redrive)
    assert world.log.end_offset() == 2


def test_an_undone_creation_redrives_nothing(world: World) -> None:
    redrive = automatic(world)
    with pytest.raises(RuntimeError), world.control.transaction():
        world.add_customer()
        raise RuntimeError
    assert redrive.run_once() is False


def test_the_thread_tries_again_what_passes_and_ends_when_it_is_stopped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(automatic_redrive, "_PAUSE_SECONDS", 0.01)
    redrive, done = automatic(world), threading.Event()
    run_once, faults = redrive.run_once, [Unavailable("away"), Unavailable("away")]

    def at_first_away() -> bool:
        if faults:
            raise faults.pop()
        has_more = run_once()
        done.set()
        return has_more

    monkeypatch.setattr(redrive, "run_once", at_first_away)
    fatal: list[BaseException] = []
    running = RedrivingAutomatically(redrive, on_fatal=fatal.append)
    running.start()
    world.add_meter()
    assert done.wait(30)
    running.stop()
    running.stop()
    assert fatal == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_is_told_and_ends_the_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    redrive, told = automatic(world), threading.Event()

    def broken() -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(redrive, "run_once", broken)
    running = RedrivingAutomatically(redrive, on_fatal=lambda _: told.set())
    running.start()
    world.add_meter()
    assert told.wait(30)
    running.stop()
