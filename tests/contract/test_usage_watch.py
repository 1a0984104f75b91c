"""What every adapter of `UsageWatch` does, beside the usage store of its technology."""

import math
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from streamgauge.adapters.clickhouse.usage_watch import ClickHouseUsageWatch
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.adapters.memory.usage_watch import MemoryUsageWatch
from streamgauge.domain.account import Tenant
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.summary import Range
from streamgauge.domain.touched_usage import Touched
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.ports.usage_watch import UsageWatch
from tests.support.settled import Settled, settled
from tests.support.usage import (
    AWKWARD_VALUES,
    DAY,
    DAY_S,
    FIRST_DAY_MS,
    FIRST_DAY_S,
    HOUR,
    LIVE,
    cancel,
    insert_usage,
    meter_of,
    usage,
)
from tests.support.world import DAY_MS

FIRST_DAY, SECOND_DAY = Range(FIRST_DAY_S, FIRST_DAY_S + DAY_S), Range(FIRST_DAY_S + DAY_S, FIRST_DAY_S + 2 * DAY_S)
THIRD_DAY = Range(FIRST_DAY_S + 2 * DAY_S, FIRST_DAY_S + 3 * DAY_S)


class Watched(NamedTuple):
    store: UsageStore
    watch: UsageWatch


@pytest.fixture(params=["memory", "clickhouse"])
def watched(request: pytest.FixtureRequest) -> Watched:
    if request.param == "memory":
        store = MemoryUsageStore()
        return Watched(store, MemoryUsageWatch(store))
    made = request.getfixturevalue("new_clickhouse_store")()
    return Watched(made, ClickHouseUsageWatch(made._reader, made._database))


def event(offset: int, customer: str = "cus_1", value: Decimal | str | int = 1, **given: object) -> Settled:
    given.setdefault("timestamp_ms", FIRST_DAY_MS)
    return Settled(identifier=f"event-{offset}", offset=offset, customer=customer, value=Decimal(value), **given)  # type: ignore[arg-type]


def near(value: Decimal | str | int) -> Any:
    return pytest.approx(float(value), rel=1e-13)


def touched(
    watch: UsageWatch, first: int, end: int, *meters: Meter
) -> dict[tuple[str, str, int], tuple[int, float, int]]:
    """(meter, customer, days since the first one) to (events, rise, last offset)."""
    ids = [meter.id for meter in meters or [meter_of()]]
    rows: list[Touched] = list(watch.touched(ids, first, end, by_day=ids))
    found = {
        (each.meter_id, each.customer_id, (each.day_start_ms - FIRST_DAY_MS) // DAY_MS): (
            each.events,
            each.rise,
            each.last_offset,
        )
        for each in rows
    }
    assert len(found) == len(rows)
    return found


MTR = "mtr_api_requests"


def test_counted_events_of_the_range_touch_their_customers_by_day(watched: Watched) -> None:
    store, watch = watched
    store.insert(settled([event(at) for at in range(3)]), step=0)
    later = FIRST_DAY_MS + DAY_MS
    store.insert(
        settled(
            [
                event(3, value="0.1"),
                event(4, value="0.2"),
                event(5, value=-7),
                event(6, value=4, timestamp_ms=later - 1),
                event(7, value=5, timestamp_ms=later),
                event(8, "cus_2", 6),
            ]
        ),
        step=3,
    )
    assert touched(watch, 3, 9) == {
        (MTR, "cus_1", 0): (4, near("4.3"), 6),
        (MTR, "cus_1", 1): (1, near(5), 7),
        (MTR, "cus_2", 0): (1, near(6), 8),
    }
    assert touched(watch, 4, 6) == {(MTR, "cus_1", 0): (2, near("0.2"), 5)}
    assert touched(watch, 9, 20) == {}


def test_events_that_do_not_count_touch_nobody(watched: Watched) -> None:
    store, watch = watched
    store.insert(
        settled(
            [
                event(0, status=Fate.DUPLICATE),
                event(1, status=Fate.REJECTED, code="meter_event_customer_not_found"),
                event(2, "cus_2"),
            ]
        ),
        step=0,
    )
    assert list(touched(watch, 0, 3)) == [(MTR, "cus_2", 0)]


def test_only_the_meters_that_are_asked_about_are_looked_at(watched: Watched) -> None:
    store, watch = watched
    store.insert(settled([event(0), event(1, meter="mtr_b"), event(2, meter="mtr_c", tenant=LIVE)]), step=0)
    meters = [meter_of(meter_id="mtr_b"), meter_of(meter_id="mtr_c", tenant=LIVE)]
    assert list(sorted(touched(watch, 0, 3, *meters))) == [("mtr_b", "cus_1", 0), ("mtr_c", "cus_1", 0)]


