"""The applying thread: it tries again what passes, stops where data is damaged, and ends the process for the rest."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from streamgauge.domain.errors import Corrupt, DurabilityLost, StorageFull, StreamgaugeError, Unavailable
from streamgauge.engine import applying as applying_module
from streamgauge.engine.apply import Applier
from streamgauge.engine.applying import Applying

WAIT_SECONDS = 10.0


class ScriptedApplier(Applier):
    """`run_once` does what the script says, one entry a step: a number of events, or an error. Then 0 for ever."""

    def __init__(self, *script: int | BaseException) -> None:
        self.script = list(script)
        self.steps = 0
        self.arriving: Iterator[int] = itertools.count()  # what waits, from one look to the next
        self.finished = threading.Event()
        self.gate: threading.Semaphore | None = None
        self.at_gate = threading.Event()

    @property
    def waiting(self) -> int:
        return next(self.arriving)

    def run_once(self) -> int:
        if self.gate is not None:
            self.at_gate.set()
            assert self.gate.acquire(timeout=WAIT_SECONDS)
        self.steps += 1
        if not self.script:
            self.finished.set()
            return 0
        entry = self.script.pop(0)
        if isinstance(entry, BaseException):
            raise entry
        return entry


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applying_module, "_RETRY_SECONDS", 0.001)


@pytest.fixture
def start() -> Iterator[Callable[..., Applying]]:
    running: list[Applying] = []

    def started(applier: Applier, on_fatal: Callable[[BaseException], None] | None = None) -> Applying:
        def unexpected(error: BaseException) -> None:
            raise AssertionError(f"fatal: {error!r}")

        applying = Applying(applier, prepare=lambda: None, interval_seconds=0, on_fatal=on_fatal or unexpected)
        applying.start()
        running.append(applying)
        return applying

    yield started
    for each in running:
        each.stop(0)


def test_it_applies_step_after_step(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier(5, 7, 1)
    applying = start(applier)
    assert applier.finished.wait(WAIT_SECONDS)
    assert (applier.steps, applying.failure) == (4, None)


class Hours(threading.Event):
    """Time that passes only where the thread waits, in the place of the clock and of the event that ends it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._now, self._end = 0.0, seconds

    def monotonic(self) -> float:
        return self._now

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._now += timeout
        if self._now >= self._end:
            self.set()
        return self.is_set()


def growing() -> Iterator[int]:
    return itertools.count()


class Unreadable(Iterator[int]):
    def __next__(self) -> int:
        raise Unavailable("the log is away")


@pytest.mark.parametrize(
    ("events", "waiting", "seconds"),
    [
        pytest.param(1_000, growing(), 4.0, id="under load an interval"),
        pytest.param(999, growing(), 2.0, id="small ones half of it"),
        pytest.param(1_000, itertools.repeat(7), 2.0, id="when nothing more arrives half of it"),
        pytest.param(1_000, itertools.chain(range(90), itertools.repeat(90)), 2.7, id="or when that is seen later"),
        pytest.param(1_000, itertools.repeat(200_000), 0.0, id="not at all where a large one waits"),
        pytest.param(999, itertools.repeat(200_000), 0.0, id="nor after a small one"),
        pytest.param(1_000, Unreadable(), 0.0, id="nor where the log cannot be read, which the next step tells"),
        pytest.param(0, itertools.repeat(200_000), 0.01, id="without a step hardly at all"),
    ],
)
def test_so_far_apart_steps_begin(
    monkeypatch: pytest.MonkeyPatch, events: int, waiting: Iterator[int], seconds: float
) -> None:
    hours = Hours(seconds + 1)
    began: list[float] = []

    class Timed(ScriptedApplier):
        def run_once(self) -> int:
            began.append(hours.monotonic())
            return super().run_once()

    applier = Timed(events)
    applier.arriving = waiting
    applying = Applying(applier, prepare=lambda: None, interval_seconds=4.0, on_fatal=lambda error: None)
    monkeypatch.setattr(applying_module, "time", hours)
    monkeypatch.setattr(applying, "_stopping", hours)
    applying.start()
    wait_until(hours.is_set)
    applying.stop(0)
    assert seconds <= began[1] - began[0] < seconds + 0.07


