"""The backlog: how many acknowledged events wait, and the bound that keeps them finite."""

import pytest

from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.domain.errors import BacklogFull
from streamgauge.domain.tally import Tally
from streamgauge.engine import backlog
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.ports.progress import Checkpoint
from tests.support.world import TENANT, SettableClock


class CountingLog(MemoryEventLog):
    """Counts how often it was asked."""

    asked = 0

    def end_offset(self) -> int:
        self.asked += 1
        return super().end_offset()


@pytest.fixture
def log() -> CountingLog:
    return CountingLog(SettableClock())


@pytest.fixture
def looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_LOOK_SECONDS", -1.0)


@pytest.mark.usefixtures("looks_each_time")
def test_the_backlog_is_what_lies_between_the_checkpoint_and_the_end_of_the_log(log: CountingLog) -> None:
    progress = MemoryProgress()
    waiting = Backlog(log, progress, events_max=100)
    assert waiting.events() == 0
    log.append(b"", {TENANT: Tally(7)})
    assert waiting.events() == 7
    progress.advance(Checkpoint(3, 0), {TENANT: Tally(3)})
    assert waiting.events() == 4
    progress.advance(Checkpoint(7, 0), {TENANT: Tally(4)})
    assert waiting.events() == 0


@pytest.mark.usefixtures("looks_each_time")
@pytest.mark.parametrize(("events", "full"), [(1, False), (9, False), (10, True), (11, True)])
def test_the_bound_is_reached_with_the_event_that_makes_it_full(log: CountingLog, events: int, full: bool) -> None:
    waiting = Backlog(log, MemoryProgress(), events_max=10)
    log.append(b"", {TENANT: Tally(events)})
    if full:
        with pytest.raises(BacklogFull, match=f"{events} acknowledged events"):
            waiting.check()
    else:
        waiting.check()


@pytest.mark.usefixtures("looks_each_time")
def test_it_is_open_again_as_soon_as_events_were_applied(log: CountingLog) -> None:
    progress = MemoryProgress()
    waiting = Backlog(log, progress, events_max=1)
    log.append(b"", {TENANT: Tally(1)})
    with pytest.raises(BacklogFull):
        waiting.check()
    progress.advance(Checkpoint(1, 0), {TENANT: Tally(1)})
    waiting.check()


def test_it_looks_once_and_then_not_for_a_while(log: CountingLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "_LOOK_SECONDS", 3_600.0)
    waiting = Backlog(log, MemoryProgress(), events_max=10)
    assert waiting.is_due
    for _ in range(1_000):
        waiting.check()
    assert log.asked == 1
    assert not waiting.is_due


@pytest.mark.parametrize(
    ("events", "seconds"), [(0, 0), (500_000, 0), (1_250_000, 0.075), (2_000_000, 0.15), (20_000_000, 0.15)]
)
def test_the_more_waits_the_later_is_acknowledged(log: CountingLog, events: int, seconds: float) -> None:
    waiting = Backlog(log, MemoryProgress(), events_max=10**9)
    if events:
        log.append(b"", {TENANT: Tally(events)})
    assert waiting.pause_seconds() == 0  # it has not looked yet
    waiting.check()
    assert waiting.pause_seconds() == pytest.approx(seconds)
