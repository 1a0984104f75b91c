"""Judging a step beside the insert of the one before: nothing changes but the time."""

import threading
from collections.abc import Mapping
from decimal import Decimal

import pytest

from streamgauge.adapters.memory.event_log import MemoryProgress
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt, Unavailable
from streamgauge.domain.meter import Meter
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.domain.tally import Tally
from streamgauge.engine.ports.progress import Checkpoint
from tests.support.world import TENANT, Event, World


class _StoreThatWaits(MemoryUsageStore):
    """Its inserts wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.fails = 0

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        self.go.wait(30)
        if self.fails > 0:
            self.fails -= 1
            raise Unavailable("away")
        super().insert(events, step=step, again=again)


@pytest.fixture
def long_log() -> tuple[World, Meter, _StoreThatWaits]:
    """Three records of two events, each a step, with repeats across them: six events, four of them different."""
    store = _StoreThatWaits()
    world = World(store=store, step_events_max=2, ahead_entries_min=1)
    meter = world.add_meter()
    world.add_customer()
    for names in ("ab", "bc", "ad"):
        world.accept(*(Event(name) for name in names))
    return world, meter, store


def test_while_a_step_is_stored_the_next_is_judged_with_its_claims(
    long_log: tuple[World, Meter, _StoreThatWaits], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, meter, store = long_log
    judged = threading.Event()
    settled = world.judging.settled

    def watched(events: ReceivedEvents, *, below_offset: int) -> SettledEvents:
        found = settled(events, below_offset=below_offset)
        if below_offset == 2:
            judged.set()
        return found

    monkeypatch.setattr(world.judging, "settled", watched)
    stepping = threading.Thread(target=world.applier.run_once)
    stepping.start()
    assert judged.wait(30)  # while nothing is stored
    assert store.rows == []
    store.go.set()
    stepping.join(30)
    world.apply()
    assert world.total(meter) == Decimal(4)
    assert [world.fates(name) for name in "abcd"] == [["counted", "duplicate"]] * 2 + [["counted"]] * 2


def test_a_step_that_could_not_be_stored_is_stored_before_the_next(
    long_log: tuple[World, Meter, _StoreThatWaits],
) -> None:
    world, meter, store = long_log
    store.go.set()
    store.fails = 2
    for _ in range(2):
        with pytest.raises(Unavailable):
            world.applier.run_once()
    world.apply()
    assert world.total(meter) == Decimal(4)
    assert [row["log_offset"] for row in store.rows] == list(range(6))


class _ProgressThatFailsLate(MemoryProgress):
    """Once, it has written the end of a step and says that it could not."""

    def __init__(self) -> None:
        super().__init__()
        self.fails = True

    def advance(self, checkpoint: Checkpoint, applied: Mapping[Tenant, Tally]) -> None:
        super().advance(checkpoint, applied)
        if self.fails:
            self.fails = False
            raise Unavailable("away")


@pytest.mark.parametrize("ahead_entries_min", [1, 10**9])
def test_a_step_whose_end_was_written_is_not_stored_again_when_an_error_came_after_it(ahead_entries_min: int) -> None:
    world = World(progress=_ProgressThatFailsLate(), step_events_max=2, ahead_entries_min=ahead_entries_min)
    meter = world.add_meter()
    world.add_customer()
    for names in ("ab", "bc"):
        world.accept(*(Event(name) for name in names))
    with pytest.raises(Unavailable):
        world.apply()
    world.apply()
    assert world.total(meter) == Decimal(3)
    assert world.progress.checkpoint().next_offset == 4


def test_a_damaged_record_behind_a_step_does_not_keep_it_from_being_stored(
    long_log: tuple[World, Meter, _StoreThatWaits],
) -> None:
    world, meter, store = long_log
    world.log.append(b"not a block", {TENANT: Tally(1)})
    store.go.set()
    with pytest.raises(Corrupt, match="offset 6"):
        world.apply()
    assert world.total(meter) == Decimal(4)


def test_a_cancellation_behind_a_step_waits_for_it(long_log: tuple[World, Meter, _StoreThatWaits]) -> None:
    world, meter, store = long_log
    store.go.set()
    world.accept_cancel("d")
    world.accept(Event("d"))
    world.apply()
    assert world.total(meter) == Decimal(3)
    assert world.fates("d") == ["cancelled", "duplicate"]
