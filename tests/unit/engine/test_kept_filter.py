"""A filter that is kept from one run to the next never excludes what was counted: what is doubtful is not used."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.adapters.memory.filter_files import MemoryFilterFiles
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.errors import StorageFull
from streamgauge.engine import dedup_filter, deduplication
from streamgauge.engine.dedup_filter import FilterImage
from streamgauge.engine.ports.filter_files import FilterFiles
from tests.support.world import DAY_MS, HOUR_MS, TENANT, Event, World


class ReadingCounted(MemoryUsageStore):
    """Tells how many hashes were read."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def count_claimed(self, *, since_ms: int, from_offset: int = 0) -> int:
        self.read = super().count_claimed(since_ms=since_ms, from_offset=from_offset)
        return self.read


@pytest.fixture
def world() -> World:
    made = World(store=ReadingCounted())
    made.add_meter()
    made.add_customer()
    return made


def read_at_restart(world: World) -> int:
    world.restart()
    assert isinstance(world.store, ReadingCounted)
    return world.store.read


def send(world: World, *names: str) -> None:
    world.accept(*map(Event, names))
    world.apply()


def test_a_restart_reads_only_what_is_newer_than_what_was_kept(world: World) -> None:
    send(world, "a", "b", "c")
    world.deduplication.save(everything=True)
    send(world, "d")
    assert read_at_restart(world) == 1
    assert world.deduplication.filter_count == 4
    send(world, "a", "d", "e")
    assert [world.fates(name) for name in "ade"] == [["counted", "duplicate"]] * 2 + [["counted"]]
    world.deduplication.save(everything=True)
    assert read_at_restart(world) == 0


def test_what_a_narrower_window_left_unread_makes_duplicates_when_the_window_is_wide_again(world: World) -> None:
    """What was kept goes back far enough for the wide window too; what was read after it does not."""
    wide_ms = world.window_ms
    send(world, "kept")
    world.deduplication.save(everything=True)
    world.clock.at_ms += DAY_MS
    send(world, "later")
    world.clock.at_ms += wide_ms - DAY_MS // 2
    world.window_ms = DAY_MS
    world.restart()
    send(world, "newest")
    world.restart()
    world.deduplication.save(everything=True)
    world.window_ms = wide_ms
    world.restart()
    send(world, "later", "newest")
    assert [world.fates(name) for name in ("later", "newest")] == [["counted", "duplicate"]] * 2


def test_a_step_that_failed_makes_its_claims_again_when_the_filter_was_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StorageFull("full")

    world.accept(Event("a"))
    with monkeypatch.context() as patch:
        patch.setattr(world.store, "insert", full)
        with pytest.raises(StorageFull):
            world.apply()
    world.deduplication.rebuild(world.progress.checkpoint())
    world.apply()
    send(world, "a")
    assert world.fates("a") == ["counted", "duplicate"]


def test_little_is_not_worth_keeping(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MIN", 8)
    world.restart()
    send(world, "a")
    world.deduplication.save()
    assert world.filter_files.load() is None
    send(world, "b")
    world.deduplication.save()
    assert world.filter_files.load() is not None
    assert read_at_restart(world) == 0


def test_what_could_not_be_kept_is_kept_the_next_time(world: World) -> None:
    class Full(MemoryFilterFiles):
        def save(self, image: FilterImage) -> None:
            raise StorageFull("full")

    world.filter_files = Full()
    world.restart()
    send(world, "a")
    for _ in range(2):
        with pytest.raises(StorageFull):
            world.deduplication.save(everything=True)


def test_a_filter_that_was_not_filled_yet_is_not_kept(world: World) -> None:
    send(world, "a")
    world.deduplication.save(everything=True)
    kept = world.filter_files.load()
    # What a start does before it has read anything.
    world.restart()
    world.deduplication._is_filled = False
    send(world, "b")
    world.deduplication.save(everything=True)
    found = world.filter_files.load()
    assert found is not None
    assert kept is not None
    assert [each.count for each in found.segments] == [each.count for each in kept.segments]


def _other_log(world: World) -> None:
    """As long as this one, and received at other times."""
    world.clock.at_ms += 5
    world.log = MemoryEventLog(world.clock)
    world.store, world.progress = ReadingCounted(), MemoryProgress()
    send_again(world, "x", "y", "z")


def _shorter_log(world: World) -> None:
    world.clock.at_ms += 5
    world.log = MemoryEventLog(world.clock)
    world.store, world.progress = ReadingCounted(), MemoryProgress()
    send_again(world, "x")


def _longer_window(world: World) -> None:
    """Claims that the filter forgot are within the window again."""
    world.clock.at_ms += 30 * DAY_MS
    send(world, "later")
    world.deduplication.save(everything=True)
    world.window_ms = 35 * DAY_MS


def send_again(world: World, *names: str) -> None:
    world.filter_files, kept = MemoryFilterFiles(), world.filter_files
    world.restart()
    send(world, *names)
    world.filter_files = kept


@pytest.mark.parametrize(
    ("change", "reason", "repeats"),
    [
        (_other_log, "other_log", "xyz"),
        (_shorter_log, "beyond_checkpoint", "x"),
        (_longer_window, "window_longer", "abc"),
    ],
)
def test_what_does_not_fit_is_not_used(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[World], None],
    reason: str,
    repeats: str,
) -> None:
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MIN", 1)
    monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MAX", 1)
    world.window_ms = DAY_MS
    world.restart()
    send(world, *"abc")
    world.deduplication.save(everything=True)
    change(world)
    with caplog.at_level(logging.INFO):
        world.restart()
    assert f"kept filter not used reason={reason}" in caplog.text
    assert world.filter_files.load() is None
    send(world, *repeats)
    assert [world.fates(name) for name in repeats] == [["counted", "duplicate"]] * len(repeats)


