"""Redriving at any time, again, in portions, over restarts: every event counts at most once, and in the end exactly
those count that today's catalogue accepts.

Goal:   totals and fates are those of a naive recomputation, and no way of redriving changes what comes out of it.
Method: Hypothesis draws events of meters and customers that may be created late, redrives of a few letters at a time,
        of letters that were selected long before they are appended, cancellations, steps and restarts. An oracle reads
        the log's entries in order and applies the definitions in plain Python. The independent recount of `verify`
        must agree too. At the end everything is redriven.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.cancellation import CancelBlock
from streamgauge.domain.log_block import decode_block
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.redrive import DeadLetter, RedriveBlock, encode_redrive, redrive_of
from streamgauge.engine.ports.usage_store import UsageStore
from tests.properties.test_laws_of_counting import naive_totals
from tests.support.redriving import OPEN, dead_letters, differences, events_of, redrive, redrives_of
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, WINDOW_MS, Event, World

CUSTOMERS = ("cus_1", "cus_2")
METERS: dict[str, tuple[Formula, EventTimeWindow | None]] = {
    "sum": (Formula.SUM, None),
    "last": (Formula.LAST, None),
    "count_day": (Formula.COUNT, EventTimeWindow.DAY),
    "sum_hour": (Formula.SUM, EventTimeWindow.HOUR),
}

events = st.builds(
    Event,
    identifier=st.integers(0, 9).map(lambda number: f"evt-{number}"),
    customer=st.sampled_from([*CUSTOMERS, "cus_stranger"]),
    value=st.sampled_from(["1", "-2.5", "40", "0.000000000000001", "oops"]),
    # Old ones too: within the window at their receipt, beyond it when they are redriven, or beyond it from the start.
    timestamp_ms=st.one_of(
        st.none(), st.sampled_from([START_MS - 34 * DAY_MS, START_MS - 36 * DAY_MS, START_MS - HOUR_MS, START_MS])
    ),
    event_name=st.sampled_from([*METERS, "unknown"]),
)


@dataclass(frozen=True)
class Cancel:
    identifier: str
    event_name: str


@dataclass(frozen=True)
class Redrive:
    """`limit` letters at a time; `times` over, and only then applied."""

    limit: int
    times: int


Act: TypeAlias = Sequence[Event] | Cancel | Redrive | str
acts = st.one_of(
    st.lists(events, min_size=1, max_size=5),
    st.builds(Redrive, limit=st.sampled_from([1, 2, 1_000]), times=st.integers(1, 2)),
    st.builds(Cancel, st.integers(0, 9).map(lambda number: f"evt-{number}"), st.sampled_from(list(METERS))),
    st.sampled_from([*METERS, *CUSTOMERS]),
    st.sampled_from(["apply", "restart", "20 days", "select", "append what was selected", "an hour", "apply one step"]),
)
histories = st.lists(acts, min_size=1, max_size=14)
created_at_last = st.one_of(st.just([*METERS, *CUSTOMERS]), st.lists(st.sampled_from([*METERS, *CUSTOMERS])))


@dataclass
class Naive:
    """The definitions, one entry of the log after the other."""

    meters: dict[str, int]  # by event name when it was created
    customers: dict[str, int]
    sent: dict[int, tuple[Event, int]] = field(default_factory=dict)  # by the first place: the event and its receipt
    fates: dict[int, str] = field(default_factory=dict)
    claims: dict[str, tuple[int, int]] = field(default_factory=dict)  # by identifier: when it counted, which event
    cancelled: set[int] = field(default_factory=set)

    def judge(self, place: int, at_ms: int) -> None:
        event, received_at_ms = self.sent[place]
        claim = self.claims.get(event.identifier)
        if claim is not None and received_at_ms - claim[0] < WINDOW_MS:
            fate = "duplicate"
        else:
            fate = self.code(event, received_at_ms, at_ms) or "counted"
        if self.fates.get(place) != "counted":
            self.fates[place] = fate
        if fate == "counted":
            self.claims[event.identifier] = (at_ms, place)

    def code(self, event: Event, received_at_ms: int, at_ms: int) -> str | None:
        timestamp_ms = received_at_ms if event.timestamp_ms is None else event.timestamp_ms
        if self.meters.get(event.event_name, at_ms + 1) > at_ms:
            return "no_meter"
        if timestamp_ms < received_at_ms - 35 * DAY_MS:
            return "timestamp_too_far_in_past"
        if self.customers.get(event.customer, at_ms + 1) > at_ms:
            return "meter_event_customer_not_found"
        if event.value == "oops" and not event.event_name.startswith("count"):
            return "meter_event_invalid_value"
        return None

    def cancel(self, identifier: str, event_name: str, at_ms: int) -> None:
        counted_ms, place = self.claims.get(identifier, (0, -1))
        if place >= 0 and self.sent[place][0].event_name == event_name and at_ms - counted_ms <= DAY_MS:
            self.cancelled.add(place)

    @property
    def counting(self) -> list[Event]:
        """With their timestamps settled, in the order of first receipt."""
        return [
            replace(event, timestamp_ms=received_at_ms if event.timestamp_ms is None else event.timestamp_ms)
            for place, (event, received_at_ms) in sorted(self.sent.items())
            if self.fates[place] == "counted" and place not in self.cancelled
        ]


def play(world: World, history: Sequence[Act]) -> tuple[dict[str, Meter], dict[str, int], dict[int, Event]]:
    """The meters and customers that were created, and every event by its place in the log."""
    meters: dict[str, Meter] = {}
    customers: dict[str, int] = {}
    accepted: dict[int, Event] = {}
    selected: list[DeadLetter] = []
    for act in history:
        match act:
            case Cancel():
                world.accept_cancel(act.identifier, act.event_name)
            case Redrive():
                for _ in range(act.times):
                    redriven(world, act.limit)
            case "apply":
                world.apply()
            case "apply one step":
                world.applier.run_once()
            case "restart":
                world.restart()
            case "an hour":
                world.clock.at_ms += HOUR_MS
            case "20 days":
                world.clock.at_ms += 20 * DAY_MS
            case "select":
                selected = dead_letters(world)
            case "append what was selected" if selected:
                block = redrive_of(selected)
                world.log.append(encode_redrive(block), block.tallies)
            case str() if act in METERS and act not in meters:
                meters[act] = world.add_meter(act, *METERS[act])
            case str() if act in CUSTOMERS and act not in customers:
                customers[act] = world.add_customer(act).created_ms
            case list():
                record = world.accept(*act)
                accepted |= dict(enumerate(act, record.first_offset))
    return meters, customers, accepted


def redriven(world: World, limit: int) -> None:
    redrives, rest = redrives_of(world), None
    while True:
        portion = redrives.redrive(TENANT, OPEN, rest, limit=limit)
        rest = portion.rest
        if rest is None:
            return


def naive(world: World, meters: dict[str, Meter], customers: dict[str, int], accepted: dict[int, Event]) -> Naive:
    oracle = Naive({name: meter.created_ms for name, meter in meters.items()}, customers)
    for record in world.log.read(0, events_max=1_000_000):
        block = decode_block(record.block)
        if isinstance(block, CancelBlock):
            for each in block.requests:
                oracle.cancel(each.identifier, each.event_name, record.received_at_ms)
        elif isinstance(block, RedriveBlock):
            for place in block.first_receipt.offset.tolist():
                oracle.judge(place, record.received_at_ms)
        else:
            for place in range(record.first_offset, record.next_offset):
                oracle.sent[place] = (accepted[place], record.received_at_ms)
                oracle.judge(place, record.received_at_ms)
    return oracle


def check(store: UsageStore, history: Sequence[Act], step_events_max: int, created_at_last: Sequence[str]) -> None:
    world = World(store=store, step_events_max=step_events_max)
    meters, customers, accepted = play(world, history)
    world.apply()
    agrees(world, meters, customers, accepted)
    for name in created_at_last:
        if name in METERS and name not in meters:
            meters[name] = world.add_meter(name, *METERS[name])
        if name in CUSTOMERS and name not in customers:
            customers[name] = world.add_customer(name).created_ms
    redrive(world)
    oracle = agrees(world, meters, customers, accepted)
    # Whatever is left today's catalogue does not accept, or its identifier has counted since.
    now_ms = world.log.next_stamp_ms()
    for place, (event, received_at_ms) in oracle.sent.items():
        claim = oracle.claims.get(event.identifier, (-1, -1))
        is_closed = oracle.fates[place] == "duplicate" or claim[0] >= received_at_ms
        assert is_closed or oracle.code(event, received_at_ms, now_ms) is not None, (place, event)


def agrees(world: World, meters: dict[str, Meter], customers: dict[str, int], accepted: dict[int, Event]) -> Naive:
    oracle = naive(world, meters, customers, accepted)
    start_s = START_MS // 1000 // 86_400 * 86_400 - 100 * 86_400
    for name, meter in meters.items():
        for customer in CUSTOMERS:
            own = [each for each in oracle.counting if (each.event_name, each.customer) == (name, customer)]
            for grouping in (None, EventTimeWindow.DAY):
                expected = naive_totals(own, *METERS[name], grouping, start_s)
                assert world.totals(meter, customer, grouping) == expected, (name, customer, grouping)
    told = {
        each.log_offset: each.code or str(each.status)
        for identifier in {event.identifier for event in accepted.values()}
        for each in events_of(world, identifier)
    }
    assert told == oracle.fates | dict.fromkeys(oracle.cancelled, "cancelled")
    assert differences(world) == []
    return oracle


@settings(max_examples=200, deadline=None)
@given(histories, st.sampled_from([1, 3, 1_000]), created_at_last)
def test_any_way_of_redriving_counts_each_event_at_most_once_and_exactly_when_it_can_be(
    history: Sequence[Act], step_events_max: int, created_at_last: Sequence[str]
) -> None:
    check(MemoryUsageStore(), history, step_events_max, created_at_last)


@pytest.mark.timeout(600)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(history=histories, step_events_max=st.sampled_from([3, 1_000]), created_at_last=created_at_last)
def test_the_clickhouse_store_obeys_the_same_law(
    new_clickhouse_store: Callable[[], ClickHouseStore],
    history: Sequence[Act],
    step_events_max: int,
    created_at_last: Sequence[str],
) -> None:
    check(new_clickhouse_store(), history, step_events_max, created_at_last)


@settings(max_examples=100, deadline=None)
@given(st.lists(events, min_size=1, max_size=15, unique_by=lambda event: event.identifier), st.randoms())
def test_what_is_created_late_and_redriven_comes_to_what_was_created_in_time(sent: list[Event], rng: object) -> None:
    """Also for formulas that ask which event is the latest: a redrive makes no event newer than it is."""
    import random

    assert isinstance(rng, random.Random)
    in_time, late = World(), World()
    expected = [in_time.add_meter(name, *METERS[name]) for name in METERS]
    for customer in CUSTOMERS:
        in_time.add_customer(customer)
    missing: list[Callable[[], object]] = [
        *((lambda name=name: late.add_meter(name, *METERS[name])) for name in METERS),
        *((lambda customer=customer: late.add_customer(customer)) for customer in CUSTOMERS),
    ]
    rng.shuffle(missing)
    for event in sent:
        for world in (in_time, late):
            world.clock.at_ms += 1_000
            world.accept(event)
        if missing and rng.random() < 0.5:
            missing.pop()()
        if rng.random() < 0.3:
            redrive(late)
    for create in missing:
        create()
    redrive(late)
    redrive(late)
    in_time.apply()
    for meter in expected:
        for customer in CUSTOMERS:
            day = EventTimeWindow.DAY
            assert late.totals(meter, customer, day) == in_time.totals(meter, customer, day), (
                meter.event_name,
                customer,
            )