def test_it_prepares_once_before_the_first_step() -> None:
    applier = ScriptedApplier(1, 1)
    steps_when_prepared: list[int] = []
    applying = Applying(
        applier,
        prepare=lambda: steps_when_prepared.append(applier.steps),
        interval_seconds=0,
        on_fatal=lambda error: None,
    )
    applying.start()
    assert applier.finished.wait(WAIT_SECONDS)
    applying.stop(0)
    assert steps_when_prepared == [0]


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("error", [Unavailable("the store is away"), StorageFull("the disk is full")])
def test_what_passes_with_time_is_tried_again_and_shown_meanwhile(
    start: Callable[..., Applying], error: StreamgaugeError
) -> None:
    applier = ScriptedApplier(1, error, error, 1)
    applier.gate = threading.Semaphore(2)
    applying = start(applier)
    wait_until(lambda: applying.failure is error)
    applier.gate.release(1_000)
    assert applier.finished.wait(WAIT_SECONDS)
    assert applying.failure is None
    assert applier.steps >= 5


def test_it_does_not_hammer_what_is_away(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier(*[Unavailable("the store is away")] * 1_000)
    applying = start(applier)
    wait_until(lambda: applying.failure is not None)
    applying.stop(WAIT_SECONDS)  # and does not wait for it at the end
    assert applier.steps <= 2


def test_corrupt_data_stops_applying_and_stays_shown(
    start: Callable[..., Applying], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying_module, "_DAMAGED_SECONDS", 0.001)
    place = "event log, offset 41: the record does not match its checksum"
    applier = ScriptedApplier(1, *[Corrupt(place)] * 1_000_000)
    applying = start(applier)
    wait_until(lambda: applier.steps > 10)
    assert isinstance(applying.failure, Corrupt) and applying.failure.message == place
    assert [each.getMessage() for each in caplog.records] == [f"applying stopped: {place}"]
    applying.stop(WAIT_SECONDS)  # and does not wait for it at the end
    assert applier.script


def test_what_was_read_as_damaged_is_applied_when_it_reads_right(
    start: Callable[..., Applying], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying_module, "_DAMAGED_SECONDS", 0.001)
    applier = ScriptedApplier(Corrupt("offset 7"), Corrupt("offset 8"), 1)
    applying = start(applier)
    assert applier.finished.wait(WAIT_SECONDS)
    assert applying.failure is None
    stopped = ["applying stopped: offset 7", "applying stopped: offset 8"]
    assert [each.getMessage() for each in caplog.records] == [
        *stopped,
        "applying goes on: what was read as damaged is not",
    ]


def test_damaged_data_is_not_read_over_and_over(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier(*[Corrupt("offset 7")] * 1_000)
    applying = start(applier)
    wait_until(lambda: applying.failure is not None)
    applying.stop(WAIT_SECONDS)
    assert applier.steps <= 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "error", [DurabilityLost("fsync failed"), RuntimeError("a mistake"), MemoryError(), StreamgaugeError("unknown")]
)
def test_anything_else_ends_the_process(start: Callable[..., Applying], error: BaseException) -> None:
    told: list[BaseException] = []
    applier = ScriptedApplier(1, error, 1)
    applying = start(applier, told.append)
    applying._thread.join(WAIT_SECONDS)
    assert (told, applier.steps) == ([error], 2)


def test_stopping_applies_what_is_there_and_then_ends(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier(5, 5, 5, 5)
    applier.gate = threading.Semaphore(0)
    applying = start(applier)
    assert applier.at_gate.wait(WAIT_SECONDS)
    stopper = threading.Thread(target=applying.stop, args=(WAIT_SECONDS,))
    stopper.start()
    applier.gate.release(1_000)
    stopper.join(WAIT_SECONDS)
    assert not stopper.is_alive()
    assert applier.script == []


def test_stopping_without_time_to_drain_ends_after_the_step_under_way(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier(*[5] * 1_000)
    applier.gate = threading.Semaphore(0)
    applying = start(applier)
    assert applier.at_gate.wait(WAIT_SECONDS)
    stopper = threading.Thread(target=applying.stop, args=(0,))
    stopper.start()
    wait_until(applying._stopping.is_set)
    applier.gate.release(1_000)
    stopper.join(WAIT_SECONDS)
    assert (stopper.is_alive(), applier.steps) == (False, 1)


def test_an_idle_thread_stops_at_once(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier()
    applying = start(applier)
    assert applier.finished.wait(WAIT_SECONDS)
    applying.stop(WAIT_SECONDS)
    assert not applying._thread.is_alive()


def test_a_thread_that_rests_between_two_steps_stops_at_once() -> None:
    applier = ScriptedApplier(1_000, 0)
    looked = threading.Event()

    def arriving() -> Iterator[int]:
        for waiting in itertools.cycle((1, 2)):
            looked.set()
            yield waiting

    applier.arriving = arriving()
    applying = Applying(applier, prepare=lambda: None, interval_seconds=10_000, on_fatal=lambda error: None)
    applying.start()
    assert looked.wait(WAIT_SECONDS)
    stopping = threading.Thread(target=applying.stop, args=(WAIT_SECONDS,), daemon=True)
    stopping.start()
    stopping.join(WAIT_SECONDS)
    assert not stopping.is_alive()


def test_stopping_what_was_never_started_is_no_error() -> None:
    Applying(ScriptedApplier(), prepare=lambda: None, interval_seconds=0, on_fatal=lambda error: None).stop(0)


def test_work_is_done_portion_by_portion_with_a_step_before_each(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier(5, 7, 1)
    applying = start(applier)
    steps: list[int] = []

    def portion() -> bool:
        steps.append(applier.steps)
        return len(steps) < 3

    applying.between_steps(portion).result(WAIT_SECONDS)
    assert len(steps) == 3 and steps == sorted(set(steps))


def test_work_waits_until_a_step_that_failed_has_succeeded(start: Callable[..., Applying], quick_retries: None) -> None:
    applier = ScriptedApplier(*[Unavailable("away")] * 3, 1)
    applier.gate = threading.Semaphore(0)
    applying = start(applier)
    steps: list[int] = []

    def portion() -> bool:
        steps.append(applier.steps)
        return False

    ended = applying.between_steps(portion)
    applier.gate.release(1_000)
    ended.result(WAIT_SECONDS)
    assert steps[0] >= 4


def test_work_that_fails_is_told_and_applying_goes_on(start: Callable[..., Applying]) -> None:
    applying = start(ScriptedApplier(1))

    def full() -> bool:
        raise StorageFull("full")

    with pytest.raises(StorageFull):
        applying.between_steps(full).result(WAIT_SECONDS)
    applying.between_steps(lambda: False).result(WAIT_SECONDS)
    assert applying.failure is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_work_that_finds_a_failed_disk_ends_the_process(start: Callable[..., Applying]) -> None:
    fatal: list[BaseException] = []
    applying = start(ScriptedApplier(1), fatal.append)

    def failed() -> bool:
        raise DurabilityLost("disk")

    with pytest.raises(DurabilityLost):
        applying.between_steps(failed).result(WAIT_SECONDS)
    wait_until(lambda: len(fatal) == 1)
    with pytest.raises(Unavailable):
        applying.between_steps(lambda: False).result(WAIT_SECONDS)


def test_work_is_left_where_it_is_when_the_end_is_near(start: Callable[..., Applying]) -> None:
    applying = start(ScriptedApplier(1))
    begun = threading.Event()

    def endless() -> bool:
        begun.set()
        return True

    endings = [applying.between_steps(endless), applying.between_steps(lambda: False)]
    assert begun.wait(WAIT_SECONDS)
    applying.end_work()
    for each in endings:
        with pytest.raises(Unavailable):
            each.result(WAIT_SECONDS)


def test_work_that_waits_is_told_when_applying_stops_at_damage(start: Callable[..., Applying]) -> None:
    applier = ScriptedApplier(*[Corrupt("offset 7")] * 1_000)
    applier.gate = threading.Semaphore(0)
    applying = start(applier)
    ended = applying.between_steps(lambda: False)
    applier.gate.release(1_000)
    with pytest.raises(Unavailable, match="offset 7"):
        ended.result(WAIT_SECONDS)
