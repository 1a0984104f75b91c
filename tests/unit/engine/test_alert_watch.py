"""When alerts fire. Usage here is applied by hand, one event after the other, and looked at when a test says so."""

from decimal import Decimal
from unittest.mock import patch

import pytest

from streamgauge.domain.errors import Unavailable
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.engine import alert_watch
from streamgauge.engine.ports.usage_watch import UsageKey
from tests.support.alert_world import TODAY_MS, AlertWorld
from tests.support.alerting import DAILY, EVERY, MONTHLY
from tests.support.usage import meter_of
from tests.support.world import DAY_MS, TENANT

YESTERDAY_MS = TODAY_MS - DAY_MS
TODAY_S, YESTERDAY_S = TODAY_MS // 1000, YESTERDAY_MS // 1000


@pytest.fixture
def world() -> AlertWorld:
    return AlertWorld()


def test_an_alert_fires_when_a_customer_reaches_its_threshold_and_never_again(world: AlertWorld) -> None:
    alert = world.alert(100)
    world.use(99)
    assert world.look() == []
    world.use(Decimal("1.5"))
    (firing,) = world.look()
    assert (firing.alert, firing.customer_id, firing.total) == (alert, "cus_1", Decimal("100.5"))
    world.use(1_000)
    assert world.look() == []
    world.restart()
    world.use(1_000)
    assert world.look() == []


def test_an_alert_for_everyone_fires_once_for_each_customer(world: AlertWorld) -> None:
    world.alert(100)
    world.use(100, "cus_1")
    world.use(50, "cus_2")
    assert world.fired() == [("cus_1", 0, 100)]
    world.use(50, "cus_2")
    assert world.fired() == [("cus_2", 0, 100)]


def test_an_alert_for_one_customer_fires_for_no_other(world: AlertWorld) -> None:
    world.alert(100, customer_id="cus_2")
    for customer in ("cus_1", "cus_2", "cus_3"):
        world.use(100, customer)
    assert world.fired() == [("cus_2", 0, 100)]


def test_the_store_is_asked_who_was_touched_only_where_the_applier_did_not_hand_it_over(world: AlertWorld) -> None:
    world.alert(100)
    world.use(99)
    world.look()
    with patch.object(world.usage, "touched", side_effect=AssertionError("the store was asked")):
        world.use(1)
        assert world.fired() == [("cus_1", 0, 100)]
    world.use(100, "cus_2")
    world.restart()
    with patch.object(world.usage, "touched", wraps=world.usage.touched) as asked:
        assert world.fired() == [("cus_2", 0, 100)]
    assert asked.call_count == 1


def test_usage_of_other_meters_does_not_matter(world: AlertWorld) -> None:
    world.alert(100)
    other = world.add_meter(meter_of(meter_id="mtr_other"))
    world.use(1_000, meter=other)
    world.use(99)
    assert world.look() == []


def test_usage_from_before_an_alert_counts_but_is_only_looked_at_when_more_is_reported(world: AlertWorld) -> None:
    world.use(150)
    world.use(150, "cus_2")
    world.alert(100)
    assert world.look() == []
    world.use(1)
    assert world.fired() == [("cus_1", 0, 151)]


def test_usage_from_before_an_alert_that_another_has_looked_at_waits_for_more_too(world: AlertWorld) -> None:
    world.alert(10)
    world.use(150)
    second = world.alert(100)  # the first event is not looked at yet
    assert [each.alert.id == second.id for each in world.look()] == [False]
    world.use(1)
    assert [each.alert.id == second.id for each in world.look()] == [True]


def test_usage_from_after_an_alert_is_seen_also_beside_usage_of_another_day_from_before(world: AlertWorld) -> None:
    world.alert(1_000)
    world.use(150)
    second = world.alert(100)
    world.use(1, at_ms=YESTERDAY_MS)
    assert [each.alert.id for each in world.look()] == [second.id]


def test_a_late_event_counts_like_any_other(world: AlertWorld) -> None:
    world.alert(100)
    world.use(60)
    world.use(40, at_ms=YESTERDAY_MS)
    assert world.fired() == [("cus_1", 0, 100)]


