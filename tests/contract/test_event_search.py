"""What every adapter of `EventSearch` does, beside the usage store of its technology."""

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import pytest

from streamgauge.adapters.clickhouse import event_search
from streamgauge.adapters.clickhouse.event_search import ClickHouseEventSearch
from streamgauge.adapters.memory.event_search import MemoryEventSearch
from streamgauge.adapters.memory.notifications import MemoryNotifications
from streamgauge.adapters.memory.outbox import MemoryOutbox
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.error_report import SAMPLES_MAX, window_start_of
from streamgauge.domain.fate import Fate, RejectionCode
from streamgauge.domain.receipt import receipt_of
from streamgauge.domain.redrive import acknowledged
from streamgauge.engine.explanations import Explanations
from streamgauge.engine.ports.event_search import (
    ALIKE_MAX,
    IDENTIFIER_EVENTS_MAX,
    EventFilter,
    EventRange,
    EventSearch,
    Usage,
)
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.redriving import redrive
from tests.support.settled import Settled, settled
from tests.support.usage import LIVE, OTHER, cancel
from tests.support.world import START_MS, TENANT, Event, World

MTR = "mtr_api_requests"
EVERYTHING = EventFilter()
NAMES = [
    "it's",
    'a "b"',
    "back\\slash",
    "{curly:String}",
    "ünï-✓",
    "tab\tnew\nline",
    "%s %(x)s",
    "'); DROP --",
    "?",
    "\0",
]


class Searched(NamedTuple):
    store: UsageStore
    search: EventSearch


@pytest.fixture(params=["memory", "clickhouse"])
def searched(request: pytest.FixtureRequest) -> Searched:
    if request.param == "memory":
        store = MemoryUsageStore()
        return Searched(store, MemoryEventSearch(store))
    made = request.getfixturevalue("new_clickhouse_store")()
    # Small portions, so that several are needed.
    return Searched(made, ClickHouseEventSearch(made._reader, made._database, portion=16))


def event(offset: int, **given: object) -> Settled:
    given.setdefault("identifier", f"event-{offset}")
    given.setdefault("received_at_ms", START_MS + offset)
    return Settled(offset=offset, **given)  # type: ignore[arg-type]


def rejected(offset: int, code: RejectionCode = RejectionCode.CUSTOMER_NOT_FOUND, **given: object) -> Settled:
    return event(offset, status=Fate.REJECTED, code=str(code), value=0, **given)


def insert(store: UsageStore, *events: Settled) -> None:
    store.insert(settled(events), step=min(each.offset for each in events))


def offsets(search: EventSearch, wanted: EventFilter = EVERYTHING, **where: object) -> list[int]:
    asked = replace(EventRange(first_offset=0, next_offset=1_000_000, limit=1_000), **where)  # type: ignore[arg-type]
    found = search.find(TENANT, wanted, asked)
    return [each.log_offset for each in found.events]


def test_events_are_found_newest_first_or_oldest_first_within_a_range(searched: Searched) -> None:
    store, search = searched
    insert(store, *(event(at) for at in range(10)))
    insert(store, *(event(at) for at in range(20, 30)))
    assert offsets(search) == [*range(29, 19, -1), *range(9, -1, -1)]
    assert offsets(search, oldest_first=True) == [*range(10), *range(20, 30)]
    assert offsets(search, first_offset=5, next_offset=22) == [21, 20, 9, 8, 7, 6, 5]
    assert offsets(search, first_offset=5, next_offset=22, limit=3) == [21, 20, 9]
    assert offsets(search, first_offset=5, next_offset=22, limit=3, oldest_first=True) == [5, 6, 7]
    assert offsets(search, first_offset=22, next_offset=22) == []


