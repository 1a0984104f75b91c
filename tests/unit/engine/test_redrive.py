"""Redriving dead letters: judged by today's meters and customers, and by the time when each was received."""

from decimal import Decimal

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import BacklogFull
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.domain.redrive import encode_redrive, redrive_of
from streamgauge.engine import redrive as redrive_module
from streamgauge.engine.ports.dead_letters import LetterFilter, Places
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.redrive import all_of
from tests.support.redriving import OPEN, dead_letters, differences, events_of, fates, redrive, redrives_of
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, WINDOW_MS, Event, World

STRANGERS = "meter_event_customer_not_found"


@pytest.fixture
def world() -> World:
    return World()


def appended(world: World) -> None:
    """What is open now, once more in the log, whoever else did so."""
    block = redrive_of(dead_letters(world))
    world.log.append(encode_redrive(block), block.tallies)


def test_what_was_missing_is_created_and_its_events_count(world: World) -> None:
    meter = world.add_meter()
    world.accept(Event("a", value="1.5"), Event("b", value="2"), Event("c", value="x"))
    world.apply()
    world.add_customer()
    (portion,) = redrive(world)
    assert (portion.selected, portion.counted, portion.rejected) == (3, 2, {"meter_event_invalid_value": 1})
    assert world.total(meter) == Decimal("3.5")
    assert [fates(world, each) for each in "abc"] == [["counted"], ["counted"], ["meter_event_invalid_value"]]
    assert differences(world) == []


def test_the_answer_tells_what_the_applier_finds_whether_or_not_it_has_looked_yet(world: World) -> None:
    world.add_meter()
    world.accept(Event("a"), Event("b"), Event("b"), Event("c", value="x"))
    world.apply()
    world.add_customer()
    redrives = redrives_of(world)
    told = redrives.redrive(TENANT, OPEN)
    assert (told.counted, told.duplicates, told.rejected) == (2, 1, {"meter_event_invalid_value": 1})
    world.apply()
    assert [fates(world, each) for each in "ab"] == [["counted"], ["counted", "duplicate"]]
    assert fates(world, "c") == ["meter_event_invalid_value"]


def test_a_redrive_that_was_applied_at_once_is_told_from_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_meter()
    world.accept(Event("a"), Event("b", value="x"))
    world.apply()
    world.add_customer()
    append = world.log.append

    def append_and_apply(*given: object) -> object:
        record = append(*given)  # type: ignore[arg-type]
        world.apply()
        return record

    monkeypatch.setattr(world.log, "append", append_and_apply)
    told = redrives_of(world).redrive(TENANT, OPEN)
    assert (told.counted, told.rejected) == (1, {"meter_event_invalid_value": 1})


def test_redriving_twice_counts_once(world: World) -> None:
    meter = world.add_meter()
    world.accept(Event("a"))
    world.apply()
    world.add_customer()
    redrive(world)
    (again,) = redrive(world)
    assert (again.selected, world.total(meter)) == (0, Decimal(1))


def test_what_waits_to_be_judged_again_is_not_put_into_the_log_once_more(world: World) -> None:
    world.accept(Event("a"))
    world.apply()
    redrives = redrives_of(world)
    assert redrives.redrive(TENANT, OPEN).selected == 1
    assert redrives.redrive(TENANT, OPEN).selected == 0
    assert world.log.end_offset() == 2


def test_of_two_redrives_that_selected_the_same_letters_one_counts(world: World) -> None:
    meter = world.add_meter()
    world.accept(Event("a"))
    world.apply()
    world.add_customer()
    appended(world)
    appended(world)
    world.apply()
    assert (world.total(meter), fates(world, "a")) == (Decimal(1), ["counted"])
    assert differences(world) == []


@pytest.mark.parametrize("days", [1, 34, 36, 100])
def test_a_redrive_long_after_the_other_is_a_duplicate_too(world: World, days: int) -> None:
    """Also when the claim has left the window: what counts is the window of the first receipt."""
    meter = world.add_meter()
    world.accept(Event("a"))
    world.apply()
    world.add_customer()
    letters = redrive_of(dead_letters(world))
    redrive(world)
    world.clock.at_ms += days * DAY_MS
    world.accept(Event("later"))
    world.apply()
    world.restart()  # the filter is rebuilt from what lies in the window
    world.log.append(encode_redrive(letters), letters.tallies)
    world.apply()
    assert (world.total(meter), fates(world, "a")) == (Decimal(2), ["counted"])
    assert differences(world) == []


