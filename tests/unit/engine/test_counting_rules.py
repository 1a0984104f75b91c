"""Settings that decide fates are kept with the folder, and a change of them alters nothing received before."""

import logging

import pytest

from streamgauge.adapters.memory.event_log import MemoryProgress
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.counting_rules import CountingRules, DatedRules
from streamgauge.engine.counting_rules import kept_rules, take_up
from tests.support.world import DAY_MS, Event, World

STRICT = CountingRules()
OPEN = CountingRules(accept_unknown_customers=True, dedup_window_ms=DAY_MS)


def test_the_first_start_keeps_its_settings_from_the_beginning() -> None:
    world = World()
    assert world.control.counting_rules() == (DatedRules(0, STRICT),)
    world.restart()
    assert len(world.control.counting_rules()) == 1


def test_other_settings_hold_from_their_start_on_and_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    before = world.accept(Event("a"))
    with caplog.at_level(logging.INFO):
        history = take_up(OPEN, world.control, world.log, world.clock)
    after = world.accept(Event("b"))
    assert (history.at(before.received_at_ms), history.at(after.received_at_ms)) == (STRICT, OPEN)
    assert kept_rules(world.control, STRICT).dated == history.dated
    assert "counting rules changed" in caplog.text and "unknown_customers=accept dedup_window_hours=24" in caplog.text


def test_a_folder_without_rules_is_read_with_those_that_are_given_and_not_written() -> None:
    world = World()
    world.control._rules.clear()
    assert kept_rules(world.control, OPEN).latest == OPEN
    assert world.control.counting_rules() == ()


def test_what_was_received_before_a_change_keeps_its_fate_also_when_it_is_applied_later_and_again() -> None:
    world = World()
    world.add_meter()
    world.accept(Event("a", customer="cus_unknown"))
    world.accept_unknown_customers, world.window_ms = True, DAY_MS
    world.restart()
    world.accept(Event("b", customer="cus_unknown"))
    world.clock.at_ms += 2 * DAY_MS
    world.accept(Event("b", customer="cus_unknown"))  # the window is over
    world.accept_unknown_customers, world.window_ms = False, 35 * DAY_MS
    world.restart()
    world.accept(Event("b", customer="cus_unknown"), Event("c", customer="cus_unknown"))
    world.apply()
    expected = {
        "a": ["meter_event_customer_not_found"],
        "b": ["counted", "counted", "duplicate"],
        "c": ["meter_event_customer_not_found"],
    }
    assert {each: world.fates(each) for each in "abc"} == expected
    world.store, world.progress = MemoryUsageStore(), MemoryProgress()
    world.restart()
    world.apply()
    assert {each: world.fates(each) for each in "abc"} == expected


def test_a_window_that_grows_finds_what_was_counted_before_it_grew() -> None:
    world = World(window_ms=DAY_MS)
    world.add_meter()
    world.add_customer()
    world.accept(Event("a"))
    world.apply()
    world.clock.at_ms += 2 * DAY_MS
    world.accept(Event("other"))
    world.apply()  # by now the filter has dropped the first
    world.window_ms = 35 * DAY_MS
    world.restart()
    world.accept(Event("a"))
    world.apply()
    assert world.fates("a") == ["counted", "duplicate"]
