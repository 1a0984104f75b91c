"""What is old enough is dropped from log and store, and nothing that decides a fate or makes up a total."""

import logging

import pytest

from streamgauge.adapters.memory.usage_audit import MemoryUsageAudit
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.counting_rules import CountingRules
from streamgauge.domain.meter import Formula
from streamgauge.engine import retaining as retaining_module
from streamgauge.engine.applying import Applying
from streamgauge.engine.redrive import Redrives
from streamgauge.engine.retaining import Retaining
from streamgauge.engine.retention import LOOKS_BACK_DAYS, RETENTION_DAYS_MIN, Retention, RetentionPeriod
from streamgauge.engine.verification import Verification, Verified
from tests.support.redriving import OPEN, redrives_of
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, Event, World

DAYS = 40


def lived(days: int, per_day: int = 2) -> World:
    """Each day events of two meters, a repeat of yesterday's and one of a month ago, and a cancellation."""
    world = World(store=MemoryUsageStore())
    world.add_meter()
    world.add_meter("latest", Formula.LAST)
    world.add_customer()
    for day in range(days):
        world.clock.at_ms = START_MS + day * DAY_MS
        names = [f"d{day}_{at}" for at in range(per_day)]
        world.accept(*[Event(name, timestamp_ms=world.clock.at_ms - 30 * DAY_MS * (day % 2)) for name in names])
        world.accept(*[Event(f"l{name}", event_name="latest", value=str(day)) for name in names])
        world.accept(Event(f"d{day - 1}_0"), Event(f"d{day - 33}_1"), Event(f"d{day - 34}_0", customer="cus_stranger"))
        world.accept_cancel(f"ld{day}_0", "latest")
        world.apply()
    return world


def retention_of(world: World, days: int = DAYS) -> Retention:
    assert isinstance(world.store, MemoryUsageStore)
    return Retention(world.log, world.progress, world.store, world.clock, days)


def drop(world: World, days: int = DAYS) -> int:
    retention, portions = retention_of(world, days), 0
    while retention.run_once():
        portions += 1
    return portions


def verified(world: World) -> Verified:
    assert isinstance(world.store, MemoryUsageStore)
    audit = MemoryUsageAudit(world.store)
    return Verification(world.log, world.progress, audit, world.catalogue.settled(), share_events=200).run()


def all_totals(world: World) -> list[object]:
    return [world.total(meter) for meter in world.control.all_meters()]


def received(world: World, name: str) -> int:
    return len(world.fates(name))