def test_a_total_that_falls_and_reaches_the_threshold_again_is_not_told_again(world: AlertWorld) -> None:
    world.alert(100)
    event = world.use(100)
    assert len(world.look()) == 1
    world.cancel(event)
    assert world.look() == []
    world.use(100)
    assert world.look() == []


def test_what_was_cancelled_before_anyone_looked_does_not_count(world: AlertWorld) -> None:
    world.alert(100)
    event = world.use(100)
    world.cancel(event)
    assert world.look() == []
    world.use(99)
    assert world.look() == []
    world.use(1)
    assert world.fired() == [("cus_1", 0, 100)]


def test_cancelling_a_negative_event_can_reach_a_threshold(world: AlertWorld) -> None:
    world.alert(100)
    world.use(120)
    event = world.use(-50)
    assert world.look() == []
    world.cancel(event)
    assert world.fired() == [("cus_1", 0, 120)]


def test_every_so_many_units_the_alert_tells_once_of_the_multiple_that_is_reached(world: AlertWorld) -> None:
    world.alert(100, EVERY)
    steps = []
    for value in (99, 1, 50, 50, 350, 49, -300, 299, 2):
        world.use(value)
        steps.append([step for _, step, _ in world.fired()])
    assert steps == [[], [1], [], [2], [5], [], [], [], [6]]


def test_a_multiple_below_one_that_was_told_is_not_told_when_the_total_falls(world: AlertWorld) -> None:
    world.alert(100, EVERY)
    world.use(550)
    assert world.fired() == [("cus_1", 5, 550)]
    world.restart()
    world.use(-150)  # to a multiple that was passed over
    assert world.look() == []
    world.use(200)
    assert world.fired() == [("cus_1", 6, 600)]


