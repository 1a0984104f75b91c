"""Order, retry, batching, clock and restart must not change a total.

Goal:   whatever way the same events take into the log and out of it, totals are those of a naive recomputation.
Method: Hypothesis draws events (few customers, hours and identifiers, so that they collide), requests, repetitions,
        cancellations and restarts; an oracle in plain Python and `Decimal` reads the log's entries in order and applies
        the definitions of DESIGN.md. Both stores must agree with it for every formula, event time window and grouping.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.world import HOUR_MS, START_MS, Event, World

CUSTOMERS = ("cus_1", "cus_2")
METERS: tuple[tuple[str, Formula, EventTimeWindow | None], ...] = tuple(
    (f"{formula}_{window}", formula, window)
    for formula in Formula
    for window in (None, EventTimeWindow.HOUR, EventTimeWindow.DAY)
)
WINDOW_MS = {EventTimeWindow.HOUR: HOUR_MS, EventTimeWindow.DAY: 24 * HOUR_MS}

values = st.one_of(
    st.integers(-999, 999).map(str),
    st.decimals(-(10**6), 10**6, places=6).map(lambda value: f"{value:f}"),
    st.sampled_from(["999999999999999", "0.000000000000001", "-0.5", "007", "oops", "", "1e2", "1234567890123456"]),
)
events = st.builds(
    Event,
    identifier=st.integers(0, 25).map(lambda number: f"evt-{number}"),
    customer=st.sampled_from([*CUSTOMERS, "cus_stranger"]),
    value=values,
    timestamp_ms=st.one_of(st.none(), st.integers(START_MS - 50 * HOUR_MS, START_MS + 1)),
    event_name=st.sampled_from([*(name for name, _, _ in METERS), "unknown"]),
)


@dataclass(frozen=True)
class Cancel:
    """A cancel request, which may name what never was, what was rejected, or another event name."""

    identifier: str
    event_name: str


cancels = st.builds(
    Cancel,
    identifier=st.integers(0, 25).map(lambda number: f"evt-{number}"),
    event_name=st.sampled_from([name for name, _, _ in METERS]),
)
# Drawn apart from the events, few cancels would meet one: these name an event that is sent in the same history.
cancels_of_sent = st.builds(lambda event: [event, Cancel(event.identifier, event.event_name)], events)
History: TypeAlias = Sequence[Sequence[Event | Cancel] | Cancel | str]
# A history: requests as they reach the log, and between them steps of applying, restarts, and the clock's own ideas.
histories = st.lists(
    st.one_of(
        st.lists(events, min_size=1, max_size=8),
        cancels,
        cancels_of_sent,
        st.sampled_from(["apply", "apply one step", "restart", "forward", "back"]),
    ),
    min_size=1,
    max_size=12,
)


def counted(accepted: Sequence[tuple[Event | Cancel, int]]) -> tuple[list[Event], int]:
    """The events that count, in log order, each with its timestamp settled, and how many were cancelled: one by one,
    by the definitions."""
    claimed: dict[str, tuple[str, int]] = {}
    cancelled: set[str] = set()
    kept = []
    for event, received_at_ms in accepted:
        if isinstance(event, Cancel):
            name, claimed_ms = claimed.get(event.identifier, ("", 0))
            if name == event.event_name and received_at_ms - claimed_ms <= 24 * HOUR_MS:
                cancelled.add(event.identifier)
            continue
        timestamp_ms = received_at_ms if event.timestamp_ms is None else event.timestamp_ms
        digits = event.value.lstrip("-").replace(".", "", 1)
        whole, _, _ = event.value.lstrip("-").partition(".")
        is_value = digits.isdigit() and whole != "" and not event.value.endswith(".")
        is_short = len(digits) - (len(whole) - len(whole.lstrip("0"))) <= 15
        good_value = event.event_name.startswith("count") or (is_value and is_short)
        in_time = received_at_ms - 35 * 24 * HOUR_MS <= timestamp_ms <= received_at_ms + 300_000
        known = event.customer in CUSTOMERS and event.event_name != "unknown"
        if event.identifier in claimed or not (good_value and in_time and known):
            continue
        claimed[event.identifier] = (event.event_name, received_at_ms)
        kept.append(Event(event.identifier, event.customer, event.value, timestamp_ms, event.event_name))
    return [event for event in kept if event.identifier not in cancelled], len(cancelled)


def naive_totals(
    events_in_log_order: Sequence[Event],
    formula: Formula,
    window: EventTimeWindow | None,
    grouping: EventTimeWindow | None,
    whole_range_start_s: int,
) -> dict[int, Decimal]:
    survivors = list(events_in_log_order)
    if window is not None:
        last_of = {_stamp(event) // WINDOW_MS[window]: event for event in survivors}
        survivors = list(last_of.values())
    groups: dict[int, list[Event]] = {}
    for event in survivors:
        start_s = whole_range_start_s
        if grouping is not None:
            start_s = _stamp(event) // WINDOW_MS[grouping] * WINDOW_MS[grouping] // 1000
        groups.setdefault(start_s, []).append(event)
    with localcontext(Context(prec=100)):
        return {start_s: _formula(formula, group) for start_s, group in groups.items()}


def _formula(formula: Formula, group: Sequence[Event]) -> Decimal:
    if formula is Formula.COUNT:
        return Decimal(len(group))
    if formula is Formula.SUM:
        return sum((Decimal(event.value) for event in group), Decimal(0))
    latest = group[0]
    for event in group:
        if _stamp(event) >= _stamp(latest):
            latest = event
    return Decimal(latest.value)


def _stamp(event: Event) -> int:
    assert event.timestamp_ms is not None
    return event.timestamp_ms


def check(store: UsageStore, history: History, step_events_max: int, ahead_entries_min: int) -> None:
    world = World(store=store, step_events_max=step_events_max, ahead_entries_min=ahead_entries_min)
    meters: dict[str, Meter] = {name: world.add_meter(name, formula, window) for name, formula, window in METERS}
    for customer in CUSTOMERS:
        world.add_customer(customer)
    accepted: list[tuple[Event | Cancel, int]] = []
    flat = [each for act in history for each in ([act] if isinstance(act, (str, Cancel)) else _split(act))]
    for act in flat:
        match act:
            case "apply":
                world.apply()
            case "apply one step":
                world.applier.run_once()
            case "restart":
                world.restart()
            case "forward":
                world.clock.at_ms += 2 * HOUR_MS
            case "back":
                world.clock.at_ms -= 3 * HOUR_MS
            case Cancel():
                accepted.append((act, world.accept_cancel(act.identifier, act.event_name).received_at_ms))
            case list():
                record = world.accept(*act)
                accepted += [(event, record.received_at_ms) for event in act]
    world.apply()

    kept, cancelled = counted(accepted)
    range_start_s = START_MS // 1000 // 86_400 * 86_400 - 100 * 86_400
    for name, formula, window in METERS:
        for customer in CUSTOMERS:
            own = [event for event in kept if (event.event_name, event.customer) == (name, customer)]
            for grouping in (None, EventTimeWindow.HOUR, EventTimeWindow.DAY):
                expected = naive_totals(own, formula, window, grouping, range_start_s)
                assert world.totals(meters[name], customer, grouping) == expected, (name, customer, grouping)
    sent = [event for event, _ in accepted if isinstance(event, Event)]
    fates = [fate for identifier in {event.identifier for event in sent} for fate in world.fates(identifier)]
    assert len(fates) == len(sent)  # each has exactly one
    assert (fates.count("counted"), fates.count("cancelled")) == (len(kept), cancelled)


def _split(act: Sequence[Event | Cancel]) -> list[list[Event] | Cancel]:
    """Requests of events, and cancellations, which are requests of their own."""
    sent = [each for each in act if isinstance(each, Event)]
    return [sent, *(each for each in act if isinstance(each, Cancel))]


# Steps are judged one after the other, or each beside the insert of the one before.
aheads = st.sampled_from([1, 10**9])


@settings(max_examples=200, deadline=None)
@given(histories, st.sampled_from([1, 3, 1_000]), aheads)
def test_any_way_of_the_same_events_gives_the_totals_of_a_naive_recomputation(
    history: History, step_events_max: int, ahead_entries_min: int
) -> None:
    check(MemoryUsageStore(), history, step_events_max, ahead_entries_min)


@pytest.mark.timeout(600)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=histories, step_events_max=st.sampled_from([3, 1_000]), ahead_entries_min=aheads)
def test_the_clickhouse_store_obeys_the_same_law(
    new_clickhouse_store: Callable[[], ClickHouseStore],
    history: History,
    step_events_max: int,
    ahead_entries_min: int,
) -> None:
    check(new_clickhouse_store(), history, step_events_max, ahead_entries_min)


@settings(max_examples=100, deadline=None)
@given(st.lists(events, min_size=1, max_size=20, unique_by=lambda event: event.identifier), st.randoms())
def test_totals_do_not_depend_on_retries_or_arrival_order(sent: list[Event], rng: "object") -> None:
    """For the formulas without an order in their definition: what arrives again, or in another order, is the same."""
    import random

    assert isinstance(rng, random.Random)
    plain = [event for event in sent if "None" in event.event_name and not event.event_name.startswith("last")]
    delivered = plain + [event for event in plain if rng.random() < 0.5]
    rng.shuffle(delivered)
    totals = []
    for stream in (plain, delivered):
        world = World()
        meters = [world.add_meter(name, formula, window) for name, formula, window in METERS]
        for customer in CUSTOMERS:
            world.add_customer(customer)
        for event in stream:
            world.accept(event)
            if rng.random() < 0.3:
                world.apply()
        world.apply()
        totals.append([world.total(meter, customer) for meter in meters for customer in CUSTOMERS])
    assert totals[0] == totals[1]