def test_a_cancellation_touches_the_day_of_its_event_at_its_own_place_in_the_log(watched: Watched) -> None:
    store, watch = watched
    events = [event(0, value=5), event(1, value=-3), event(2, "cus_2", 8)]
    store.insert(settled(events), step=0)
    cancel(store, *events, offset=50)
    assert touched(watch, 3, 53) == {
        (MTR, "cus_1", 0): (0, near(3), 51),  # only taking back what is negative makes more
        (MTR, "cus_2", 0): (0, near(0), 52),
    }
    assert touched(watch, 3, 50) == {}


def test_a_meter_whose_days_are_not_asked_for_has_one_row_for_each_customer(watched: Watched) -> None:
    store, watch = watched
    events = [event(at, value=at + 1, timestamp_ms=FIRST_DAY_MS + at * DAY_MS) for at in range(3)]
    store.insert(settled(events), step=0)
    cancel(store, events[2], offset=50)
    assert list(watch.touched([MTR], 0, 3, by_day=["mtr_another"])) == [
        Touched(MTR, "cus_1", 0, events=3, rise=near(6), highest=near(3), last_offset=2)
    ]
    (row,) = watch.touched([MTR], 0, 51, by_day=[])
    assert (row.day_start_ms, row.events, row.highest, row.last_offset) == (0, 3, math.inf, 50)
    assert len(watch.touched([MTR], 0, 51, by_day=[MTR])) == 3


def test_the_highest_value_is_told_unless_an_event_was_cancelled(watched: Watched) -> None:
    store, watch = watched
    events = [event(0, value=-5), event(1, value=-3), event(2, "cus_2", 8), event(3, "cus_2", 9)]
    store.insert(settled(events), step=0)
    cancel(store, events[2], offset=50)

    def highest(first: int, end: int) -> dict[str, float]:
        return {each.customer_id: each.highest for each in watch.touched([MTR], first, end, by_day=[MTR])}

    assert highest(0, 50) == {"cus_1": near(-3), "cus_2": near(9)}
    assert highest(0, 51) == {"cus_1": near(-3), "cus_2": math.inf}
    assert highest(50, 51) == {"cus_2": math.inf}


@pytest.mark.parametrize("value", AWKWARD_VALUES)
def test_what_a_customer_can_have_risen_by_is_never_told_too_low(watched: Watched, value: str) -> None:
    store, watch = watched
    exact = Decimal(value)
    store.insert(settled([event(0, value=exact)]), step=0)
    store.insert(settled([event(at, value=abs(exact)) for at in range(1, 8)]), step=1)
    (alone,), (together,) = (watch.touched([MTR], first, end, by_day=[]) for first, end in ((0, 1), (1, 8)))
    for told, meant in ((alone.highest, exact), (alone.rise, max(exact, Decimal(0))), (together.rise, 7 * abs(exact))):
        assert Decimal(told) >= meant
        assert told == near(meant)


def test_many_events_of_one_customer_add_up_exactly(watched: Watched) -> None:
    store, watch = watched
    large, thousand = Decimal("99999999999999.123456789012345"), Decimal("99999999999999123.456789012345")
    store.insert(settled([event(at, value=large) for at in range(1_000)]), step=0)
    assert touched(watch, 0, 1_000)[MTR, "cus_1", 0] == (1_000, near(thousand), 999)
    assert watch.usage({MTR: meter_of()}, [(MTR, "cus_1", None)]) == {(MTR, "cus_1", None): thousand}


# Formula, window, and the totals of DAYS_OF_USAGE: of all, of the first day, of the second.
FORMULAS = [
    (Formula.SUM, None, 255, 15, 240),
    (Formula.COUNT, None, 8, 4, 4),
    (Formula.LAST, None, 64, 8, 64),
    (Formula.SUM, HOUR, 4 + 8 + 32 + 64 + 128, 12, 224),
    (Formula.COUNT, HOUR, 5, 2, 3),
    (Formula.LAST, HOUR, 64, 8, 64),
    (Formula.SUM, DAY, 8 + 128, 8, 128),
    (Formula.COUNT, DAY, 2, 1, 1),
    (Formula.LAST, DAY, 128, 8, 128),
]
formulas = pytest.mark.parametrize(("formula", "window", "total", "first", "second"), FORMULAS)


@formulas
def test_usage_is_what_the_formula_makes_of_all_time_or_of_days(
    watched: Watched, formula: Formula, window: EventTimeWindow | None, total: int, first: int, second: int
) -> None:
    store, watch = watched
    meter = meter_of(formula, window)
    insert_usage(store, meter)
    both = Range(FIRST_DAY.start_s, SECOND_DAY.end_s)
    keys = [(meter.id, "cus_1", period) for period in (None, FIRST_DAY, SECOND_DAY, THIRD_DAY, both)]
    found = watch.usage({meter.id: meter}, [*keys, (meter.id, "cus_2", None)])
    assert found == dict(zip(keys[:3], (total, first, second), strict=True)) | {keys[4]: total}