def test_a_corrected_resend_closes_the_letter_for_ever(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="x"))
    world.apply()
    stale = redrive_of(dead_letters(world))
    world.accept(Event("a", value="5"))
    world.apply()
    assert redrive(world)[0].selected == 0
    world.clock.at_ms += 2 * WINDOW_MS
    world.log.append(encode_redrive(stale), stale.tallies)
    world.apply()
    assert (world.total(meter), fates(world, "a")) == (Decimal(5), ["duplicate", "counted"])


def test_a_counted_redrive_claims_its_identifier_from_then_on(world: World) -> None:
    meter = world.add_meter()
    world.accept(Event("a"))
    world.apply()
    world.clock.at_ms += 20 * DAY_MS
    world.add_customer()
    redrive(world)
    world.clock.at_ms += 20 * DAY_MS
    world.accept(Event("a"))
    world.apply()
    assert (world.total(meter), fates(world, "a")) == (Decimal(1), ["counted", "duplicate"])


def test_the_time_window_is_that_of_the_first_receipt(world: World) -> None:
    meter = world.add_meter()
    world.accept(
        Event("old", timestamp_ms=START_MS - 34 * DAY_MS),
        Event("too old", timestamp_ms=START_MS - 36 * DAY_MS),
        Event("ahead", timestamp_ms=START_MS + HOUR_MS),
        Event("without"),
    )
    world.apply()
    world.clock.at_ms += 50 * DAY_MS
    world.add_customer()
    redrive(world)
    assert fates(world, "old") == ["counted"]
    assert fates(world, "too old") == ["timestamp_too_far_in_past"]
    assert fates(world, "ahead") == ["timestamp_in_future"]
    (without,) = events_of(world, "without")
    assert (without.timestamp_ms, without.received_at_ms) == (without.received_at_ms, START_MS + 1)
    assert world.total(meter) == 2
    assert differences(world) == []


@pytest.mark.parametrize(
    ("formula", "window", "expected"),
    [(Formula.LAST, None, 8), (Formula.SUM, EventTimeWindow.DAY, 8), (Formula.SUM, None, 13)],
)
def test_a_redriven_event_is_no_newer_than_it_is(
    world: World, formula: Formula, window: EventTimeWindow | None, expected: int
) -> None:
    at_ms = START_MS - HOUR_MS
    meter = world.add_meter(formula=formula, window=window)
    world.accept(Event("first", value="5", timestamp_ms=at_ms))
    world.apply()
    world.add_customer()
    world.accept(Event("second", value="8", timestamp_ms=at_ms))
    world.apply()
    redrive(world)
    assert world.total(meter) == expected
    assert differences(world) == []


def test_a_redriven_event_can_be_cancelled_for_a_day_after_it_counted(world: World) -> None:
    """Not after its first receipt: then nobody could take back what was redriven by mistake."""
    meter = world.add_meter()
    world.accept(Event("a"), Event("b"))
    world.apply()
    world.clock.at_ms += 3 * DAY_MS
    world.add_customer()
    redrive(world)
    world.clock.at_ms += 23 * HOUR_MS
    world.accept_cancel("a")
    world.clock.at_ms += 2 * HOUR_MS
    world.accept_cancel("b")
    world.apply()
    assert (fates(world, "a"), fates(world, "b"), world.total(meter)) == (["cancelled"], ["counted"], Decimal(1))
    assert redrive(world)[0].selected == 0
    assert differences(world) == []


def test_a_trial_says_what_would_come_and_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrive_module, "REDRIVE_EVENTS_MAX", 2)
    world.add_meter()
    world.accept(Event("a"), Event("b"), Event("c", value="x"), Event("b"), Event("d"), Event("b"))
    world.apply()
    world.add_customer()
    before = world.log.end_offset()
    tried = redrives_of(world).trial(TENANT, OPEN)
    assert (tried.counted, tried.duplicates, tried.rejected) == (3, 2, {"meter_event_invalid_value": 1})
    assert tried.rest is None
    assert world.log.end_offset() == before
    assert [each.identifier for each in dead_letters(world)] == ["a", "b", "c", "b", "d", "b"]
    monkeypatch.undo()
    (done,) = redrive(world)
    assert (done.counted, done.duplicates, done.rejected) == (tried.counted, tried.duplicates, tried.rejected)


