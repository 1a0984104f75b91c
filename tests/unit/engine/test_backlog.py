"""The backlog: how many acknowledged events wait, and the bound that keeps them finite."""

import asyncio

import pytest

from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.domain.errors import BacklogFull, Unavailable
from streamgauge.domain.tally import Tally
from streamgauge.engine import backlog
from streamgauge.engine.backlog import Backlog, BacklogBeside
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


# --- beside the requests of an event loop


class Beside:
    """An edge's view of a backlog of at most 10 events, and its loop."""

    def __init__(self, log: CountingLog) -> None:
        self.log = log
        self.progress = MemoryProgress()
        self.beside = BacklogBeside(Backlog(log, self.progress, events_max=10))

    def add(self, events: int) -> None:
        self.log.append(b"", {TENANT: Tally(events)})

    async def looked(self) -> None:
        """When the look that is due has been made."""
        async with asyncio.timeout(30):
            while self.beside._next_look is not None:
                await asyncio.sleep(0.001)


@pytest.fixture
def beside(log: CountingLog) -> Beside:
    return Beside(log)


def test_the_first_request_of_all_is_judged_by_what_waits(beside: Beside) -> None:
    beside.add(10)

    async def request() -> None:
        with pytest.raises(BacklogFull, match="10 acknowledged events"):
            beside.beside.check()

    asyncio.run(request())


@pytest.mark.usefixtures("looks_each_time")
def test_a_request_does_not_wait_for_a_look_which_holds_for_those_after_it(beside: Beside) -> None:
    async def requests() -> None:
        beside.beside.check()
        beside.add(10)
        for _ in range(3):
            beside.beside.check()
        assert beside.log.asked == 1
        await beside.looked()
        assert beside.log.asked == 2
        with pytest.raises(BacklogFull):
            beside.beside.check()

    asyncio.run(requests())


def test_beside_its_requests_it_does_not_look_for_a_while_either(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_LOOK_SECONDS", 3_600.0)

    async def requests() -> None:
        for _ in range(1_000):
            beside.beside.check()
        assert beside.beside._next_look is None
        assert beside.log.asked == 1

    asyncio.run(requests())


@pytest.mark.usefixtures("looks_each_time")
def test_a_backlog_that_was_full_is_open_a_moment_after_events_were_applied(beside: Beside) -> None:
    beside.add(10)

    async def requests() -> None:
        with pytest.raises(BacklogFull):
            beside.beside.check()
        with pytest.raises(BacklogFull):
            beside.beside.check()
        beside.progress.advance(Checkpoint(10, 0), {TENANT: Tally(10)})
        await beside.looked()
        beside.beside.check()

    asyncio.run(requests())


@pytest.mark.usefixtures("looks_each_time")
def test_where_a_look_fails_the_next_request_is_refused_for_it_and_those_after_it_are_taken(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> int:
        raise Unavailable("the disk does not answer")

    async def requests() -> None:
        beside.beside.check()
        monkeypatch.setattr(beside.log, "end_offset", failing)
        beside.beside.check()
        await beside.looked()
        for _ in range(2):
            with pytest.raises(Unavailable, match="the disk does not answer"):
                beside.beside.check()
        monkeypatch.undo()
        monkeypatch.setattr(backlog, "_LOOK_SECONDS", -1.0)
        beside.beside.check()

    asyncio.run(requests())
