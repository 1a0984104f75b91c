"""What the applier hands to a watch: whole steps that follow each other, or nothing at all."""

from typing import Any
from unittest.mock import patch

import pytest

from streamgauge.domain.errors import Unavailable
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.domain.touched_usage import touched_by
from streamgauge.engine import recently_touched
from streamgauge.engine.ports.progress import Intent
from streamgauge.engine.recently_touched import RecentlyTouched
from tests.support.settled import Settled, settled
from tests.support.usage import cancellation_of
from tests.support.world import Event, World

MTR = "mtr_api_requests"


def step(first: int, next_offset: int) -> tuple[Intent, SettledEvents]:
    """As many events of one customer, of 1 each."""
    return Intent(first, next_offset), settled([_event(at) for at in range(first, next_offset)])


def _event(offset: int) -> Settled:
    return Settled(identifier=f"event-{offset}", offset=offset)


def wanted(rows_max: int = 1_000) -> RecentlyTouched:
    recently = RecentlyTouched(rows_max=rows_max)
    recently.want([MTR], [])
    return recently


def events_between(recently: RecentlyTouched, first: int, next_offset: int) -> int | None:
    """How many touched the one customer; None when that is not known."""
    found = recently.between(first, next_offset)
    if found is None:
        return None
    (row,) = found
    assert (row.meter_id, row.customer_id, row.last_offset) == (MTR, "cus_1", next_offset - 1)
    return row.events


def test_steps_add_up_and_are_kept_until_the_watch_has_passed_them() -> None:
    recently = wanted()
    for first in (10, 20, 30):
        recently.add(*step(first, first + 10), ())
    assert events_between(recently, 10, 30) == 20
    assert events_between(recently, 10, 40) == 30  # a look that failed asks once more, and for more
    assert events_between(recently, 30, 40) == 10
    assert events_between(recently, 10, 40) is None


def test_a_part_of_the_log_that_is_not_whole_steps_is_not_known() -> None:
    recently = wanted()
    recently.add(*step(10, 20), ())
    recently.add(*step(20, 30), ())
    for first, next_offset in ((0, 30), (10, 25), (10, 40), (30, 40)):
        assert recently.between(first, next_offset) is None
    recently.add(*step(30, 40), ())
    assert recently.between(15, 40) is None
    assert events_between(recently, 30, 40) == 10


def test_a_cancellation_is_handed_on_too() -> None:
    recently = wanted()
    _, events = step(0, 2)
    recently.add(Intent(0, 3), events, [cancellation_of(_event(0), offset=2)])
    assert events_between(recently, 0, 3) == 2


def test_a_step_that_is_done_again_is_there_once() -> None:
    recently = wanted()
    recently.add(*step(0, 10), ())
    recently.add(*step(10, 20), ())
    recently.add(*step(10, 20), ())
    assert recently.between(0, 20) is None  # what came before is asked of the store
    recently.add(*step(20, 30), ())
    assert events_between(recently, 10, 30) == 20


def test_a_step_of_a_log_that_began_anew_follows_nothing() -> None:
    recently = wanted()
    recently.add(*step(0, 10), ())
    recently.add(*step(30, 40), ())
    assert recently.between(0, 40) is None
    assert events_between(recently, 30, 40) == 10


def test_nothing_is_kept_for_nobody() -> None:
    recently = RecentlyTouched()
    recently.add(*step(0, 10), ())
    recently.want([MTR], [])
    assert recently.between(0, 10) is None
    recently.add(*step(10, 20), ())
    recently.want([], [])
    assert recently.between(10, 20) is None


def test_what_was_kept_for_other_meters_or_days_is_forgotten() -> None:
    recently = wanted()
    for first, meters, days in ((0, [MTR, "mtr_b"], []), (10, [MTR, "mtr_b"], ["mtr_b"])):
        recently.add(*step(first, first + 10), ())
        recently.want(meters, days)
        assert recently.between(first, first + 10) is None
    recently.add(*step(20, 30), ())
    recently.want({"mtr_b", MTR}, {"mtr_b"})
    assert events_between(recently, 20, 30) == 10


def test_a_step_that_was_added_up_for_what_is_no_longer_wanted_is_not_kept() -> None:
    recently = wanted()

    def while_it_is_added_up(*arguments: Any) -> Any:
        recently.want([MTR, "mtr_b"], [])
        return touched_by(*arguments)

    with patch.object(recently_touched, "touched_by", while_it_is_added_up):
        recently.add(*step(0, 10), ())
    assert recently.between(0, 10) is None


def test_of_a_watch_that_fell_behind_the_oldest_steps_are_forgotten() -> None:
    recently = wanted(rows_max=3)  # of which each step makes one
    for first in (0, 10, 20, 30):
        recently.add(*step(first, first + 10), ())
    assert recently.between(0, 40) is None
    assert events_between(recently, 10, 40) == 30


def test_the_applier_hands_on_what_each_step_touched() -> None:
    world = World()
    meter = world.add_meter()
    world.add_customer()
    world.recently.want([meter.id], [])
    for step_of in (("a", "b"), ("c", "a")):
        world.accept(*(Event(identifier) for identifier in step_of))
        world.apply()
        next_offset = world.progress.checkpoint().next_offset
        (row,) = world.recently.between(next_offset - 2, next_offset) or ()
        assert (row.customer_id, row.events) == ("cus_1", 2 if step_of == ("a", "b") else 1)
    assert world.recently.between(0, 4) is None  # the first step was passed when the second one was looked at


def test_nothing_is_handed_on_of_a_step_that_is_not_stored() -> None:
    world = World()
    meter = world.add_meter()
    world.add_customer()
    world.recently.want([meter.id], [])
    world.accept(Event("a"))
    with patch.object(world.store, "insert", side_effect=Unavailable("away")), pytest.raises(Unavailable):
        world.applier.run_once()
    assert world.recently.between(0, 1) is None
    world.apply()
    assert world.recently.between(0, 1)