def test_a_trial_may_be_bounded_and_says_where_more_is(world: World) -> None:
    world.accept(*(Event(f"{number}") for number in range(5)))
    world.apply()
    tried = redrives_of(world).trial(TENANT, OPEN, limit=3)
    assert (tried.selected, tried.rest) == (3, Places(3, 5))


def test_portions_end_with_what_was_there_when_they_began(world: World) -> None:
    """Else a redrive that rejects again, or a stream of bad events, would never end."""
    world.accept(*(Event(f"{number}") for number in range(5)))
    world.apply()
    redrives, rest, sizes = redrives_of(world), None, []
    while True:
        portion = redrives.redrive(TENANT, OPEN, rest, limit=2)
        world.accept(Event("one more"))
        world.apply()
        sizes.append(portion.selected)
        rest = portion.rest
        if rest is None:
            break
    assert sizes == [2, 2, 1]


def test_only_what_the_filter_names_is_redriven(world: World) -> None:
    world.accept(Event("a", event_name="one"), Event("b", event_name="two"))
    world.apply()
    (portion,) = redrive(world, LetterFilter(event_names=frozenset({"two"})))
    assert portion.selected == 1
    assert [each.offset for each in dead_letters(world)] == [0, 2]


def test_letters_of_another_mode_are_left_alone(world: World) -> None:
    world.accept(Event("a"), tenant=Tenant(TENANT.account_id, livemode=True))
    world.apply()
    assert redrive(world)[0].selected == 0


def test_nothing_is_redriven_into_a_full_backlog(world: World) -> None:
    world.accept(Event("a"))
    world.apply()
    world.accept(Event("b"))
    with pytest.raises(BacklogFull):
        redrives_of(world, backlog_events_max=1).redrive(TENANT, OPEN)
    assert world.log.end_offset() == 2


def test_redriven_events_are_not_accepted_anew(world: World) -> None:
    world.accept(Event("a"), Event("b"))
    world.apply()
    redrive(world)
    for tallies in (world.log.accepted(), world.progress.applied()):
        assert (tallies[TENANT].events, tallies[TENANT].redriven, tallies[TENANT].entries) == (2, 2, 4)


def test_a_store_that_is_made_anew_from_the_log_is_equal(world: World) -> None:
    meter = world.add_meter(formula=Formula.LAST)
    world.accept(Event("a"), Event("b", value="x"))
    world.apply()
    world.add_customer()
    redrive(world)
    world.add_customer("cus_2")
    redrive(world)
    world.accept_cancel("a")
    world.apply()
    total = world.total(meter)
    again = World(clock=world.clock)
    again.log, again.control = world.log, world.control
    again.restart()
    again.apply()
    assert again.total(meter) == total
    assert again.store.rows == world.store.rows  # type: ignore[attr-defined]


def test_all_of_goes_on_until_nothing_is_left(world: World) -> None:
    world.accept(*(Event(f"{number}") for number in range(5)))
    world.apply()
    assert sum(each.selected for each in all_of(redrives_of(world), TENANT, OPEN)) == 5


def test_a_receipt_tells_of_the_first_receipt_and_takes_no_redrive_for_a_repeat(world: World) -> None:
    world.add_meter()
    record = world.accept(Event("a"))
    world.apply()
    world.clock.at_ms += DAY_MS
    world.add_customer()
    receipts = Receipts(world.unapplied, world.store)
    appended(world)
    assert receipts.find(TENANT, "a").status is Fate.PENDING
    appended(world)
    world.apply()
    receipt = receipts.find(TENANT, "a")
    assert (receipt.status, receipt.repeats) == (Fate.COUNTED, 0)
    assert (receipt.received_at_ms, receipt.log_offset) == (record.received_at_ms, record.first_offset)
