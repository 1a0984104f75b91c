"""Group commit: requests that arrive together are appended together, answered when that is durable, and bounded."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from streamgauge.adapters.memory.event_log import MemoryEventLog
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import BacklogFull, DurabilityLost, StorageFull, StreamgaugeError, Unavailable
from streamgauge.domain.event_block import RequestColumns, decode
from streamgauge.domain.tally import Tally
from streamgauge.engine import ingest
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.ports.event_log import KeyedEntry, LogRecord
from tests.support.world import Event, SettableClock, request

SIZE_BYTES = 200  # of a request with one event
WAIT_SECONDS = 10.0


class GatedLog(MemoryEventLog):
    """Each append says that it began and waits for leave; `failures` are raised by the appends, in order."""

    def __init__(self) -> None:
        super().__init__(SettableClock())
        self.began = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.failures: list[BaseException | None] = []

    def append(self, block: bytes, tallies: Mapping[Tenant, Tally], keys: Sequence[KeyedEntry] = ()) -> LogRecord:
        self.began.release()
        assert self.leave.acquire(timeout=WAIT_SECONDS)
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            raise failure
        return super().append(block, tallies, keys)


class Fatal:
    """Where `on_fatal` goes."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def __call__(self, error: BaseException) -> None:
        self.errors.append(error)


async def begun(log: GatedLog) -> None:
    assert await asyncio.to_thread(log.began.acquire, timeout=WAIT_SECONDS)


def one(identifier: str) -> RequestColumns:
    return request([Event(identifier)])


def groups(log: MemoryEventLog) -> list[list[str]]:
    """The identifiers of each record."""
    records = log.read(0, events_max=10**6)
    return [decode(record.block).events.column("identifier").to_pylist() for record in records]


Scenario = Callable[[GroupCommit, GatedLog, Fatal], Awaitable[None]]


def drive(scenario: Scenario, *, pending_bytes_max: int = 10**6, pause: float = 0.0) -> None:
    """Run a scenario with a commit, and end it whatever happens."""

    async def run() -> None:
        log, fatal = GatedLog(), Fatal()
        commit = GroupCommit(log, pending_bytes_max=pending_bytes_max, on_fatal=fatal, pause=lambda: pause)
        try:
            await scenario(commit, log, fatal)
        finally:
            log.leave.release(1_000)
            await commit.close()

    asyncio.run(asyncio.wait_for(run(), 60))


async def settled(futures: Sequence["asyncio.Future[None]"]) -> list[BaseException | None]:
    outcomes = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), WAIT_SECONDS)
    return [each if isinstance(each, BaseException) else None for each in outcomes]


def test_a_request_is_answered_only_after_its_append_has_returned() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        answer = commit.submit(one("a"))
        await begun(log)
        await asyncio.sleep(0)
        assert not answer.done()
        log.leave.release()
        assert await settled([answer]) == [None]
        assert groups(log) == [["a"]]

    drive(scenario)


def test_requests_that_arrive_while_an_append_is_under_way_form_the_next_group() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        answers = [commit.submit(one("a"))]
        await begun(log)
        answers += [commit.submit(request([Event(name), Event(name + "'")])) for name in "bcd"]
        log.leave.release()
        await begun(log)
        assert await settled(answers[:1]) == [None]
        assert not any(answer.done() for answer in answers[1:])  # durable is said of each group by itself
        log.leave.release()
        assert await settled(answers) == [None] * 4
        assert groups(log) == [["a"], ["b", "b'", "c", "c'", "d", "d'"]]

    drive(scenario)


def test_when_applying_lags_behind_what_comes_within_the_pause_is_one_record() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        log.leave.release(100)
        await settled([commit.submit(one("a")), commit.submit(one("b"))])
        answers = []
        for name in "cde":
            answers.append(commit.submit(one(name)))
            await asyncio.sleep(0.02)
        assert not any(answer.done() for answer in answers)
        assert await settled(answers) == [None] * 3
        assert groups(log) == [["a", "b"], ["c", "d", "e"]]

    drive(scenario, pause=2.0)


