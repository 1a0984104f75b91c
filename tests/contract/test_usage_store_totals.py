"""The contract of `UsageStore.totals`, run on every adapter."""

from decimal import Decimal

import pytest

from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.redriving import redrive
from tests.support.settled import Settled, settled
from tests.support.usage import (
    DAY,
    FIRST_DAY_S,
    HOUR,
    LIVE,
    OTHER,
    insert_usage,
    meter_of,
    totals,
)
from tests.support.world import START_MS, Event, World


@pytest.mark.parametrize(
    ("formula", "window", "whole", "by_hour", "by_day"),
    [
        (Formula.SUM, None, 255, {0: 7, 5: 8, 24: 48, 26: 128, 47: 64}, {0: 15, 24: 240}),
        (Formula.COUNT, None, 8, {0: 3, 5: 1, 24: 2, 26: 1, 47: 1}, {0: 4, 24: 4}),
        (Formula.LAST, None, 64, {0: 2, 5: 8, 24: 32, 26: 128, 47: 64}, {0: 8, 24: 64}),
        (Formula.SUM, HOUR, 236, {0: 4, 5: 8, 24: 32, 26: 128, 47: 64}, {0: 12, 24: 224}),
        (Formula.COUNT, HOUR, 5, {0: 1, 5: 1, 24: 1, 26: 1, 47: 1}, {0: 2, 24: 3}),
        (Formula.LAST, HOUR, 64, {0: 4, 5: 8, 24: 32, 26: 128, 47: 64}, {0: 8, 24: 64}),
        (Formula.SUM, DAY, 136, {5: 8, 26: 128}, {0: 8, 24: 128}),
        (Formula.COUNT, DAY, 2, {5: 1, 26: 1}, {0: 1, 24: 1}),
        (Formula.LAST, DAY, 128, {5: 8, 26: 128}, {0: 8, 24: 128}),
    ],
)
@pytest.mark.parametrize("at_a_time", [1, 3, 8])
def test_totals_follow_the_formula_and_the_windows_newest_first(
    store: UsageStore,
    formula: Formula,
    window: EventTimeWindow | None,
    whole: int,
    by_hour: dict[int, int],
    by_day: dict[int, int],
    at_a_time: int,
) -> None:
    meter = meter_of(formula, window)
    insert_usage(store, meter, at_a_time=at_a_time)
    assert totals(store, meter) == [(-24, Decimal(whole))]
    assert totals(store, meter, HOUR) == [(hour, Decimal(value)) for hour, value in reversed(by_hour.items())]
    assert totals(store, meter, DAY) == [(hour, Decimal(value)) for hour, value in reversed(by_day.items())]


@pytest.mark.parametrize(
    ("formula", "window", "from_minute", "to_minute", "expected"),
    [
        (Formula.SUM, None, 10, 51, 7),  # the start is inclusive
        (Formula.SUM, None, 11, 50, 4),  # the end is exclusive
        (Formula.SUM, None, 51, 300, None),
        (Formula.SUM, None, 51, 301, 8),
        # What an event time window keeps is decided before the range cuts it.
        (Formula.SUM, HOUR, 10, 30, None),
        (Formula.SUM, HOUR, 30, 31, 4),
        (Formula.COUNT, DAY, 0, 300, None),
        (Formula.SUM, DAY, 27 * 60, 48 * 60, None),  # what was kept lies before the range
        (Formula.LAST, DAY, 300, 301, 8),
        (Formula.LAST, None, 0, 50, 4),
        (Formula.LAST, None, 0, 51, 2),
    ],
)
def test_a_range_is_half_open_and_cuts_by_the_minute(
    store: UsageStore,
    formula: Formula,
    window: EventTimeWindow | None,
    from_minute: int,
    to_minute: int,
    expected: int | None,
) -> None:
    meter = meter_of(formula, window)
    insert_usage(store, meter)
    found = totals(store, meter, start_s=FIRST_DAY_S + from_minute * 60, end_s=FIRST_DAY_S + to_minute * 60)
    assert [value for _, value in found] == ([] if expected is None else [Decimal(expected)])


@pytest.mark.parametrize("window", [None, HOUR])
@pytest.mark.parametrize(
    ("limit", "expected"), [(1, [47]), (2, [47, 26]), (5, [47, 26, 24, 5, 0]), (9, [47, 26, 24, 5, 0])]
)
def test_a_limit_leaves_the_newest_windows(
    store: UsageStore, window: EventTimeWindow | None, limit: int, expected: list[int]
) -> None:
    meter = meter_of(Formula.SUM, window)
    insert_usage(store, meter)
    assert [hour for hour, _ in totals(store, meter, HOUR, limit=limit)] == expected


def test_totals_belong_to_one_meter_customer_account_and_mode(store: UsageStore) -> None:
    base = Settled(identifier="a", offset=0, value=1)
    others = [
        Settled(identifier="b", offset=1, value=10, meter="mtr_2"),
        Settled(identifier="c", offset=2, value=100, customer="cus_2"),
        Settled(identifier="d", offset=3, value=1_000, tenant=LIVE),
        Settled(identifier="e", offset=4, value=10_000, tenant=OTHER),
        Settled(identifier="f", offset=5, value=100_000, status=Fate.DUPLICATE),
        Settled(identifier="g", offset=6, value=1_000_000, status=Fate.REJECTED, code="no_meter"),
    ]
    store.insert(settled([base, *others]), step=0)
    assert totals(store, meter_of()) == [(-24, Decimal(1))]
    assert totals(store, meter_of(meter_id="mtr_2")) == [(-24, Decimal(10))]
    assert totals(store, meter_of(), customer="cus_2") == [(-24, Decimal(100))]
    assert totals(store, meter_of(tenant=LIVE)) == [(-24, Decimal(1_000))]
    assert totals(store, meter_of(tenant=OTHER)) == [(-24, Decimal(10_000))]


@pytest.mark.parametrize("window", [None, HOUR, DAY])
def test_a_redriven_event_is_no_newer_than_its_first_receipt(store: UsageStore, window: EventTimeWindow | None) -> None:
    world = World(store=store)
    meter = world.add_meter(formula=Formula.LAST, window=window)
    first, second, third = (Event(name, value=name, timestamp_ms=START_MS) for name in ("1", "2", "3"))
    world.accept(first)
    world.apply()
    world.add_customer()
    world.accept(second, third)
    world.apply()
    redrive(world)
    assert world.fates("1")[-1] == "counted"
    assert world.total(meter) == 3
    for cancelled, left in (("3", 2), ("2", 1), ("1", None)):
        world.accept_cancel(cancelled)
        world.apply()
        assert world.total(meter) == left
