"""Error reports: one for each window and meter, and each rejected event in exactly one."""

import contextlib
import random

import pytest

from streamgauge.adapters.memory.event_log import MemoryProgress
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.error_report import SAMPLES_MAX
from streamgauge.engine import error_reports
from tests.support.redriving import redrive
from tests.support.reporting import Cut, ReportingWorld, shown
from tests.support.world import TENANT, Event

MTR = "mtr_api_requests"
NOT_FOUND, NO_METER, INVALID = "meter_event_customer_not_found", "no_meter", "meter_event_invalid_value"


@pytest.fixture
def it() -> ReportingWorld:
    return ReportingWorld()


def stranger(identifier: str) -> Event:
    return Event(identifier, customer="cus_stranger")


def test_a_window_is_told_of_once_something_later_is_applied(it: ReportingWorld) -> None:
    it.at(1)
    it.receive(stranger("a"), Event("b", value="x"), Event("c"), Event("d", event_name="unknown"))
    it.at(9.9)
    it.receive(stranger("e"))
    assert it.tell() == 0
    it.at(10)
    it.receive(Event("f"))
    it.tell()
    assert shown(it.told.reports) == [(0, "", {NO_METER: 1}), (0, MTR, {NOT_FOUND: 2, INVALID: 1})]
    it.tell()
    assert len(it.told.reports) == 2


def test_after_a_pause_a_window_is_told_of_when_it_has_ended(it: ReportingWorld) -> None:
    it.at(3)
    it.receive(stranger("a"))
    it.at(9.998)
    assert it.tell() == 0
    it.at(10)
    it.tell()
    assert shown(it.told.reports) == [(0, MTR, {NOT_FOUND: 1})]


def test_what_is_redriven_and_rejected_again_is_not_told_of_again(it: ReportingWorld) -> None:
    it.at(1)
    it.receive(stranger("a"), Event("b", value="x"))
    it.at(10)
    it.tell()
    it.at(13)
    (portion,) = redrive(it.world)
    assert portion.rejected == {NOT_FOUND: 1, INVALID: 1}
    it.at(30)
    it.tell()
    assert shown(it.told.reports) == [(0, MTR, {NOT_FOUND: 1, INVALID: 1})]


def test_nothing_enters_a_window_that_was_told_of_also_when_the_clock_is_set_back(it: ReportingWorld) -> None:
    it.at(3)
    it.receive(stranger("a"))
    it.at(10)
    it.tell()
    it.at(4)
    it.receive(stranger("b"))
    it.at(20)
    it.tell()
    assert shown(it.told.reports) == [(0, MTR, {NOT_FOUND: 1}), (10, MTR, {NOT_FOUND: 1})]


def test_a_window_waits_for_what_is_logged_and_not_applied(it: ReportingWorld) -> None:
    it.at(3)
    it.receive(stranger("a"))
    it.world.accept(stranger("b"))
    it.at(60)
    assert it.tell() == 0
    it.world.apply()
    it.tell()
    assert shown(it.told.reports) == [(0, MTR, {NOT_FOUND: 2})]


def test_windows_in_which_nothing_failed_are_not_told_of_and_cost_nothing(it: ReportingWorld) -> None:
    it.at(0)
    it.receive(stranger("a"))
    it.at(1_000_000)
    it.receive(Event("b"), stranger("c"))
    it.at(2_000_000)
    it.receive(Event("d"))
    assert it.tell() <= 2
    assert shown(it.told.reports) == [(0, MTR, {NOT_FOUND: 1}), (1_000_000, MTR, {NOT_FOUND: 1})]