@formulas
def test_cancelled_events_are_in_no_usage(
    watched: Watched, formula: Formula, window: EventTimeWindow | None, total: int, first: int, second: int
) -> None:
    store, watch = watched
    meter = meter_of(formula, window)
    insert_usage(store, meter)
    cancel(store, *usage(meter)[3:])  # all but the first three, which are of one hour
    left = (
        {Formula.SUM: 7, Formula.COUNT: 3, Formula.LAST: 2}
        if window is None
        else {
            Formula.SUM: 4,
            Formula.COUNT: 1,
            Formula.LAST: 4,
        }
    )
    keys = [(meter.id, "cus_1", period) for period in (None, FIRST_DAY, SECOND_DAY)]
    assert watch.usage({meter.id: meter}, keys) == dict.fromkeys(keys[:2], Decimal(left[formula]))
    assert watch.reaching(meter, None, 1) == {"cus_1": left[formula]}
    cancel(store, *usage(meter)[:3], offset=2_000)
    assert watch.usage({meter.id: meter}, keys) == {}
    assert watch.reaching(meter, None, -5) == {}


def test_customers_of_several_meters_accounts_and_formulas_are_asked_about_at_once(watched: Watched) -> None:
    store, watch = watched
    other = Tenant("acct_other", livemode=True)
    meters = {
        each.id: each
        for each in (
            meter_of(meter_id="mtr_sum"),
            meter_of(Formula.COUNT, meter_id="mtr_count", tenant=LIVE),
            meter_of(Formula.LAST, meter_id="mtr_last", tenant=other),
        )
    }
    events = [
        event(
            10 * at + number,
            f"cus_{number}",
            number,
            meter=meter.id,
            tenant=meter.tenant,
            keeps_latest=meter.keeps_latest,
        )
        for at, meter in enumerate(meters.values())
        for number in (1, 2, 3)
    ]
    store.insert(settled(events), step=0)
    asked = [(meter_id, customer, None) for meter_id in meters for customer in ("cus_1", "cus_3")]
    assert watch.usage(meters, asked) == dict(zip(asked, (1, 3, 1, 1, 1, 3), strict=True))


def test_everybody_who_reached_a_total_is_found(watched: Watched) -> None:
    store, watch = watched
    expectations = ((Formula.SUM, 0, {"cus_2": 20, "cus_3": 30}), (Formula.LAST, 100, {"cus_3": 15}))
    for formula, first, expected in expectations:
        meter = meter_of(formula, meter_id=f"mtr_{formula}")
        events = [
            Settled(
                identifier=f"{formula}-{number}-{at}",
                offset=first + 10 * number + at,
                value=5 * number,
                customer=f"cus_{number}",
                meter=meter.id,
                timestamp_ms=FIRST_DAY_MS + at,
                keeps_latest=meter.keeps_latest,
            )
            for number in (1, 2, 3)
            for at in (0, 1)
        ]
        store.insert(settled(events), step=first)
        assert watch.reaching(meter, None, 15) == expected
        assert watch.reaching(meter, FIRST_DAY, 15) == expected
        assert watch.reaching(meter, SECOND_DAY, 0) == {}


NAMES = [
    "it's",
    'a "b"',
    "back\\slash",
    "{curly:String}",
    "ünï-✓",
    "tab\tnew\nline\x00",
    "%s %(x)s",
    "'); DROP --",
    "?",
]


@pytest.mark.parametrize("formula", [Formula.SUM, Formula.LAST])
def test_customers_may_have_any_name(watched: Watched, formula: Formula) -> None:
    store, watch = watched
    meter = meter_of(formula)
    store.insert(
        settled([event(at, name, at + 1, keeps_latest=meter.keeps_latest) for at, name in enumerate(NAMES)]), step=0
    )
    keys = [(meter.id, name, None) for name in NAMES]
    assert watch.usage({meter.id: meter}, keys) == {key: at + 1 for at, key in enumerate(keys)}
    assert {customer for _, customer, _ in touched(watch, 0, 20, meter)} == set(NAMES)


def test_thousands_of_customers_are_asked_about_at_once(watched: Watched) -> None:
    store, watch = watched
    store.insert(settled([event(at, f"cus_{at}", at) for at in range(6_000)]), step=0)
    keys = [(MTR, f"cus_{at}", None) for at in range(6_000)]
    assert watch.usage({MTR: meter_of()}, keys) == {key: at for at, key in enumerate(keys)}
    assert len(touched(watch, 0, 6_000)) == 6_000
    assert len(watch.reaching(meter_of(), None, 3_000)) == 3_000


def test_nothing_is_asked_for_nothing(watched: Watched) -> None:
    assert watched.watch.usage({}, []) == {}