names = st.lists(st.sampled_from([f"n{at}" for at in range(30)]), min_size=1, max_size=8, unique=True)
steps = st.lists(
    st.one_of(names, st.sampled_from(["save", "restart", "crash", "hour", "days", "window"])),
    max_size=30,
)


@given(steps, st.sampled_from([0, 1, 50]), st.sampled_from([1, 3, 100]))
def test_fates_do_not_depend_on_what_was_kept_and_when(
    steps: list[list[str] | str], together_max: int, neighbours_min: int
) -> None:
    """Beside a world that keeps nothing: the same steps give every event the same fate."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(deduplication, "TOGETHER_MAX", together_max)
        monkeypatch.setattr(deduplication, "NEIGHBOURS_MIN", neighbours_min)
        monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MIN", 2)
        monkeypatch.setattr(dedup_filter, "SEGMENT_HASHES_MAX", 8)
        fates = [_lived(steps, MemoryFilterFiles()), _lived(steps, NothingKept())]
    assert fates[0] == fates[1]


class NothingKept(MemoryFilterFiles):
    def load(self) -> FilterImage | None:
        return None


def _lived(steps: list[list[str] | str], files: FilterFiles) -> list[list[str]]:
    world = World(filter_files=files, window_ms=DAY_MS)
    world.add_meter()
    world.add_customer()
    for step in steps:
        match step:
            case "save":
                world.deduplication.save(everything=True)
            case "restart":
                world.restart()
            case "crash":
                # Between the claims and the checkpoint: the filter has what the next step will insert once more.
                world.deduplication.save(everything=True)
                world.accept(Event("n1"), Event("n2"))
                world.applier._progress = FailingToAdvance(world.progress)  # type: ignore[assignment]
                with pytest.raises(StorageFull):
                    world.apply()
                world.deduplication.save(everything=True)
                world.restart()
                world.apply()
            case "hour":
                world.clock.at_ms += HOUR_MS
            case "days":
                world.clock.at_ms += 3 * DAY_MS
            case "window":
                world.window_ms = 10 * DAY_MS if world.window_ms == DAY_MS else DAY_MS
                world.restart()
            case _:
                world.accept(*map(Event, step))
                world.apply()
    return [world.fates(f"n{at}", TENANT) for at in range(30)]


class FailingToAdvance:
    def __init__(self, progress: object) -> None:
        self._progress = progress

    def __getattr__(self, name: str) -> object:
        if name == "advance":
            raise StorageFull("the crash")
        return getattr(self._progress, name)


def test_images_share_no_blocks_with_a_segment_that_can_still_change() -> None:
    filter = dedup_filter.DedupFilter()
    filter.add(np.array([1], np.uint64), 5, 0, 1)
    (before,) = filter.images()
    filter.add(np.array([2**63], np.uint64), 6, 1, 2)
    (after,) = filter.images()
    assert not np.array_equal(before.blocks, after.blocks)
    with pytest.raises(ValueError, match="blocks"):
        dedup_filter.Segment.of(replace(before, capacity=10))
