"""Laws of alerts. Usage, cancellations, changes of alerts and looks come in any order; the applier may be ahead of its
checkpoint; a look may be cut anywhere in its transaction, and the watch be restarted. Then nothing is told twice, and
in the end everything has been told that the totals, as plain definitions give them, call for."""

import contextlib
import math
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.domain.alert import Alert, AlertStatus, Recurrence
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.engine import alert_watch
from tests.support.alert_world import CUSTOMERS, TODAY_MS, AlertWorld
from tests.support.alerting import EVERY
from tests.support.settled import Settled
from tests.support.world import DAY_MS, TENANT


@dataclass(frozen=True)
class Use:
    customer: str
    value: Decimal
    days_ago: int


@dataclass(frozen=True)
class Cancel:
    """One of the events so far, by its place modulo how many there are."""

    at: int


@dataclass(frozen=True)
class Create:
    gte: int
    recurrence: Recurrence
    customer: str | None


@dataclass(frozen=True)
class Switch:
    """Activate what is inactive and deactivate what is active."""

    at: int


@dataclass(frozen=True)
class Look:
    """`fails_at`: where the transaction is cut, if it comes so far."""

    fails_at: str


class Advance:
    """The checkpoint."""


class Restart:
    pass


Op = Use | Cancel | Create | Switch | Look | Advance | Restart

values = st.decimals(-50, 120, places=1)
uses = st.builds(Use, st.sampled_from(CUSTOMERS), values, st.integers(0, 40))
growing_uses = st.builds(Use, st.sampled_from(CUSTOMERS), st.decimals(0, 120, places=1), st.integers(0, 40))
creates = st.builds(
    Create, st.sampled_from([1, 50, 100, 130, 300]), st.sampled_from(Recurrence), st.sampled_from([None, *CUSTOMERS])
)
looks = st.builds(Look, st.sampled_from(["", "", "announcing", "the mark"]))
others: st.SearchStrategy[Op] = st.one_of(looks, looks, st.builds(Advance), st.builds(Advance), st.builds(Restart))


class _Fails(Exception):
    pass


class Driven:
    """A world that operations are done to, and what is known of each alert by plain reckoning."""

    def __init__(self, formula: Formula, window: EventTimeWindow | None) -> None:
        self.world = AlertWorld(formula, window)
        self.events: list[tuple[Settled, bool]] = []
        self.alerts: list[Alert] = []

    def do(self, op: Op) -> None:
        world = self.world
        match op:
            case Use():
                at_ms = TODAY_MS - op.days_ago * DAY_MS
                self.events.append((world.store_usage(op.value, op.customer, at_ms=at_ms), False))
            case Cancel():
                left = [at for at, (_, is_cancelled) in enumerate(self.events) if not is_cancelled]
                if left:
                    at = left[op.at % len(left)]
                    world.store_cancellation(self.events[at][0])
                    self.events[at] = (self.events[at][0], True)
            case Create():
                self.alerts.append(world.alert(op.gte, op.recurrence, op.customer))
            case Switch():
                if self.alerts:
                    at = op.at % len(self.alerts)
                    alert = self.alerts[at]
                    is_active = alert.status is AlertStatus.ACTIVE
                    change = world.alerts.deactivate if is_active else world.alerts.activate
                    self.alerts[at] = change(TENANT, alert.id)
            case Look():
                self._look(op.fails_at)
            case Advance():
                world.advance()
            case Restart():
                world.restart()

    def _look(self, fails_at: str) -> None:
        announced, marks = self.world.announced, self.world.marks
        original = marks.put

        def put_and_fail(name: str, value: int) -> None:
            original(name, value)
            raise _Fails

        with pytest.MonkeyPatch.context() as patch:
            if fails_at == "announcing":
                announced.fails = _Fails()
            elif fails_at == "the mark":
                patch.setattr(marks, "put", put_and_fail)
            with contextlib.suppress(_Fails):
                self.world.watch.run_once()
        announced.fails = None

    def settle(self) -> None:
        self.do(Advance())
        self.world.look()

    def fired(self, alert: Alert) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for firing in self.world.announced.firings:
            if firing.alert.id == alert.id:
                found.setdefault(firing.customer_id, []).append(firing.step)
        return found

    def total(self, customer: str, alert: Alert, day_ms: int) -> Decimal:
        key = (self.world.meter.id, customer, alert.threshold.recurrence.period_of(day_ms))
        return self.world.usage.usage({self.world.meter.id: self.world.meter}, [key]).get(key, Decimal(0))


