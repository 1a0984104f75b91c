"""The contract of `UsageStore.cancel`: what it leaves of totals, run on every adapter.

What is told of cancelled events is in `test_usage_store_counted.py`.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.settled import Settled, settled
from tests.support.usage import (
    DAY,
    FIRST_DAY_MS,
    FIRST_DAY_S,
    HOUR,
    LIVE,
    OTHER,
    cancel,
    cancellation_of,
    insert_usage,
    meter_of,
    totals,
    usage,
)
from tests.support.world import HOUR_MS, TENANT

FORMULAS = [(formula, window) for formula in Formula for window in (None, HOUR, DAY)]


def in_one_minute(*values: int | Decimal, keeps_latest: bool) -> list[Settled]:
    """Events a second apart, in this order."""
    return [
        Settled(
            identifier=f"e{at}",
            offset=at,
            value=value,
            timestamp_ms=FIRST_DAY_MS + at * 1_000,
            keeps_latest=keeps_latest,
        )
        for at, value in enumerate(values)
    ]


# --- totals


@pytest.mark.parametrize(
    ("formula", "window", "whole", "by_hour", "by_day"),
    [
        (Formula.SUM, None, 117, {0: 5, 24: 48, 47: 64}, {0: 5, 24: 112}),
        (Formula.COUNT, None, 5, {0: 2, 24: 2, 47: 1}, {0: 2, 24: 3}),
        (Formula.LAST, None, 64, {0: 4, 24: 32, 47: 64}, {0: 4, 24: 64}),
        (Formula.SUM, HOUR, 100, {0: 4, 24: 32, 47: 64}, {0: 4, 24: 96}),
        (Formula.COUNT, HOUR, 3, {0: 1, 24: 1, 47: 1}, {0: 1, 24: 2}),
        (Formula.LAST, HOUR, 64, {0: 4, 24: 32, 47: 64}, {0: 4, 24: 64}),
        (Formula.SUM, DAY, 68, {0: 4, 47: 64}, {0: 4, 24: 64}),
        (Formula.COUNT, DAY, 2, {0: 1, 47: 1}, {0: 1, 24: 1}),
        (Formula.LAST, DAY, 64, {0: 4, 47: 64}, {0: 4, 24: 64}),
    ],
)
@pytest.mark.parametrize("at_a_time", [1, 3])
def test_a_cancelled_event_counts_for_nothing_whatever_the_formula_and_the_windows(
    store: UsageStore,
    formula: Formula,
    window: EventTimeWindow | None,
    whole: int,
    by_hour: dict[int, int],
    by_day: dict[int, int],
    at_a_time: int,
) -> None:
    """Cancelled are the greatest timestamp of the first hour, an hour's only event, and a day's last in the log."""
    meter = meter_of(formula, window)
    insert_usage(store, meter)
    cancelled = [event for event in usage(meter) if event.value in (2, 8, 128)]
    for start in range(0, len(cancelled), at_a_time):
        cancel(store, *cancelled[start : start + at_a_time], offset=1_000 + start)
    assert totals(store, meter) == [(-24, Decimal(whole))]
    assert totals(store, meter, HOUR) == [(hour, Decimal(value)) for hour, value in reversed(by_hour.items())]
    assert totals(store, meter, DAY) == [(hour, Decimal(value)) for hour, value in reversed(by_day.items())]


@pytest.mark.parametrize(
    ("formula", "window", "without_first", "without_middle", "without_last"),
    [
        (Formula.SUM, None, 6, 5, 3),
        (Formula.COUNT, None, 2, 2, 2),
        (Formula.LAST, None, 4, 4, 2),
        (Formula.SUM, HOUR, 4, 4, 2),
        (Formula.COUNT, DAY, 1, 1, 1),
        (Formula.LAST, DAY, 4, 4, 2),
    ],
)
def test_the_events_that_share_a_minute_with_a_cancelled_one_still_count(
    new_clickhouse_store: Callable[[], ClickHouseStore],
    formula: Formula,
    window: EventTimeWindow | None,
    without_first: int,
    without_middle: int,
    without_last: int,
) -> None:
    meter = meter_of(formula, window)
    events = in_one_minute(1, 2, 4, keeps_latest=meter.keeps_latest)
    clickhouse = new_clickhouse_store()
    for at, expected in enumerate([without_first, without_middle, without_last]):
        # A meter for each case: making a store takes longer than asking one.
        mine = replace(meter, id=f"mtr_{at}")
        mine_events = [replace(e, identifier=f"{at}-{e.identifier}", meter=mine.id) for e in events]
        for store in (MemoryUsageStore(), clickhouse):
            store.insert(settled(mine_events), step=at)
            cancel(store, mine_events[at], offset=1_000 + at)
            assert totals(store, mine) == [(-24, Decimal(expected))]


@pytest.mark.parametrize(("formula", "window"), FORMULAS)
def test_a_window_without_any_event_left_is_left_out_until_a_late_one_arrives(
    store: UsageStore, formula: Formula, window: EventTimeWindow | None
) -> None:
    meter = meter_of(formula, window)
    events = in_one_minute(16, 32, keeps_latest=meter.keeps_latest)
    store.insert(settled(events), step=0)
    cancel(store, *events)  # two of one minute in one call
    assert [totals(store, meter, grouping) for grouping in (None, HOUR, DAY)] == [[], [], []]
    late = Settled(identifier="late", offset=2_000, value=1, timestamp_ms=FIRST_DAY_MS, keeps_latest=meter.keeps_latest)
    store.insert(settled([late]), step=2000)
    for grouping, hour in ((None, -24), (HOUR, 0), (DAY, 0)):
        assert totals(store, meter, grouping) == [(hour, Decimal(1))]


@pytest.mark.parametrize(
    ("formula", "window", "expected"),
    [
        (Formula.SUM, None, 1 + 4 + 8),
        (Formula.COUNT, None, 3),
        (Formula.LAST, None, 4),  # the late one has the timestamp of the cancelled one, which the third follows
        (Formula.SUM, HOUR, 8),  # and was received last
    ],
)
def test_a_late_event_counts_in_the_minute_of_a_cancellation(
    store: UsageStore, formula: Formula, window: EventTimeWindow | None, expected: int
) -> None:
    meter = meter_of(formula, window)
    events = in_one_minute(1, 2, 4, keeps_latest=meter.keeps_latest)
    store.insert(settled(events), step=0)
    cancel(store, events[1])
    late = replace(events[1], identifier="late", offset=2_000, value=8)
    store.insert(settled([late]), step=2000)
    assert totals(store, meter) == [(-24, Decimal(expected))]


def test_minutes_are_taken_back_one_by_one_down_to_none(store: UsageStore) -> None:
    meter = meter_of(Formula.LAST)
    events = in_one_minute(1, 2, 4, 8, keeps_latest=True)
    store.insert(settled(events), step=0)
    left = []
    for event in reversed(events):
        left.append([value for _, value in totals(store, meter)])
        cancel(store, event, offset=1_000 - event.offset)
    assert left == [[8], [4], [2], [1]]
    assert totals(store, meter) == []


@pytest.mark.parametrize(
    ("formula", "window", "from_minute", "to_minute", "expected"),
    [
        (Formula.SUM, None, 10, 51, 5),
        (Formula.SUM, None, 50, 51, None),
        (Formula.LAST, None, 0, 51, 4),
        (Formula.LAST, None, 50, 51, None),
        # What an event time window keeps is decided before the range cuts it: the cancelled event lies outside.
        (Formula.SUM, DAY, 0, 31, 4),
        (Formula.SUM, DAY, 30, 31, 4),
        (Formula.SUM, DAY, 0, 30, None),
    ],
)
def test_a_range_cuts_what_cancellations_leave(
    store: UsageStore,
    formula: Formula,
    window: EventTimeWindow | None,
    from_minute: int,
    to_minute: int,
    expected: int | None,
) -> None:
    meter = meter_of(formula, window)
    insert_usage(store, meter)
    cancel(store, *(event for event in usage(meter) if event.value in (2, 8)))
    found = totals(store, meter, start_s=FIRST_DAY_S + from_minute * 60, end_s=FIRST_DAY_S + to_minute * 60)
    assert [value for _, value in found] == ([] if expected is None else [Decimal(expected)])


@pytest.mark.parametrize(("formula", "window"), [(Formula.SUM, None), (Formula.LAST, None), (Formula.COUNT, HOUR)])
def test_a_window_that_cancellations_emptied_takes_no_place_in_a_page(
    store: UsageStore, formula: Formula, window: EventTimeWindow | None
) -> None:
    meter = meter_of(formula, window)
    insert_usage(store, meter)
    cancel(store, *(event for event in usage(meter) if event.value in (8, 128)))
    assert [hour for hour, _ in totals(store, meter, HOUR, limit=2)] == [47, 24]
    assert [hour for hour, _ in totals(store, meter, HOUR, limit=9)] == [47, 24, 0]


@pytest.mark.parametrize("window", [None, HOUR])
def test_what_is_left_is_exact_however_many_digits_the_cancelled_value_had(
    store: UsageStore, window: EventTimeWindow | None
) -> None:
    values = ["0.000000000000001", "999999999999999", "-0.1", "12345678901234567890123.123456789012345", "0.3"]
    meter = meter_of(Formula.SUM, window)
    events = [
        Settled(
            identifier=f"e{at}",
            offset=at,
            value=Decimal(value),
            timestamp_ms=FIRST_DAY_MS + (at * HOUR_MS if window else at),
            keeps_latest=meter.keeps_latest,
        )
        for at, value in enumerate(values)
    ]
    store.insert(settled(events), step=0)
    cancel(store, events[1], events[3])
    ((_, total),) = totals(store, meter)
    assert total == Decimal("0.200000000000001")


@pytest.mark.parametrize("keeps_latest", [False, True])
def test_a_cancellation_is_of_one_meter_customer_account_and_mode(store: UsageStore, keeps_latest: bool) -> None:
    one = Settled(identifier="a", offset=0, value=1, keeps_latest=keeps_latest)
    others = [
        replace(one, offset=1, value=10, meter="mtr_2", identifier="b"),
        replace(one, offset=2, value=100, customer="cus_2", identifier="c"),
        replace(one, offset=3, value=1_000, tenant=LIVE),
        replace(one, offset=4, value=10_000, tenant=OTHER),
    ]
    store.insert(settled([one, *others]), step=0)
    cancel(store, one)
    formula = Formula.LAST if keeps_latest else Formula.SUM
    assert totals(store, meter_of(formula)) == []
    assert totals(store, meter_of(formula, meter_id="mtr_2")) == [(-24, Decimal(10))]
    assert totals(store, meter_of(formula), customer="cus_2") == [(-24, Decimal(100))]
    assert totals(store, meter_of(formula, tenant=LIVE)) == [(-24, Decimal(1_000))]
    assert totals(store, meter_of(formula, tenant=OTHER)) == [(-24, Decimal(10_000))]
    statuses = {tenant: [e.status for e in store.events_of(tenant, "a", one.hash)] for tenant in (TENANT, LIVE, OTHER)}
    assert statuses[TENANT] == [Fate.CANCELLED]
    assert Fate.CANCELLED not in statuses[LIVE] + statuses[OTHER]


def test_no_cancellations_are_nothing_to_do(store: UsageStore) -> None:
    store.cancel([], step=0)
    event = Settled(identifier="a", offset=0)
    store.insert(settled([event]), step=0)
    assert totals(store, meter_of()) == [(-24, Decimal(1))]


# --- law

minutes = st.one_of(st.integers(0, 3), st.integers(0, 49 * 60))
drawn = st.lists(
    st.tuples(minutes, st.integers(0, 2), st.decimals(-999, 999, places=3), st.booleans()), min_size=1, max_size=12
)


def test_totals_after_cancelling_are_those_of_a_store_that_never_had_the_events(
    new_clickhouse_store: Callable[[], ClickHouseStore],
) -> None:
    """Method: Hypothesis draws events (few minutes, so that they collide), which of them are cancelled, the formula,
    and where the log is cut into steps. Every example has a meter of its own in the same two stores.
    """
    clickhouse, memory = new_clickhouse_store(), MemoryUsageStore()
    numbers = itertools.count()

    @settings(max_examples=30, deadline=None)
    @given(drawn, st.sampled_from(FORMULAS), st.integers(1, 12))
    def law(
        events: list[tuple[int, int, Decimal, bool]], kind: tuple[Formula, EventTimeWindow | None], at_a_time: int
    ) -> None:
        number = next(numbers)
        meter = meter_of(*kind, meter_id=f"mtr_{number}")
        made = [
            Settled(
                identifier=f"{number}-{at}",
                offset=100 * number + 2 * at,
                value=value,
                timestamp_ms=FIRST_DAY_MS + minute * 60_000 + second * 1_000,
                meter=meter.id,
                keeps_latest=meter.keeps_latest,
            )
            for at, (minute, second, value, _) in enumerate(events)
        ]
        gone = [event for event, (*_, cancelled) in zip(made, events, strict=True) if cancelled]
        never = MemoryUsageStore()
        if left := [event for event in made if event not in gone]:
            never.insert(settled(left), step=0)
        for store in (memory, clickhouse):
            for start in range(0, len(made), at_a_time):
                step = made[start : start + at_a_time]
                store.insert(settled(step), step=step[0].offset)
                taken = [cancellation_of(e, offset=e.offset + 1) for e in step if e in gone]
                store.cancel(taken, step=step[0].offset)
            for grouping in (None, HOUR, DAY):
                assert totals(store, meter, grouping) == totals(never, meter, grouping)

    law()
