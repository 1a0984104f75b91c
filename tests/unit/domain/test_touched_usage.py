"""What steps touched, told from the steps themselves: the same that plain definitions make of their events."""

import math
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge import native
from streamgauge.domain.fate import Fate
from streamgauge.domain.touched_usage import Touched, added_up, touched_by
from tests.support.settled import Settled, settled
from tests.support.usage import AWKWARD_VALUES, FIRST_DAY_MS, cancellation_of
from tests.support.world import DAY_MS

METERS = ("mtr_a", "mtr_b", "mtr_c")


@dataclass(frozen=True)
class Use:
    meter: str
    customer: str
    value: Decimal
    at_ms: int = FIRST_DAY_MS
    status: Fate = Fate.COUNTED

    def event(self, offset: int) -> Settled:
        return Settled(
            identifier=f"event-{offset}",
            offset=offset,
            value=self.value if self.status is Fate.COUNTED else 0,
            customer=self.customer,
            meter=self.meter,
            timestamp_ms=self.at_ms,
            status=self.status,
        )


def used(offset: int, value: Decimal | str) -> Settled:
    return Use(METERS[0], "cus_1", Decimal(value)).event(offset)


uses = st.builds(
    Use,
    st.sampled_from(METERS),
    st.sampled_from(["", "cus_1", "cus_2", "it's \x00 ünï"]),
    st.decimals(-(10**14), 10**14, places=1),
    st.integers(FIRST_DAY_MS - 2 * DAY_MS, FIRST_DAY_MS + 2 * DAY_MS),
    st.sampled_from([Fate.COUNTED, Fate.COUNTED, Fate.DUPLICATE, Fate.REJECTED]),
)
# Of each step its events, and which of those before are taken back, by their place modulo how many there are.
histories = st.lists(st.tuples(st.lists(uses, max_size=8), st.lists(st.integers(0, 30), max_size=3)), min_size=1)


@given(histories, st.sets(st.sampled_from(METERS), min_size=1), st.sets(st.sampled_from(METERS)))
def test_any_steps_touch_what_their_events_and_cancellations_say(
    history: list[tuple[list[Use], list[int]]], meters: set[str], by_day: set[str]
) -> None:
    steps, counted, offset = [], [], 0
    changes: dict[tuple[str, str, int], list[tuple[int, Decimal, int]]] = defaultdict(list)

    def change(event: Settled, events: int, added: Decimal, at: int) -> None:
        if event.meter in meters:
            day_start_ms = event.timestamp_ms // DAY_MS * DAY_MS if event.meter in by_day else 0
            changes[event.meter, event.customer, day_start_ms].append((events, added, at))

    for uses_of_step, taken_back in history:
        events = [use.event(offset + at) for at, use in enumerate(uses_of_step)]
        offset += len(events)
        for event in events:
            if event.status is Fate.COUNTED:
                counted.append(event)
                change(event, 1, Decimal(event.value), event.offset)
        cancellations = []
        for at in taken_back:
            if counted:
                event = counted.pop(at % len(counted))
                cancellations.append(cancellation_of(event, offset=offset))
                change(event, 0, -Decimal(event.value), offset)
                offset += 1
        steps.append(touched_by(settled(events) if events else None, cancellations, meters, by_day & meters))
    told = {(each.meter_id, each.customer_id, each.day_start_ms): each for each in added_up(steps)}
    assert told.keys() == changes.keys()
    for key, those in changes.items():
        is_cancelled = not all(events for events, *_ in those)
        assert told[key].events == sum(events for events, *_ in those)
        assert told[key].last_offset == max(at for *_, at in those)
        check_bound(told[key].rise, sum((added for _, added, _ in those if added > 0), Decimal(0)))
        check_bound(told[key].highest, Decimal("inf") if is_cancelled else max(added for _, added, _ in those))


def check_bound(told: float, exact: Decimal) -> None:
    assert Decimal(told) >= exact
    assert told == pytest.approx(float(exact), rel=2e-9)


@pytest.mark.parametrize("value", AWKWARD_VALUES)
def test_what_a_customer_can_have_risen_by_is_never_told_too_low(value: str) -> None:
    exact = Decimal(value)
    (alone,) = added_up([touched_by(settled([used(0, exact)]), (), METERS, ())])
    check_bound(alone.highest, exact)
    check_bound(alone.rise, max(exact, Decimal(0)))
    steps = [settled([used(7 * step + at, abs(exact)) for at in range(7)]) for step in range(3)]
    (together,) = added_up(touched_by(step, (), METERS, ()) for step in steps)
    check_bound(together.rise, 21 * abs(exact))


def test_a_thousand_times_a_tenth_is_not_told_as_less_than_a_hundred() -> None:
    (row,) = added_up([touched_by(settled([used(at, "0.1") for at in range(1_000)]), (), METERS, ())])
    assert row.events == 1_000
    check_bound(row.rise, Decimal(100))


def test_the_same_is_told_without_the_compiled_part(monkeypatch: pytest.MonkeyPatch) -> None:
    uses = [Use(METERS[at % 3], f"cus_{at % 7}", Decimal(at)) for at in range(90)]
    events = settled([use.event(at) for at, use in enumerate(uses)])
    told = added_up([touched_by(events, (), METERS, METERS)])
    monkeypatch.setattr(native, "compiled", None)
    assert added_up([touched_by(events, (), METERS, METERS)]) == told
    assert len(told) == 21


def test_a_step_that_touches_none_of_the_meters_has_no_row() -> None:
    assert added_up([touched_by(None, (), METERS, METERS)]) == []
    assert added_up([touched_by(settled([used(0, "1")]), (), ["mtr_another"], ())]) == []


def test_a_cancellation_alone_can_raise_a_sum_and_tells_no_highest_value() -> None:
    step = touched_by(None, [cancellation_of(used(0, "-3"), offset=5)], METERS, METERS)
    (row,) = added_up([step])
    check_bound(row.rise, Decimal(3))
    assert row == Touched(METERS[0], "cus_1", FIRST_DAY_MS, events=0, rise=row.rise, highest=math.inf, last_offset=5)