def test_an_end_says_how_far_the_search_came(searched: Searched) -> None:
    store, search = searched
    insert(store, *(event(at) for at in range(100)))
    where = EventRange(first_offset=10, next_offset=90, limit=5)
    assert search.find(TENANT, EVERYTHING, where).end_offset == 85
    assert search.find(TENANT, EVERYTHING, replace(where, oldest_first=True)).end_offset == 15
    assert search.find(TENANT, EventFilter(customer="cus_nobody"), where).end_offset == 10
    nobody = replace(where, oldest_first=True)
    assert search.find(TENANT, EventFilter(customer="cus_nobody"), nobody).end_offset == 90


def test_an_event_is_found_with_everything_that_is_kept_of_it(searched: Searched) -> None:
    store, search = searched
    made = event(3, value=Decimal("2.5"), payload={"stripe_customer_id": "cus_1", "value": "2.50"}, key_id="key_7")
    insert(store, made)
    (found,) = search.find(TENANT, EVERYTHING, EventRange(first_offset=0, next_offset=9, limit=9)).events
    assert (found.identifier, found.event_name, found.status, found.code) == ("event-3", "api_requests", "counted", "")
    assert (found.meter, found.customer, found.value) == (MTR, "cus_1", Decimal("2.5"))
    assert (found.timestamp_ms, found.timestamp_given, found.received_at_ms) == (START_MS, True, START_MS + 3)
    assert (found.log_offset, found.key_id, found.session_id, found.payload) == (3, "key_7", "mes_1", made.payload)
    assert found.cancelled_at_ms is None
    assert found == store.events_of(TENANT, "event-3", made.hash)[0]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EventFilter(customer="cus_2"), [3]),
        (EventFilter(meter="mtr_b"), [4]),
        (EventFilter(event_name="other"), [5]),
        (EventFilter(status=Fate.REJECTED), [7, 6]),
        (EventFilter(status=Fate.DUPLICATE), [8]),
        (EventFilter(status=Fate.CANCELLED), [9]),
        (EventFilter(status=Fate.COUNTED), [10, 5, 4, 3, 2]),
        (EventFilter(code=RejectionCode.NO_METER), [7]),
        (EventFilter(identifier="event-4"), [4]),
        (EventFilter(identifier="event-2"), [8, 2]),
        (EventFilter(identifier="EVENT-4"), []),
        (EventFilter(received_from_ms=START_MS + 9), [10, 9]),
        (EventFilter(received_before_ms=START_MS + 4), [3, 2]),
        (EventFilter(timestamp_from_ms=START_MS + 100), [10]),
        (EventFilter(timestamp_before_ms=START_MS), [2]),
        (EventFilter(customer="cus_1", status=Fate.REJECTED, code=RejectionCode.CUSTOMER_NOT_FOUND), [6]),
        (EventFilter(customer="cus_2", status=Fate.REJECTED), []),
    ],
)
def test_filters_are_all_passed(searched: Searched, wanted: EventFilter, expected: list[int]) -> None:
    store, search = searched
    events = [
        event(2, timestamp_ms=START_MS - 1),
        event(3, customer="cus_2"),
        event(4, meter="mtr_b"),
        event(5, event_name="other"),
        rejected(6),
        rejected(7, RejectionCode.NO_METER, meter=""),
        event(8, identifier="event-2", status=Fate.DUPLICATE, value=0),
        event(9),
        event(10, timestamp_ms=START_MS + 100),
    ]
    insert(store, *events)
    cancel(store, events[-2])
    assert offsets(search, wanted) == expected
    for limit in (1, 2):
        assert offsets(search, wanted, limit=limit) == expected[:limit]


@pytest.mark.parametrize("name", NAMES)
def test_texts_may_hold_anything(searched: Searched, name: str) -> None:
    store, search = searched
    insert(store, event(0), event(1, identifier=name, customer=name, event_name=name))
    for wanted in (EventFilter(identifier=name), EventFilter(customer=name), EventFilter(event_name=name)):
        assert offsets(search, wanted) == [1]
    assert [each.log_offset for each in search.with_identifiers(TENANT, [name])[name]] == [1]