def test_a_window_that_is_open_is_searched_once(it: ReportingWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    searches = 0
    search = it.search.first_received_from

    def counted(at_ms: int, first_offset: int, next_offset: int) -> int | None:
        nonlocal searches
        searches += 1
        return search(at_ms, first_offset, next_offset)

    monkeypatch.setattr(it.search, "first_received_from", counted)
    for second in (10, 12, 14, 16, 18, 19):
        it.at(second)
        it.receive(stranger(f"event-{second}"))
        assert it.tell() == 0
    assert searches == 1
    it.at(20)
    it.receive(stranger("later"))
    assert it.tell() == 1
    assert searches == 2
    assert shown(it.told.reports) == [(10, MTR, {NOT_FOUND: 6})]


def test_accounts_and_modes_have_reports_of_their_own(it: ReportingWorld) -> None:
    live = Tenant(TENANT.account_id, livemode=True)
    it.at(1)
    it.world.accept(Event("a", event_name="x"), Event("b", event_name="y"))
    it.world.accept(Event("a", event_name="x"), tenant=live)
    it.world.apply()
    it.at(10)
    it.tell()
    assert [(each.tenant, each.count) for each in it.told.reports] == [(TENANT, 2), (live, 1)]


def test_samples_are_the_first_events_in_the_log(it: ReportingWorld) -> None:
    it.at(1)
    it.receive(*(stranger(f"event-{number}") for number in range(SAMPLES_MAX + 5)))
    it.at(10)
    it.tell()
    ((rejections,),) = (each.rejections for each in it.told.reports)
    assert rejections.count == SAMPLES_MAX + 5
    assert [each.identifier for each in rejections.samples] == [f"event-{number}" for number in range(SAMPLES_MAX)]
    assert {each.customer for each in rejections.samples} == {"cus_stranger"}


def test_a_rebuilt_store_repeats_no_report(it: ReportingWorld) -> None:
    it.at(1)
    it.receive(stranger("a"))
    it.at(10)
    it.tell()
    it.world.store, it.world.progress = MemoryUsageStore(), MemoryProgress()
    it.world.restart()
    it.restart()
    assert it.tell() == 0
    it.world.apply()
    it.tell()
    it.at(11)
    it.receive(stranger("b"))
    it.at(20)
    it.tell()
    assert shown(it.told.reports) == [(0, MTR, {NOT_FOUND: 1}), (10, MTR, {NOT_FOUND: 1})]


def test_a_long_pause_is_taken_up_in_parts_that_end_with_a_window(
    it: ReportingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_reports, "LOOK_ENTRIES_MAX", 4)
    for second in range(0, 60, 2):
        it.at(second)
        it.receive(stranger(f"event-{second}"))
    it.world.accept_cancel("unknown")
    for second in range(200, 203):
        it.at(second)
        it.receive(stranger(f"event-{second}"))
    it.at(300)
    assert it.tell() > 5
    expected = [(second, MTR, {NOT_FOUND: 5}) for second in range(0, 60, 10)]
    assert shown(it.told.reports) == [*expected, (200, MTR, {NOT_FOUND: 3})]


def test_any_steps_and_any_crashes_tell_of_each_rejected_event_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random events, pauses, restarts, rebuilds and failures between any two reports, with small bounds."""
    for seed in range(12):
        rng = random.Random(seed)
        it = ReportingWorld()
        monkeypatch.setattr(error_reports, "LOOK_ENTRIES_MAX", rng.choice((1, 3, 10, 1_000)))
        monkeypatch.setattr(error_reports, "TRANSACTION_REPORTS_MAX", rng.choice((1, 2, 100)))
        for number in range(3):
            it.world.add_meter(f"name_{number}")
        second, sent = 0.0, 0
        for _ in range(40):
            second += rng.choice((0, 0.5, 3, 11, 400))
            it.at(second)
            events = [stranger(f"{sent}-{at}") for at in range(rng.randint(1, 4))]
            names = ("api_requests", "name_0", "name_1", "name_2", "unknown")
            it.world.accept(*(Event(each.identifier, each.customer, event_name=rng.choice(names)) for each in events))
            sent += len(events)
            if rng.random() < 0.7:
                it.world.apply()
            if rng.random() < 0.1:
                it.world.store, it.world.progress = MemoryUsageStore(), MemoryProgress()
                it.world.restart()
            if rng.random() < 0.3:
                it.restart()
            it.told.fails_after = rng.choice((None, None, 0, 1, 2))
            with contextlib.suppress(Cut):
                it.tell()
            it.told.fails_after = None
        it.world.apply()
        it.at(second + 10_000)
        it.restart()
        it.tell()
        assert sum(each.count for each in it.told.reports) == sent, seed
        keys = [(each.window_start_ms, each.meter_id) for each in it.told.reports]
        assert len(keys) == len(set(keys)), seed
