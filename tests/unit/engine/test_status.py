"""Status: how far events have come, for each account and mode, and for the operator."""

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import StorageFull
from streamgauge.engine import backlog as backlog_module
from streamgauge.engine.applying import Applying
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.status import Edges, Status
from tests.support.world import START_MS, TENANT, Event, World

LIVE = Tenant(TENANT.account_id, livemode=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(backlog_module, "_LOOK_SECONDS", -1.0)
    world = World()
    world.add_meter()
    world.add_customer()
    return world


@pytest.fixture
def applying(world: World) -> Applying:
    return Applying(world.applier, prepare=lambda: None, interval_seconds=0, on_fatal=lambda error: None)


@pytest.fixture
def status(world: World, applying: Applying) -> Status:
    backlog = Backlog(world.log, world.progress, events_max=5)
    return Status(world.log, world.progress, backlog, applying, world.deduplication, world.clock)


def test_a_tenant_sees_its_own_events_only(world: World, status: Status) -> None:
    world.accept(Event("a"), Event("b"))
    world.accept(Event("c"), tenant=LIVE)
    world.apply()
    world.accept(Event("d"), tenant=LIVE)
    test, live, other = status.of(TENANT), status.of(LIVE), status.of(Tenant("acct_other", livemode=False))
    assert (test.accepted_events, test.applied_events, test.backlog_events) == (2, 2, 0)
    assert (live.accepted_events, live.applied_events, live.backlog_events) == (2, 1, 1)
    assert (other.accepted_events, other.applied_events, other.backlog_events) == (0, 0, 0)


def test_what_is_applied_is_as_fresh_as_now_and_with_a_backlog_as_its_last_applied_event(
    world: World, status: Status
) -> None:
    assert status.of(TENANT).refreshed_at_ms == START_MS
    record = world.accept(Event("a"))
    world.apply()
    world.clock.at_ms += 60_000
    assert status.of(TENANT).refreshed_at_ms == START_MS + 60_000
    world.accept(Event("b"))
    assert status.of(TENANT).refreshed_at_ms == record.received_at_ms
    world.clock.at_ms -= 3_600_000  # whatever the clock says, what was received is refreshed
    world.apply()
    assert status.of(TENANT).refreshed_at_ms >= record.received_at_ms + 1


def test_a_failure_of_applying_is_shown(status: Status, applying: Applying) -> None:
    assert status.of(TENANT).failure is None
    assert not status.gauges().apply_failed
    applying.failure = StorageFull("the disk is full")
    assert status.of(TENANT).failure == "the disk is full"
    assert status.gauges().apply_failed


def test_gauges_tell_of_all_accounts_together(world: World, status: Status) -> None:
    world.accept(Event("a"), Event("a"))
    world.accept(Event("b"), tenant=LIVE)
    world.apply()
    world.accept(Event("c"))
    world.clock.at_ms += 10_000
    gauges = status.gauges()
    assert (gauges.accepted_events, gauges.applied_events) == (4, 3)
    assert gauges.lag_ms == world.clock.at_ms - gauges.refreshed_at_ms > 9_000
    assert gauges.filter_hashes == 1  # of the events only one counted: live mode has no such meter
    assert gauges.filter_bytes > 0
    world.apply()
    assert status.gauges().lag_ms == 0


def test_it_is_ready_when_all_edges_take_requests(world: World, status: Status) -> None:
    edges = Edges(wanted=2, ready=1)
    status._edges = edges
    assert status.ready() == "1 of 2 edge processes take requests"
    edges.ready = 2
    assert status.ready() is None


def test_it_is_ready_until_the_backlog_is_full_or_the_log_takes_nothing(
    world: World, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status.ready() is None
    world.accept(*(Event(f"e{number}") for number in range(5)))
    reason = status.ready()
    assert reason is not None and "5 acknowledged events" in reason
    world.apply()
    assert status.ready() is None

    def full(at_least_ms: int) -> int:
        raise StorageFull("the disk is full")

    monkeypatch.setattr(world.log, "stamp", full)
    assert status.ready() == "the disk is full"