def test_other_accounts_and_modes_are_not_seen(searched: Searched) -> None:
    store, search = searched
    insert(store, event(0), event(1, tenant=LIVE), event(2, tenant=OTHER), event(3, identifier="event-0", tenant=LIVE))
    assert offsets(search) == [0]
    assert [each.log_offset for each in search.with_identifiers(TENANT, ["event-0"])["event-0"]] == [0]
    usage = Usage(MTR, "cus_1", Decimal(1), START_MS)
    assert search.alike(TENANT, [usage], [(0, 10)]) == {usage: ["event-0"]}


def test_all_events_of_identifiers_are_found_in_log_order(searched: Searched) -> None:
    store, search = searched
    first, again = event(0), event(5, identifier="event-0", status=Fate.DUPLICATE)
    insert(store, first, event(1), event(2), again)
    cancel(store, first)
    found = search.with_identifiers(TENANT, ["event-0", "event-2", "unknown"])
    assert {name: [each.log_offset for each in events] for name, events in found.items()} == {
        "event-0": [0, 5],
        "event-2": [2],
    }
    assert [each.status for each in found["event-0"]] == [Fate.CANCELLED, Fate.DUPLICATE]
    assert search.with_identifiers(TENANT, []) == {}


def test_events_that_are_known_already_are_among_those_of_their_identifiers(searched: Searched) -> None:
    store, search = searched
    insert(store, event(0), event(1), event(5, identifier="event-0", status=Fate.DUPLICATE), event(6))
    whole = search.with_identifiers(TENANT, ["event-0", "event-1"])
    every = search.find(TENANT, EventFilter(), EventRange(first_offset=0, next_offset=10, limit=10)).events
    for known in (every, every[:1], every[1:], every[-1:]):
        assert search.with_identifiers(TENANT, ["event-0", "event-1"], known) == whole


def test_of_very_many_events_with_one_identifier_the_first_ones_are_found(searched: Searched) -> None:
    store, search = searched
    insert(store, *(event(at, identifier="a") for at in range(IDENTIFIER_EVENTS_MAX + 10)))
    newest = search.find(
        TENANT, EventFilter(), EventRange(first_offset=0, next_offset=IDENTIFIER_EVENTS_MAX + 10, limit=20)
    ).events
    for known in ((), newest):
        assert [each.log_offset for each in search.with_identifiers(TENANT, ["a"], known)["a"]] == list(
            range(IDENTIFIER_EVENTS_MAX)
        )


def test_what_is_alike_is_found_for_several_customers_at_once(searched: Searched) -> None:
    store, search = searched
    insert(store, *(event(at, customer=f"cus_{at % 3}", value=Decimal("0.1")) for at in range(6)))
    usages = [Usage(MTR, f"cus_{number}", Decimal("0.1"), START_MS) for number in (0, 2)]
    assert search.alike(TENANT, usages, [(0, 10)]) == {
        usages[0]: ["event-0", "event-3"],
        usages[1]: ["event-2", "event-5"],
    }


def test_events_that_are_alike_are_found_near_each_other(searched: Searched) -> None:
    store, search = searched
    alike = [event(at, value=Decimal("0.1")) for at in (0, 10, 20)]
    different = [
        event(1, value=Decimal("0.2")),
        event(2, value=Decimal("0.1"), customer="cus_2"),
        event(3, value=Decimal("0.1"), meter="mtr_b"),
        event(4, value=Decimal("0.1"), timestamp_ms=START_MS + 1),
        event(5, value=Decimal("0.1"), timestamp_given=False),
        event(6, value=Decimal("0.1"), status=Fate.REJECTED),
    ]
    insert(store, *alike, *different)
    usage = Usage(MTR, "cus_1", Decimal("0.1"), START_MS)
    assert search.alike(TENANT, [usage], [(0, 100)]) == {usage: ["event-0", "event-10", "event-20"]}
    assert search.alike(TENANT, [usage], [(0, 5), (20, 21)]) == {usage: ["event-0", "event-20"]}
    cancel(store, alike[0])
    assert search.alike(TENANT, [usage], [(0, 11)]) == {usage: ["event-0", "event-10"]}
    assert search.alike(TENANT, [], [(0, 11)]) == {} == search.alike(TENANT, [usage], [])