def test_several_multiples_passed_between_two_looks_are_told_once(world: AlertWorld) -> None:
    world.alert(10, EVERY)
    world.use(35)
    world.use(10**15)
    assert world.fired() == [("cus_1", (10**15 + 35) // 10, 10**15 + 35)]


def test_a_threshold_that_many_small_values_add_up_to_is_not_passed_over(world: AlertWorld) -> None:
    world.alert(100)
    for _ in range(999):
        world.use(Decimal("0.1"))  # as a binary fraction, a thousand of these come to less
        world.watch.run_once()
    assert world.announced.firings == []
    world.use(Decimal("0.1"))
    assert world.fired() == [("cus_1", 0, 100)]


def test_a_daily_alert_fires_once_for_each_day_of_event_time(world: AlertWorld) -> None:
    world.alert(100, DAILY)
    world.use(100)
    world.use(99, at_ms=YESTERDAY_MS)
    assert world.fired() == [("cus_1", TODAY_S, 100)]
    world.use(1, at_ms=YESTERDAY_MS + DAY_MS - 1)  # late, and of yesterday
    world.use(1_000)
    assert world.fired() == [("cus_1", YESTERDAY_S, 100)]
    world.use(1_000, at_ms=YESTERDAY_MS)
    assert world.look() == []


def test_a_monthly_alert_adds_up_the_days_of_a_month(world: AlertWorld) -> None:
    world.alert(100, MONTHLY)
    month = MONTHLY.period_of(TODAY_MS)
    assert month is not None
    world.use(50, at_ms=month.start_s * 1000)
    world.use(50, at_ms=month.start_s * 1000 - 1)  # the month before
    assert world.look() == []
    world.use(50, at_ms=month.end_s * 1000 - 1)
    (firing,) = world.look()
    assert (firing.step, firing.period, firing.total) == (month.start_s, month, Decimal(100))


def test_days_of_one_look_that_belong_to_one_sum_are_taken_together(world: AlertWorld) -> None:
    world.alert(100)
    world.use(10)
    assert world.look() == []
    # None of the two days reaches what is missing by itself.
    world.use(50)
    world.use(50, at_ms=YESTERDAY_MS)
    assert world.fired() == [("cus_1", 0, 110)]


@pytest.mark.parametrize(
    ("formula", "window", "totals"),
    [
        (Formula.COUNT, None, [1, 2, 3, 4]),
        (Formula.LAST, None, [3, 1, 4, 2]),
        (Formula.SUM, EventTimeWindow.DAY, [3, 1, 4, 2]),
    ],
)
def test_alerts_work_with_every_formula(formula: Formula, window: EventTimeWindow | None, totals: list[int]) -> None:
    world = AlertWorld(formula, window)
    world.alert(2)
    world.alert(4)
    reached = []
    for at, value in enumerate([3, 1, 4, 2]):
        world.use(value, at_ms=TODAY_MS + at)
        reached.append([firing.alert.threshold.gte for firing in world.look()])
    first_2, first_4 = (next(at for at, total in enumerate(totals) if total >= gte) for gte in (2, 4))
    assert reached == [[2] * (at == first_2) + [4] * (at == first_4) for at in range(4)]


def test_a_cancellation_that_brings_back_a_larger_last_value_fires() -> None:
    world = AlertWorld(Formula.LAST)
    world.alert(100)
    world.use(150, at_ms=TODAY_MS)
    event = world.use(50, at_ms=TODAY_MS + 1)
    assert world.look() == []
    world.cancel(event)
    assert world.fired() == [("cus_1", 0, 150)]


def test_an_inactive_alert_does_not_fire_and_is_looked_at_at_once_when_activated(world: AlertWorld) -> None:
    alert = world.alert(100)
    world.use(100, "cus_1")
    assert len(world.look()) == 1
    world.alerts.deactivate(TENANT, alert.id)
    world.use(100, "cus_1")
    world.use(100, "cus_2")
    world.use(99, "cus_3")
    assert world.look() == []
    world.alerts.activate(TENANT, alert.id)
    assert world.fired() == [("cus_2", 0, 100)]
    assert world.watch.run_once() is False
    world.restart()
    assert world.watch.run_once() is False  # it was looked at, which is stored
    world.use(1, "cus_3")
    assert world.fired() == [("cus_3", 0, 100)]


def test_an_alert_for_one_customer_is_looked_at_for_that_one_when_activated(world: AlertWorld) -> None:
    alert = world.alert(100, DAILY, "cus_1")
    world.alerts.deactivate(TENANT, alert.id)
    world.use(100, "cus_1", at_ms=YESTERDAY_MS)
    world.use(100, "cus_1")
    world.use(100, "cus_2")
    world.clock.at_ms = TODAY_MS + 1
    world.alerts.activate(TENANT, alert.id)
    assert world.fired() == [("cus_1", TODAY_S, 100)]  # of today alone


def test_an_activated_alert_waits_until_all_that_was_reported_before_is_applied(world: AlertWorld) -> None:
    alert = world.alert(100)
    world.alerts.deactivate(TENANT, alert.id)
    world.use(50)
    world.store_usage(50)
    world.alerts.activate(TENANT, alert.id)
    assert world.look() == []
    world.advance()
    assert world.fired() == [("cus_1", 0, 100)]


def test_an_archived_alert_does_not_fire(world: AlertWorld) -> None:
    alert = world.alert(100)
    world.alerts.archive(TENANT, alert.id)
    world.use(100)
    assert world.look() == []


def test_a_step_that_fails_has_told_nothing_and_is_run_again(world: AlertWorld) -> None:
    world.alert(100)
    world.use(100)
    world.announced.fails = Unavailable("the control store is away")
    with pytest.raises(Unavailable):
        world.watch.run_once()
    assert world.marks.get(alert_watch.MARK) is None
    assert world.fired() == [("cus_1", 0, 100)]
    assert world.marks.get(alert_watch.MARK) == 1


def test_an_alert_that_comes_while_a_step_is_under_way_misses_nothing(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.alert(10_000)
    touched = world.usage.touched

    def and_meanwhile(*given: object, **named: object) -> object:
        monkeypatch.setattr(world.usage, "touched", touched)
        world.alert(100)  # at the end of the log, which the step has read from beyond
        return touched(*given, **named)  # type: ignore[arg-type]

    world.use(150)
    world.log.offset -= 1
    monkeypatch.setattr(world.usage, "touched", and_meanwhile)
    assert [firing.alert.threshold.gte for firing in world.look()] == [100]


def test_an_alert_that_is_deactivated_while_a_step_is_under_way_does_not_fire(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    alert, other = world.alert(100), world.alert(100)
    usage = world.usage.usage

    def and_meanwhile(*given: object, **named: object) -> object:
        world.alerts.deactivate(TENANT, alert.id)
        monkeypatch.setattr(world.usage, "usage", usage)
        return usage(*given)  # type: ignore[arg-type]

    world.use(150)
    monkeypatch.setattr(world.usage, "usage", and_meanwhile)
    assert [firing.alert.id for firing in world.look()] == [other.id]


def test_more_firings_than_one_transaction_takes_are_all_told_also_over_a_failure(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_watch, "TRANSACTION_FIRINGS_MAX", 2)
    world.alert(100)
    for number in range(5):
        world.use(100, f"cus_{number}")
    announce, calls = world.announced, []
    original = world.alert_store.add_firings

    def counted(firings: object) -> None:
        original(firings)  # type: ignore[arg-type]
        calls.append(firings)
        if len(calls) == 2:
            raise ZeroDivisionError

    monkeypatch.setattr(world.alert_store, "add_firings", counted)
    with pytest.raises(ZeroDivisionError):
        world.watch.run_once()
    assert len(announce.firings) == 2
    world.restart()
    world.look()
    assert sorted(each.customer_id for each in announce.firings) == [f"cus_{number}" for number in range(5)]


def test_a_long_log_is_looked_at_in_steps(world: AlertWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_watch, "STEP_ENTRIES_MAX", 2)
    world.alert(100)
    for customer in ("cus_1", "cus_2", "cus_3"):
        world.use(60, customer)
        world.use(40, customer)
    assert [customer for customer, _, _ in world.fired()] == ["cus_1", "cus_2", "cus_3"]
    assert world.marks.get(alert_watch.MARK) == 6


def test_without_active_alerts_nothing_is_looked_at(world: AlertWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    alert = world.alert(100)
    world.alerts.deactivate(TENANT, alert.id)
    monkeypatch.setattr(world.usage, "touched", None)
    world.use(100)
    assert world.watch.run_once() is False


def usage_asked(world: AlertWorld, monkeypatch: pytest.MonkeyPatch) -> list[list[UsageKey]]:
    """The keys of each question for usage from now on."""
    asked: list[list[UsageKey]] = []
    usage = world.usage.usage
    monkeypatch.setattr(
        world.usage,
        "usage",
        lambda meters, keys: asked.append(list(keys)) or usage(meters, keys),  # type: ignore[func-returns-value]
    )
    return asked


def test_usage_is_only_asked_for_where_it_may_have_reached_something(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = usage_asked(world, monkeypatch)
    world.alert(100)
    for value in (10, 10, 79, 1, 500):
        world.use(value)
        world.look()
    # At first sight, and when it came to 100; neither below that nor after it was told.
    assert asked == [[(world.meter.id, "cus_1", None)]] * 2


def test_of_the_latest_usage_it_is_asked_for_when_a_high_one_came_or_one_was_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = AlertWorld(Formula.LAST)
    asked = usage_asked(world, monkeypatch)
    world.alert(100)
    events = []
    for at, value in enumerate((60, 50, 70)):
        events.append(world.use(value, at_ms=TODAY_MS + at))
        assert world.look() == []
    assert len(asked) == 1  # at first sight
    world.cancel(events[-1])
    assert world.look() == []
    assert len(asked) == 2
    world.use(90, at_ms=TODAY_MS + 10)
    assert world.look() == []
    assert len(asked) == 2
    world.use(100, at_ms=TODAY_MS + 11)
    assert len(world.look()) == 1
    assert len(asked) == 3


def test_no_more_levels_are_remembered_than_there_is_room_for(
    world: AlertWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_watch, "LEVELS_MAX", 2)
    world.alert(100)
    for _ in range(2):
        for customer in ("cus_1", "cus_2", "cus_3"):
            world.use(50, customer)
        world.look()
    assert len(world.announced.firings) == 3
    assert len(world.watch._levels) == 2
