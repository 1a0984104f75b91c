"""The delivering thread: it tries again what passes, takes its time beside applying, and ends in order."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from streamgauge.domain.errors import DurabilityLost, StorageFull
from streamgauge.engine import delivering as delivering_module
from streamgauge.engine.delivering import Delivering
from streamgauge.engine.delivery import POSTS_MAX, Deliverer, DeliveryCounts

WAIT_SECONDS = 10.0


class ScriptedDeliverer(Deliverer):
    """`run_once` raises what the script says, one entry a turn; then nothing is due for an hour."""

    def __init__(self, *script: BaseException) -> None:
        self.script = list(script)
        self.counts = DeliveryCounts()
        self.asked: list[int] = []
        self.woken = threading.Event()
        self.ended: list[str] = []

    def wake(self) -> None:
        self.woken.set()

    async def run_once(self, claims_max: int = POSTS_MAX) -> float:
        self.asked.append(claims_max)
        if self.script:
            raise self.script.pop(0)
        return 0.001

    async def wait(self, seconds: float) -> None:
        pass

    async def settle(self, seconds: float | None = None) -> None:
        self.ended.append(f"settled {seconds}")

    async def aclose(self) -> None:
        self.ended.append("closed")


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering_module, "_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(delivering_module, "_SECONDS_WHILE_APPLYING", 0.001)


@pytest.fixture
def start() -> Iterator[Callable[..., Delivering]]:
    running: list[Delivering] = []

    def started(
        deliverer: Deliverer, *, is_applying: bool = False, fatal: list[BaseException] | None = None
    ) -> Delivering:
        failed = [] if fatal is None else fatal
        delivering = Delivering(deliverer, is_applying=lambda: is_applying, on_fatal=failed.append)
        delivering.start()
        running.append(delivering)
        return delivering

    yield started
    for each in running:
        each.stop(0)


def test_what_passes_with_time_is_tried_again_and_told_once(
    start: Callable[..., Delivering], caplog: pytest.LogCaptureFixture
) -> None:
    deliverer = ScriptedDeliverer(StorageFull("no room"), StorageFull("no room"))
    start(deliverer)
    wait_until(lambda: len(deliverer.asked) > 3)
    assert [each.message for each in caplog.records].count("delivering waits: no room") == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_anything_else_ends_the_process(start: Callable[..., Delivering]) -> None:
    fatal: list[BaseException] = []
    lost = DurabilityLost("the disk failed")
    start(ScriptedDeliverer(lost), fatal=fatal)
    wait_until(lambda: bool(fatal))
    assert fatal == [lost]


@pytest.mark.parametrize("is_applying", [True, False])
def test_it_takes_little_at_once_while_events_wait_to_be_applied(
    start: Callable[..., Delivering], is_applying: bool
) -> None:
    deliverer = ScriptedDeliverer()
    start(deliverer, is_applying=is_applying)
    wait_until(lambda: len(deliverer.asked) > 2)
    assert set(deliverer.asked) == ({16} if is_applying else {POSTS_MAX})


def test_it_is_woken_from_any_thread_and_not_before_it_runs_or_after_it_ended(start: Callable[..., Delivering]) -> None:
    deliverer = ScriptedDeliverer()
    Delivering(deliverer, is_applying=lambda: False, on_fatal=lambda error: None).wake()
    delivering = start(deliverer)
    wait_until(lambda: bool(deliverer.asked))
    delivering.wake()
    assert deliverer.woken.wait(WAIT_SECONDS)
    delivering.stop(0)
    delivering.wake()


def test_at_the_end_posts_under_way_are_waited_for_and_everything_is_closed(start: Callable[..., Delivering]) -> None:
    deliverer = ScriptedDeliverer()
    delivering = start(deliverer)
    wait_until(lambda: bool(deliverer.asked))
    delivering.stop(1.5)
    assert deliverer.ended == ["settled 1.5", "closed"]


def test_what_never_ran_is_stopped_all_the_same() -> None:
    Delivering(ScriptedDeliverer(), is_applying=lambda: False, on_fatal=lambda error: None).stop(1)
