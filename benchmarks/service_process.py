"""Another HTTP service on this machine, which a run is compared with: started on a free port, and stopped."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from types import TracebackType

from benchmarks import process_tree
from benchmarks.failure import BenchmarkFailed
from benchmarks.process_tree import ProcessUse
from benchmarks.server import free_port

START_WAIT_SECONDS_MAX = 60
STOP_WAIT_SECONDS_MAX = 30
POLL_SECONDS = 0.02
OUTPUT_BYTES_SHOWN = 4_000
READY_PATH = "/readyz"


class ServiceProcess:
    """The command that `command_of` makes of a port, as a context. Its output is kept for the error message.

    `is_ready` says whether it serves on that port; by default when `GET /readyz` answers anything. `user` is who it
    runs as, when we are root and it refuses to be. `stop_signal` is what ends it in order.
    """

    def __init__(
        self,
        name: str,
        command_of: Callable[[int], Sequence[str]],
        *,
        is_ready: Callable[[int], bool] | None = None,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._name = name
        self.port = free_port()
        self._command = command_of(self.port)
        self._is_ready = is_ready or answers
        self._environment = {**os.environ, **(environment or {})}
        self._user = user
        self._stop_signal = stop_signal
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 -- lives as long as the process
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "ServiceProcess":
        """Start it, and return when it serves. Raises BenchmarkFailed with its last output when it does not."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            user=self._user,
            extra_groups=[] if self._user else None,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_WAIT_SECONDS_MAX
        while not self._is_ready(self.port):
            if self._process.poll() is not None or time.monotonic() >= deadline:
                self._stop()
                raise BenchmarkFailed(f"{self._name} does not serve:\n{self._tail()}")
            time.sleep(POLL_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"The last output of {self._name}:\n{self._tail()}")
        self._stop()

    def use(self) -> tuple[ProcessUse, ...]:
        """CPU and memory of each of its processes, now."""
        return process_tree.measure(self._process.pid)

    def _stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
            try:
                self._process.wait(STOP_WAIT_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
        # Workers that outlived their parent; the session was made for them alone.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _tail(self) -> str:
        self._output.seek(0)
        return self._output.read()[-OUTPUT_BYTES_SHOWN:].decode(errors="replace")


def answers(port: int) -> bool:
    """Whether an HTTP server answers on the port, with whatever status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", READY_PATH)
        connection.getresponse().read()
        return True
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
