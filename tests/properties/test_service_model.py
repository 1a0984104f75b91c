"""The whole service against an oracle: nothing lost, nothing doubled, whatever happens in whatever order.

Goal:   every acknowledged event has one fate, the one that its caller was told and that the oracle gives; every total
        is the oracle's to the last digit; and a store made anew from the log alone is equal.
Method: Hypothesis draws histories of requests, changes of the catalogue, steps of applying, failures between any two
        writes, restarts and jumps of the clock (tests/support/service_model.py); the oracle reads the entries of the
        log one by one (tests/support/oracle.py). The histories are the same in every run, so that this never flakes;
        `make soak` draws others.
"""

import asyncio
import contextlib
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.domain.credential import Principal
from streamgauge.domain.meter_event import MeterEvent
from streamgauge.domain.request_key import request_key
from streamgauge.engine.adjustments import Adjustments
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.meter_events import MeterEvents
from tests.support.service_model import ServiceModel, model_on_disk
from tests.support.world import DAY_MS, HOUR_MS, TENANT, Event, World

SAME_EACH_TIME = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@pytest.mark.timeout(300)
def test_in_memory_nothing_is_lost_and_nothing_doubled() -> None:
    run_state_machine_as_test(ServiceModel, settings=settings(SAME_EACH_TIME, max_examples=150, stateful_step_count=25))


@pytest.mark.timeout(600)
def test_on_disk_nothing_is_lost_and_nothing_doubled(new_clickhouse_store: Callable[[], ClickHouseStore]) -> None:
    run_state_machine_as_test(
        model_on_disk(new_clickhouse_store), settings=settings(SAME_EACH_TIME, max_examples=10, stateful_step_count=25)
    )


def test_a_single_event_is_told_its_fate_also_when_the_log_waits_longer_than_the_window() -> None:
    world = World(window_ms=DAY_MS)
    world.add_meter()
    world.add_customer()
    world.accept(Event("a"))
    world.clock.at_ms += DAY_MS + HOUR_MS
    event = MeterEvent("api_requests", "a", None, {"stripe_customer_id": "cus_1", "value": "1"})
    backlog = Backlog(world.log, world.progress, events_max=1_000)
    meter_events = MeterEvents(world.log, world.store, world.catalogue, world.unapplied, backlog, world.clock)
    with contextlib.closing(meter_events):
        asyncio.run(meter_events.submit(Principal(TENANT, "key_test"), event, None))
    world.apply()
    assert world.fates("a") == ["counted", "counted"]


def test_a_cancellation_that_is_repeated_takes_back_no_other_event() -> None:
    """The window is shorter than the hours of a cancellation and of its key together: the name can count again."""
    world = World(window_ms=DAY_MS)
    world.add_meter()
    world.add_customer()
    backlog = Backlog(world.log, world.progress, events_max=1_000)
    adjustments = Adjustments(world.log, world.progress, world.store, world.unapplied, backlog, world.clock)
    asked = (Principal(TENANT, "key_test"), "api_requests", "a", request_key("k", "POST", "/", {}))
    world.accept(Event("a"))
    world.clock.at_ms += DAY_MS - HOUR_MS
    first = adjustments.cancel(*asked)
    world.clock.at_ms += 2 * HOUR_MS
    world.accept(Event("a"))
    world.apply()
    assert adjustments.cancel(*asked).id == first.id
    world.apply()
    assert world.fates("a") == ["cancelled", "counted"]