def check_what_holds_always(driven: Driven) -> None:
    keys = [firing.key for firing in driven.world.announced.firings]
    assert len(keys) == len(set(keys))
    for firing in driven.world.announced.firings:
        threshold = firing.alert.threshold
        assert firing.total >= threshold.gte
        assert threshold.customer_id in (None, firing.customer_id)
        assert firing.step == threshold.step(firing.total, firing.period)


def check_that_all_is_told(driven: Driven) -> None:
    """Of every alert that is active, for every customer that was touched since: whatever the total reaches by now."""
    for alert in driven.alerts:
        if alert.status is not AlertStatus.ACTIVE:
            continue
        told = driven.fired(alert)
        for event, _ in driven.events:
            customer = event.customer
            if event.offset < alert.since_offset or alert.threshold.customer_id not in (None, customer):
                continue
            total = driven.total(customer, alert, event.timestamp_ms)
            period = alert.threshold.recurrence.period_of(event.timestamp_ms)
            step = alert.threshold.step(total, period)
            if step is None:
                continue
            if alert.threshold.recurrence is EVERY:
                assert max(told.get(customer, [0])) >= step
            else:
                assert step in told.get(customer, [])


formulas: st.SearchStrategy[tuple[Formula, EventTimeWindow | None]] = st.sampled_from(
    [
        (Formula.SUM, None),
        (Formula.COUNT, None),
        (Formula.LAST, None),
        (Formula.SUM, EventTimeWindow.DAY),
        (Formula.COUNT, EventTimeWindow.HOUR),
        (Formula.LAST, EventTimeWindow.HOUR),
    ]
)
cancels = st.builds(Cancel, st.integers(0, 100))
switches = st.builds(Switch, st.integers(0, 100))
step_sizes = st.sampled_from([1, 3, 10**6])
firings_at_once = st.sampled_from([1, 2, 100])


@settings(max_examples=150, deadline=None)
@given(
    formulas,
    st.lists(st.one_of(uses, uses, uses, cancels, creates, switches, others), max_size=50),
    step_sizes,
    firings_at_once,
    st.sampled_from([1, 10**6]),
)
def test_whatever_happens_nothing_is_told_twice_and_in_the_end_all_is_told(
    formula: tuple[Formula, EventTimeWindow | None], ops: list[Op], entries_max: int, firings_max: int, levels_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alert_watch, "STEP_ENTRIES_MAX", entries_max)
        patch.setattr(alert_watch, "TRANSACTION_FIRINGS_MAX", firings_max)
        patch.setattr(alert_watch, "LEVELS_MAX", levels_max)
        driven = Driven(*formula)
        for op in ops:
            driven.do(op)
            check_what_holds_always(driven)
        driven.settle()
    check_what_holds_always(driven)
    check_that_all_is_told(driven)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(creates.filter(lambda each: each.recurrence is not EVERY), min_size=1, max_size=4),
    st.lists(st.one_of(growing_uses, growing_uses, others), max_size=40),
)
def test_any_batching_of_growing_usage_and_any_crashes_tell_exactly_what_was_reached(
    alerts: list[Create], ops: list[Op]
) -> None:
    driven = Driven(Formula.SUM, None)
    for op in (*alerts, *ops):
        driven.do(op)
    driven.settle()
    for alert in driven.alerts:
        reached = {
            (event.customer, step)
            for event, _ in driven.events
            if alert.threshold.customer_id in (None, event.customer)
            for period in (alert.threshold.recurrence.period_of(event.timestamp_ms),)
            if (step := alert.threshold.step(driven.total(event.customer, alert, event.timestamp_ms), period))
            is not None
        }
        told = [(customer, step) for customer, steps in driven.fired(alert).items() for step in steps]
        assert sorted(told) == sorted(reached)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(growing_uses, growing_uses, others), max_size=40))
def test_multiples_are_told_in_order_and_up_to_the_last_that_was_reached(ops: list[Op]) -> None:
    driven = Driven(Formula.SUM, None)
    driven.do(Create(50, EVERY, None))
    for op in ops:
        driven.do(op)
    driven.settle()
    (alert,) = driven.alerts
    told = driven.fired(alert)
    for customer in CUSTOMERS:
        steps = told.get(customer, [])
        assert steps == sorted(set(steps))
        assert max(steps, default=0) == math.floor(driven.total(customer, alert, TODAY_MS)) // 50