def test_requests_that_come_alone_never_wait_for_others() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        log.leave.release(100)
        for name in "abc":
            assert await settled([commit.submit(one(name))]) == [None]
        assert groups(log) == [["a"], ["b"], ["c"]]

    drive(scenario, pause=60.0)  # longer than `drive` waits


def test_a_group_has_no_more_events_than_a_record_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "RECORD_EVENTS_MAX", 5)

    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        answers = [commit.submit(one("a"))]
        await begun(log)
        sizes = [2, 2, 2, 7, 5, 1]
        answers += [commit.submit(request([Event(f"{n}.{m}") for m in range(size)])) for n, size in enumerate(sizes)]
        log.leave.release(100)
        assert await settled(answers) == [None] * 7
        # A single request may be larger than that: it cannot be split.
        assert [len(group) for group in groups(log)] == [1, 4, 2, 7, 5, 1]

    drive(scenario)


def test_what_is_over_the_bound_of_waiting_bytes_is_refused_at_once_and_fits_again_later() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        answers = [commit.submit(one("a"))]
        await begun(log)  # what is being appended does not wait any more
        answers += [commit.submit(one(name)) for name in "bcd"]
        with pytest.raises(BacklogFull):
            commit.submit(one("e"))
        log.leave.release()
        await begun(log)
        answers.append(commit.submit(one("f")))
        log.leave.release(100)
        assert await settled(answers) == [None] * 5
        assert groups(log) == [["a"], ["b", "c", "d"], ["f"]]

    drive(scenario, pending_bytes_max=3 * SIZE_BYTES)


def test_a_failing_append_fails_exactly_its_group_and_the_next_is_tried() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        full = StorageFull("the disk is full")
        log.failures = [None, full, None]
        answers = [commit.submit(one("a"))]
        await begun(log)
        answers += [commit.submit(one(name)) for name in "bc"]
        log.leave.release()
        await begun(log)
        answers.append(commit.submit(one("d")))
        log.leave.release()
        log.leave.release()
        assert await settled(answers) == [None, full, full, None]
        assert groups(log) == [["a"], ["d"]]
        assert fatal.errors == []

    drive(scenario)


def test_stopping_appends_what_was_submitted_and_refuses_what_comes_after() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        answers = [commit.submit(one("a"))]
        await begun(log)
        answers += [commit.submit(one(name)) for name in "bc"]
        stopping = asyncio.create_task(commit.close())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            commit.submit(one("d"))
        assert not stopping.done()
        log.leave.release(100)
        await asyncio.wait_for(stopping, WAIT_SECONDS)
        assert await settled(answers) == [None] * 3
        assert groups(log) == [["a"], ["b", "c"]]

    drive(scenario)


@pytest.mark.parametrize("failure", [DurabilityLost("fsync failed"), RuntimeError("a mistake of ours")])
def test_when_durability_is_lost_the_process_is_told_and_nobody_is_left_waiting(failure: Exception) -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        log.failures = [failure]
        answers = [commit.submit(one("a"))]
        await begun(log)
        answers += [commit.submit(one(name)) for name in "bc"]
        log.leave.release(100)
        outcomes = await settled(answers)
        assert all(isinstance(outcome, StreamgaugeError) for outcome in outcomes)
        assert isinstance(outcomes[0], DurabilityLost) or not isinstance(failure, DurabilityLost)
        assert fatal.errors == [failure]
        assert groups(log) == []  # never tried again
        with pytest.raises(Unavailable):
            commit.submit(one("d"))

    drive(scenario)


def test_a_client_that_went_away_does_not_disturb_the_others() -> None:
    async def scenario(commit: GroupCommit, log: GatedLog, fatal: Fatal) -> None:
        gone, stays = commit.submit(one("a")), commit.submit(one("b"))
        await begun(log)
        gone.cancel()
        log.leave.release(100)
        assert await settled([stays]) == [None]
        assert groups(log) == [["a", "b"]]

    drive(scenario)