def test_so_many_that_are_alike_are_told_of(searched: Searched) -> None:
    store, search = searched
    insert(store, *(event(at) for at in range(ALIKE_MAX + 5)))
    usage = Usage(MTR, "cus_1", Decimal(1), START_MS)
    assert search.alike(TENANT, [usage], [(0, 100)]) == {usage: [f"event-{at}" for at in range(ALIKE_MAX)]}
    last = ALIKE_MAX + 4
    assert search.alike(TENANT, [usage], [(0, 100)], {last: (usage, f"event-{last}")}) == {
        usage: [f"event-{at}" for at in range(ALIKE_MAX)]
    }


def test_an_identifier_that_counted_twice_is_told_once(searched: Searched) -> None:
    """The second time after the deduplication window of the first."""
    store, search = searched
    insert(store, event(0, identifier="a"), event(1), event(2, identifier="a"))
    usage = Usage(MTR, "cus_1", Decimal(1), START_MS)
    for known in ({}, {0: (usage, "a")}):
        assert search.alike(TENANT, [usage], [(0, 10)], known) == {usage: ["a", "event-1"]}


def test_events_that_are_known_already_are_among_those_that_are_alike(searched: Searched) -> None:
    store, search = searched
    values = {0: 1, 3: 1, 7: 2, 8: 1, 9: 3}
    insert(store, *(event(at, value=Decimal(value)) for at, value in values.items()))
    usages = {value: Usage(MTR, "cus_1", Decimal(value), START_MS) for value in set(values.values())}
    every = {at: (usages[value], f"event-{at}") for at, value in values.items()}
    whole = {usages[1]: ["event-0", "event-3", "event-8"], usages[2]: ["event-7"], usages[3]: ["event-9"]}
    for known in (every, {3: every[3]}, {at: every[at] for at in (0, 7)}):
        assert search.alike(TENANT, list(usages.values()), [(0, 100)], known) == whole


