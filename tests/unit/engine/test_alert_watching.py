import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from streamgauge.domain.errors import Corrupt, Unavailable
from streamgauge.engine import worker
from streamgauge.engine.alert_watch import AlertWatch
from streamgauge.engine.alert_watching import AlertWatching


class Watch:
    """Does at each look what stands next; the last thing again and again."""

    def __init__(self, *steps: bool | Exception) -> None:
        self.steps = list(steps)
        self.looks = 0
        self.ended = threading.Event()
        self.is_watching = True

    def run_once(self) -> bool:
        self.looks += 1
        step = self.steps[0]
        if len(self.steps) == 1:
            self.ended.set()
        else:
            del self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step


@contextmanager
def running(watch: Watch, on_fatal: Callable[[BaseException], None]) -> Iterator[AlertWatching]:
    watching = AlertWatching(cast(AlertWatch, watch), on_fatal=on_fatal)
    watching.start()
    try:
        assert watch.ended.wait(30)
        yield watching
    finally:
        watching.stop()


def not_called(error: BaseException) -> None:
    raise AssertionError from error


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_RETRY_SECONDS", 0.01)


def test_it_looks_again_and_again_until_it_is_stopped() -> None:
    watch = Watch(True, False, True, False)
    with running(watch, not_called) as watching:
        pass
    looks = watch.looks
    assert looks >= 4
    watching.stop()  # a second time does nothing
    assert watch.looks == looks


def test_what_passes_is_tried_again_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with running(Watch(Unavailable("away"), Unavailable("away"), True, False), not_called):
        pass
    assert [record.message for record in caplog.records] == ["worker waits name=alerts: away"]


def test_damage_ends_it_and_the_process_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with running(Watch(False, Corrupt("a bad part")), not_called) as watching:
        watching._thread.join(30)
        assert not watching._thread.is_alive()
    assert [record.message for record in caplog.records] == ["worker stopped name=alerts: a bad part"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_anything_else_is_fatal() -> None:
    fatal: list[BaseException] = []
    with running(Watch(False, ZeroDivisionError()), fatal.append) as watching:
        watching._thread.join(30)
    assert [type(error) for error in fatal] == [ZeroDivisionError]


def test_while_no_alert_is_active_it_looks_less_often() -> None:
    watch = Watch(False)
    watching = AlertWatching(cast(AlertWatch, watch), on_fatal=not_called)
    rest_seconds = watching.step()
    watch.is_watching = False
    assert watching.step() > rest_seconds


def test_what_never_ran_can_be_stopped() -> None:
    AlertWatching(cast(AlertWatch, Watch(False)), on_fatal=not_called).stop()