def test_days_are_dropped_from_log_and_store_and_totals_stay(caplog: pytest.LogCaptureFixture) -> None:
    world = lived(60)
    before = all_totals(world)
    with caplog.at_level(logging.INFO):
        assert drop(world) > 0
    beginning = world.log.beginning()
    assert f"retention dropped entries={beginning.offset} days=" in caplog.text
    oldest_kept_ms = (world.clock.at_ms // DAY_MS - DAYS) * DAY_MS
    assert beginning.received_from_ms <= oldest_kept_ms
    assert [record.received_at_ms >= oldest_kept_ms for record in world.log.read(beginning.offset, events_max=9)]
    assert (received(world, "ld5_1"), received(world, "ld30_1")) == (0, 1)
    assert all_totals(world) == before
    assert drop(world) == 0
    # Also after a restart, of which nothing is left but what is stored.
    world.restart()
    assert all_totals(world) == before
    world.accept(Event("d59_0"), Event("d27_1"))
    world.apply()
    assert world.fates("d59_0") == ["counted", "duplicate"]


def test_nothing_young_is_dropped() -> None:
    world = lived(DAYS)
    assert drop(world) == 0
    assert world.log.beginning().offset == 0


@pytest.mark.parametrize("days", [RETENTION_DAYS_MIN, DAYS, 59])
def test_what_is_left_is_verified_and_what_was_dropped_is_not_missed(days: int) -> None:
    world = lived(75)
    drop(world, days)
    found = verified(world)
    assert found.differences == []
    assert found.from_offset == world.log.beginning().offset > 0
    assert 0 < found.events < world.log.end_offset() - found.from_offset
    assert found.windows > 0


def test_days_that_a_crash_left_in_the_store_are_no_difference() -> None:
    world = lived(60)
    while world.log.drop(before_ms=world.clock.at_ms - DAYS * DAY_MS, below_offset=world.log.end_offset() // 5):
        pass
    assert world.log.beginning().offset > 0
    assert verified(world).differences == []


def test_a_change_among_what_is_left_is_found() -> None:
    world = lived(75)
    drop(world)
    assert isinstance(world.store, MemoryUsageStore)
    kept = [row for row in world.store.rows if row["status"] == "counted"]
    kept[-1]["customer"] = "cus_other"
    assert len(verified(world).differences) == 1


def test_what_waits_to_be_applied_is_not_dropped_however_old_it_is() -> None:
    world = lived(3)
    end = world.log.end_offset()
    world.accept(Event("waits"))
    retention = retention_of(world)
    world.clock.at_ms += 400 * DAY_MS
    assert not retention.run_once()
    assert world.log.beginning().offset == 0
    # Nor what an event that waits may repeat: it is judged by the time of its receipt.
    world.accept(Event("d2_0"))
    world.applier._step_events_max = 1
    world.applier.run_once()
    assert not retention_of(world).run_once()
    assert world.progress.checkpoint().next_offset > end
    world.apply()
    while retention.run_once():
        pass
    assert world.log.beginning().offset == world.log.end_offset() - 1


def test_a_store_keeps_the_newest_day_of_a_log_that_is_empty() -> None:
    world = lived(3)
    world.clock.at_ms += 400 * DAY_MS
    drop(world)
    assert world.log.beginning().offset == world.log.end_offset()
    assert world.store.count_events() > 0
    world.restart()
    world.accept(Event("new"))
    world.apply()
    assert world.fates("new") == ["counted"]
    assert verified(world).differences == []


def test_a_letter_whose_past_may_be_dropped_is_not_redriven() -> None:
    """It was counted in time under the same identifier, which the store no longer knows."""
    world = World(store=MemoryUsageStore())
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a"))
    world.clock.at_ms += 30 * DAY_MS
    world.apply()
    world.accept(Event("a", value="2", customer="cus_late"), Event("b", value="4", customer="cus_late"))
    world.apply()
    world.clock.at_ms += 20 * DAY_MS
    world.accept(Event("c", value="8", customer="cus_late"))
    world.apply()
    world.add_customer("cus_late")
    drop(world, DAYS)
    assert received(world, "a") == 1
    made = redrives_of(world)
    redrives = Redrives(
        world.log,
        world.progress,
        made._letters,
        world.judging,
        world.unapplied,
        made._backlog,
        RetentionPeriod(world.log, DAYS),
    )
    assert redrives.trial(TENANT, OPEN).selected == 1
    assert redrives.redrive(TENANT, OPEN).counted == 1
    world.apply()
    assert [world.fates(name)[-1] for name in "bc"] == ["meter_event_customer_not_found", "counted"]
    assert world.total(meter) == 1


def test_what_may_be_redriven_goes_by_what_was_dropped_and_what_will_be() -> None:
    world = lived(60)
    now_ms = world.log.next_stamp_ms()
    assert RetentionPeriod(world.log, None).redrivable_from_ms() == 0
    assert RetentionPeriod(world.log, 50).redrivable_from_ms() == now_ms - 14 * DAY_MS
    drop(world)
    from_ms = world.log.beginning().received_from_ms + LOOKS_BACK_DAYS * DAY_MS
    assert RetentionPeriod(world.log, None).redrivable_from_ms() == from_ms
    assert RetentionPeriod(world.log, 500).redrivable_from_ms() == from_ms


def test_every_judgement_is_within_the_shortest_retention() -> None:
    assert CountingRules().dedup_window_ms <= LOOKS_BACK_DAYS * DAY_MS
    assert RETENTION_DAYS_MIN > LOOKS_BACK_DAYS + 1


def test_the_thread_goes_on_soon_while_there_is_more_and_looks_again_in_an_hour() -> None:
    world = lived(60)
    applying = Applying(world.applier, prepare=lambda: None, interval_seconds=0, on_fatal=lambda error: None)
    applying.start()
    retaining = Retaining(retention_of(world), applying, on_fatal=lambda error: None)
    rests = [retaining.step()]
    while rests[-1] == retaining_module._REST_SECONDS and len(rests) < 500:
        rests.append(retaining.step())
    applying.stop(0)
    assert rests[0] == retaining_module._REST_SECONDS
    assert rests[-1] == HOUR_MS / 1000