def test_however_many_share_a_moment_those_that_are_alike_are_found(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_search, "_ALIKE_LISTED_MAX", 3)
    store, search = searched
    insert(store, *(event(at, value=Decimal(at // 4)) for at in range(12)))
    usage = Usage(MTR, "cus_1", Decimal(2), START_MS)
    every = {at: (usage, f"event-{at}") for at in range(8, 12)}
    for ranges in ([(0, 100)], [(8, 12)]):
        for known in ({}, {9: every[9]}, {at: every[at] for at in (8, 9, 10)}):
            assert search.alike(TENANT, [usage], ranges, known) == {usage: [f"event-{at}" for at in range(8, 12)]}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_alike_is_found_whatever_the_customer_is_called(name: str, searched: Searched) -> None:
    store, search = searched
    insert(store, event(0), event(1, customer=name))
    usage = Usage(MTR, name, Decimal(1), START_MS)
    assert search.alike(TENANT, [usage], [(0, 10)]) == {usage: ["event-1"]}


def test_rejected_events_are_counted_by_window_tenant_meter_and_code(searched: Searched) -> None:
    store, search = searched
    many = SAMPLES_MAX + 3
    insert(store, event(0), *(rejected(at) for at in range(1, 1 + many)))
    insert(
        store,
        rejected(50, RejectionCode.ARCHIVED_METER),
        rejected(51, RejectionCode.NO_METER, meter="", customer="", event_name="x"),
        rejected(52, RejectionCode.NO_METER, meter="", customer="", event_name="y"),
        rejected(53, tenant=LIVE, meter="mtr_live"),
        rejected(54, received_at_ms=START_MS + 10_000),
        event(55, status=Fate.DUPLICATE, received_at_ms=START_MS + 10_001),
    )
    found = search.rejected(0, 100)
    assert [(each.window_start_ms - START_MS, each.tenant, each.meter_id, each.code, each.count) for each in found] == [
        (0, TENANT, "", "no_meter", 2),
        (0, TENANT, MTR, "archived_meter", 1),
        (0, TENANT, MTR, "meter_event_customer_not_found", many),
        (0, LIVE, "mtr_live", "meter_event_customer_not_found", 1),
        (10_000, TENANT, MTR, "meter_event_customer_not_found", 1),
    ]
    assert [(each.identifier, each.event_name) for each in found[0].samples] == [("event-51", "x"), ("event-52", "y")]
    assert [each.identifier for each in found[2].samples] == [f"event-{at}" for at in range(1, 1 + SAMPLES_MAX)]
    assert found[2].samples[0].customer == "cus_1"
    assert window_start_of(START_MS) == START_MS
    assert sum(each.count for each in search.rejected(2, 51)) == many
    assert search.rejected(100, 200) == []


def test_a_redriven_event_is_found_and_reported_as_it_was_judged_when_it_was_received(searched: Searched) -> None:
    world = World(store=searched.store)
    world.accept(Event("counts", value="7", timestamp_ms=START_MS), Event("fails again", value="x"))
    world.apply()
    meter = world.add_meter()
    world.add_customer()
    (portion,) = redrive(world)
    assert (portion.counted, portion.rejected) == (1, {"meter_event_invalid_value": 1})
    assert offsets(searched.search) == [1, 0]
    assert offsets(searched.search, EventFilter(status=Fate.REJECTED, code="no_meter")) == [1, 0]
    for wanted in (
        EventFilter(status=Fate.COUNTED),
        EventFilter(code="meter_event_invalid_value"),
        EventFilter(meter=meter.id),
    ):
        assert offsets(searched.search, wanted) == []
    assert [(each.code, each.count) for each in searched.search.rejected(0, 100)] == [("no_meter", 2)]
    assert searched.search.rejected(2, 100) == []
    (counted,) = searched.search.with_identifiers(TENANT, ["counts"])["counts"][1:]
    assert (counted.status, counted.value, counted.timestamp_ms) == (Fate.COUNTED, Decimal(7), START_MS)
    usage = Usage(meter.id, counted.customer, Decimal(7), START_MS)
    assert searched.search.alike(TENANT, [usage], [(0, 100)]) == {}


def test_a_redriven_event_is_no_hint_for_those_that_are_explained_with_it(searched: Searched) -> None:
    """Where it was received it did not count, whatever is explained beside it."""
    world = World(store=searched.store)
    world.accept(Event("redriven", value="7", timestamp_ms=START_MS))
    world.apply()
    world.add_meter()
    world.add_customer()
    redrive(world)
    world.accept(Event("other", value="7", timestamp_ms=START_MS))
    world.apply()
    found = searched.search.with_identifiers(TENANT, ["redriven", "other"])
    receipts = [receipt_of(acknowledged(found[name])) for name in ("redriven", "other")]
    notifications = MemoryNotifications(world.control, MemoryOutbox(world.control))
    explanations = Explanations(searched.search, lambda *_: None, notifications, lambda _: None)
    hints = [[hint.identifiers for hint in each.hints] for each in explanations.of(TENANT, receipts)]
    assert hints == [[("other",)], []]


def test_a_moment_of_receipt_is_found_in_the_log(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    store, search = searched
    monkeypatch.setattr("streamgauge.adapters.clickhouse.event_search._LINEAR_MAX", 4)
    insert(store, *(event(at, received_at_ms=START_MS + 10 * at) for at in range(0, 40, 2)))
    for at_ms in (-5, 0, 1, 20, 195, 380, 381):
        expected = next((at for at in range(0, 40, 2) if 10 * at >= at_ms), None)
        assert search.first_received_from(START_MS + at_ms, 0, 1_000) == expected, at_ms
    assert search.first_received_from(START_MS, 7, 11) == 8
    assert search.first_received_from(START_MS, 7, 8) is None
    assert search.last_received_ms(0, 1_000) == START_MS + 380
    assert search.last_received_ms(0, 7) == START_MS + 60
    assert search.last_received_ms(39, 50) is None
