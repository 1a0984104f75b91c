"""Summaries: pages of windows, newest first, in both directions."""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.api.v1.meters import meter_snapshot
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.meter import EventTimeWindow, Meter
from streamgauge.domain.summary import SummaryRow
from streamgauge.engine import summaries, summary_walks
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.usage_store import SummaryQuery
from streamgauge.engine.summaries import Summaries
from streamgauge.engine.summary_walks import SummaryWalks
from tests.support.notifying import notifications_on
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, Event, World

HOUR, DAY = EventTimeWindow.HOUR, EventTimeWindow.DAY
DAY_S = 86_400
START_S = START_MS // DAY_MS * DAY_S - 5 * DAY_S
END_S = START_S + 7 * DAY_S
HOURS_WITH_USAGE = [0, 1, 2, 5, 30, 31, 100]


@dataclass
class Bench:
    world: World
    meter: Meter
    summaries: Summaries

    def query(
        self, grouping: EventTimeWindow | None = None, customer: str = "cus_1", **page: object
    ) -> Listed[SummaryRow]:
        return self.summaries.query(TENANT, self.meter.id, customer, START_S, END_S, grouping, Page(**page))  # type: ignore[arg-type]

    def hours(self, listed: Listed[SummaryRow]) -> list[int]:
        return [(row.start_s - START_S) // 3_600 for row in listed.items]


@pytest.fixture
def bench() -> Bench:
    world = World()
    meter = world.add_meter()
    world.add_customer()
    world.accept(
        *(
            Event(f"e{hour}", value=str(2**at), timestamp_ms=START_S * 1000 + hour * HOUR_MS + 59_999)
            for at, hour in enumerate(HOURS_WITH_USAGE)
        )
    )
    world.apply()
    return bench_of(world, meter)


def bench_of(world: World, meter: Meter) -> Bench:
    notifications = notifications_on(world.control, SystemClock(), SystemEntropy())
    meters = Meters(world.control, world.catalogue, SystemEntropy(), notifications, meter_snapshot)
    walks = SummaryWalks(lambda: world.progress.checkpoint().next_offset)
    return Bench(world, meter, Summaries(meters, world.store, walks))


def test_without_a_grouping_the_range_is_one_summary(bench: Bench) -> None:
    found = bench.query()
    (row,) = found.items
    assert (row.start_s, row.end_s, row.value, row.meter_id) == (START_S, END_S, Decimal(127), bench.meter.id)
    assert not found.has_more


def test_windows_come_newest_first_without_the_empty_ones(bench: Bench) -> None:
    assert bench.hours(bench.query(HOUR, limit=100)) == HOURS_WITH_USAGE[::-1]
    by_day = bench.query(DAY, limit=100)
    assert [(row.start_s, row.end_s, row.value) for row in by_day.items] == [
        (START_S + 4 * DAY_S, START_S + 5 * DAY_S, Decimal(64)),
        (START_S + DAY_S, START_S + 2 * DAY_S, Decimal(16 + 32)),
        (START_S, START_S + DAY_S, Decimal(1 + 2 + 4 + 8)),
    ]


@pytest.mark.parametrize("limit", range(1, 9))
def test_paging_forward_meets_every_window_once(bench: Bench, limit: int) -> None:
    met: list[int] = []
    page = bench.query(HOUR, limit=limit)
    while True:
        met += bench.hours(page)
        assert len(page.items) <= limit
        assert page.has_more == (len(met) < len(HOURS_WITH_USAGE))
        if not page.has_more:
            break
        page = bench.query(HOUR, limit=limit, starting_after=page.items[-1].id)
    assert met == HOURS_WITH_USAGE[::-1]


@pytest.mark.parametrize("limit", range(1, 9))
def test_paging_backward_meets_every_window_once_and_pages_stay_newest_first(bench: Bench, limit: int) -> None:
    oldest = bench.query(HOUR, limit=100).items[-1]
    met = bench.hours(Listed((oldest,), False))
    cursor, has_more = oldest.id, True
    while has_more:
        page = bench.query(HOUR, limit=limit, ending_before=cursor)
        assert bench.hours(page) == sorted(bench.hours(page), reverse=True)
        met = bench.hours(page) + met
        has_more = page.has_more
        assert has_more == (len(met) < len(HOURS_WITH_USAGE))
        cursor = page.items[0].id
    assert met == HOURS_WITH_USAGE[::-1]


@pytest.mark.parametrize("kept_max", range(1, 9))
def test_a_list_too_long_to_be_kept_is_met_whole_too(
    bench: Bench, kept_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summaries, "ROWS_MAX", kept_max)
    monkeypatch.setattr(summary_walks, "ROWS_MAX", kept_max)
    page = bench.query(HOUR, limit=1)
    met = bench.hours(page)
    while page.has_more:
        page = bench.query(HOUR, limit=1, starting_after=page.items[-1].id)
        met += bench.hours(page)
    assert met == HOURS_WITH_USAGE[::-1]


def test_nothing_follows_the_ends(bench: Bench) -> None:
    rows = bench.query(HOUR, limit=100).items
    assert bench.query(HOUR, starting_after=rows[-1].id) == Listed((), False)
    assert bench.query(HOUR, ending_before=rows[0].id) == Listed((), False)
    (whole,) = bench.query().items
    assert bench.query(starting_after=whole.id) == Listed((), False)


def test_ids_stay_the_same_across_calls_and_differ_between_windows(bench: Bench) -> None:
    first, second = bench.query(HOUR, limit=100), bench.query(HOUR, limit=100)
    assert [row.id for row in first.items] == [row.id for row in second.items]
    ids = {row.id for grouping in (None, HOUR, DAY) for row in bench.query(grouping, limit=100).items}
    assert len(ids) == 1 + 7 + 3


@pytest.mark.parametrize("direction", ["starting_after", "ending_before"])
def test_a_cursor_that_is_no_row_of_the_list_is_refused(bench: Bench, direction: str) -> None:
    of_another_grouping = bench.query(DAY).items[0].id
    for cursor in ("mtrusg_none", of_another_grouping):
        with pytest.raises(InvalidRequest) as refusal:
            bench.query(HOUR, **{direction: cursor})
        assert (refusal.value.param, refusal.value.reason) == (direction, "resource_missing")


def test_a_customer_that_never_existed_has_no_summaries(bench: Bench) -> None:
    assert bench.query(HOUR, customer="cus_stranger") == Listed((), False)


def test_a_meter_of_another_mode_is_not_found(bench: Bench) -> None:
    live = Tenant(TENANT.account_id, livemode=True)
    with pytest.raises(NotFound):
        bench.summaries.query(live, bench.meter.id, "cus_1", START_S, END_S, None, Page())


def test_a_list_that_is_kept_is_not_continued_for_another_mode_or_account(bench: Bench) -> None:
    newest = bench.query(HOUR, limit=1).items[0].id
    after = Page(starting_after=newest)
    for other in (Tenant(TENANT.account_id, livemode=True), Tenant("acct_other", livemode=False)):
        with pytest.raises(NotFound):
            bench.summaries.query(other, bench.meter.id, "cus_1", START_S, END_S, HOUR, after)


def test_a_page_of_a_kept_list_asks_for_no_meter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    newest = bench.query(HOUR, limit=1).items[0].id
    asked: list[str] = []
    get_meter = bench.world.control.get_meter

    def noting(tenant: Tenant, meter_id: str) -> Meter | None:
        asked.append(meter_id)
        return get_meter(tenant, meter_id)

    monkeypatch.setattr(bench.world.control, "get_meter", noting)
    assert bench.hours(bench.query(HOUR, limit=1, starting_after=newest)) == [HOURS_WITH_USAGE[-2]]
    assert asked == []
    bench.query(HOUR, limit=1)
    assert asked == [bench.meter.id]


def test_a_range_that_is_not_aligned_is_refused(bench: Bench) -> None:
    with pytest.raises(InvalidRequest):
        bench.summaries.query(TENANT, bench.meter.id, "cus_1", START_S + 60, END_S, HOUR, Page())


def test_a_walk_through_the_pages_asks_the_store_once_and_sees_what_is_applied_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    meter = world.add_meter()
    world.add_customer()
    world.accept(
        *(Event(f"e{hour}", value="1", timestamp_ms=START_S * 1000 + hour * HOUR_MS) for hour in HOURS_WITH_USAGE)
    )
    world.apply()
    asked: list[SummaryQuery] = []
    totals = world.store.totals

    def counting(query: SummaryQuery) -> object:
        asked.append(query)
        return totals(query)

    monkeypatch.setattr(world.store, "totals", counting)
    bench = bench_of(world, meter)
    page = bench.query(HOUR, limit=2)
    page = bench.query(HOUR, limit=2, starting_after=page.items[-1].id)
    assert bench.hours(page) == [30, 5]
    assert len(asked) == 1
    world.accept(Event("late", value="9", timestamp_ms=START_S * 1000 + 2 * HOUR_MS))
    world.apply()
    page = bench.query(HOUR, limit=2, starting_after=page.items[-1].id)
    assert bench.hours(page) == [2, 1]
    assert [row.value for row in page.items] == [Decimal(10), Decimal(1)]
    assert len(asked) == 2
    bench.query(HOUR, limit=2)
    assert len(asked) == 3


def test_walks_of_several_customers_at_a_time_each_meet_their_own_windows() -> None:
    world = World()
    meter = world.add_meter()
    usage = {"cus_1": [0, 2, 4, 6], "cus_2": [1, 2, 3]}
    for customer, hours in usage.items():
        world.add_customer(customer)
        world.accept(
            *(
                Event(f"{customer}-{hour}", customer=customer, timestamp_ms=START_S * 1000 + hour * HOUR_MS)
                for hour in hours
            )
        )
    world.apply()
    bench = bench_of(world, meter)
    pages = {customer: bench.query(HOUR, customer=customer, limit=1) for customer in usage}
    met = {customer: bench.hours(page) for customer, page in pages.items()}
    while any(page.has_more for page in pages.values()):
        for customer, page in pages.items():
            if page.has_more:
                pages[customer] = bench.query(HOUR, customer=customer, limit=1, starting_after=page.items[-1].id)
                met[customer] += bench.hours(pages[customer])
    assert met == {customer: hours[::-1] for customer, hours in usage.items()}
