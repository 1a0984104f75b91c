"""The server under test: the installed program, as its users start it, on a fresh folder."""

import contextlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from benchmarks import process_tree
from benchmarks.failure import BenchmarkFailed
from benchmarks.process_tree import ProcessUse

SECRET_KEY = "sk_test_benchmark0000000000000000"
START_WAIT_SECONDS_MAX = 120
STOP_WAIT_SECONDS_MAX = 120
READY_POLL_SECONDS = 0.005
OUTPUT_LINES_KEPT = 40
_URL = re.compile(r"http://127\.0\.0\.1:\d+")


class Server:
    """`streamgauge serve` on `data_dir`, as a context: started on entry, stopped on exit.

    Settings come from the environment (STREAMGAUGE_...), so a run can try others; the report names them.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._process: subprocess.Popen[str]
        self._output: deque[str] = deque(maxlen=OUTPUT_LINES_KEPT)
        self._announced = threading.Event()
        self._drain: threading.Thread
        self.port = free_port()
        self.started_at = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Server":
        """Start it and return at once: `wait_until_ready` waits."""
        command = [sys.executable, "-m", "streamgauge", "serve"]
        command += ["--data-dir", str(self._data_dir), "--host", "127.0.0.1", "--port", str(self.port)]
        self.started_at = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._drain = threading.Thread(target=self._read_output, daemon=True)
        self._drain.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            if kind is None:
                self.stop()
            else:
                self._process.send_signal(signal.SIGTERM)
                self._kill_after_grace()
        elif error is not None:
            error.add_note(
                f"The server had ended with status {self._process.returncode}; its last output:\n{self._tail()}"
            )

    def wait_until_ready(self) -> float:
        """Seconds from the start of the process to the first 200 of /readyz.

        Raises BenchmarkFailed with the server's last output when it ends or takes too long.
        """
        deadline = self.started_at + START_WAIT_SECONDS_MAX
        while not self._is_ready():
            if self._process.poll() is not None:
                raise BenchmarkFailed(f"the server ended with status {self._process.returncode}:\n{self._tail()}")
            if time.perf_counter() >= deadline:
                raise BenchmarkFailed(f"the server is not ready after {START_WAIT_SECONDS_MAX} s:\n{self._tail()}")
            time.sleep(READY_POLL_SECONDS)
        return time.perf_counter() - self.started_at

    def wait_until_announced(self) -> None:
        """Return once it has printed its URL, which it promises to do when it is ready."""
        if not self._announced.wait(START_WAIT_SECONDS_MAX):
            raise BenchmarkFailed(f"the server printed no URL within {START_WAIT_SECONDS_MAX} s:\n{self._tail()}")

    def stop(self) -> float:
        """SIGTERM, and the seconds until it has ended. Raises BenchmarkFailed when it does not end well."""
        began = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        if not self._kill_after_grace():
            raise BenchmarkFailed(f"the server did not stop within {STOP_WAIT_SECONDS_MAX} s:\n{self._tail()}")
        if self._process.returncode not in (0, -signal.SIGTERM):
            raise BenchmarkFailed(f"the server stopped with status {self._process.returncode}:\n{self._tail()}")
        return time.perf_counter() - began

    def use(self) -> tuple[ProcessUse, ...]:
        """CPU and memory of each of its processes, now."""
        return process_tree.measure(self._process.pid)

    def _kill_after_grace(self) -> bool:
        """Wait for the end; True when it came by itself."""
        try:
            self._process.wait(STOP_WAIT_SECONDS_MAX)
            return True
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            self._drain.join(timeout=5)

    def _is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _read_output(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._output.append(line)
                url = _URL.search(line)
                if url is not None and urlsplit(url[0]).port == self.port:
                    self._announced.set()

    def _tail(self) -> str:
        return "".join(self._output)


def _environment() -> dict[str, str]:
    """Ours, except for what the workload relies on: its key, and that events of unknown customers are rejected."""
    inherited = {name: value for name, value in os.environ.items() if name != "STREAMGAUGE_UNKNOWN_CUSTOMERS"}
    return {**inherited, "STREAMGAUGE_SECRET_KEY": SECRET_KEY}


def disk_bytes(data_dir: Path) -> dict[str, int]:
    """Bytes allocated on disk by each file and folder directly in `data_dir` that has any, largest first."""
    sizes = {entry.name: size for entry in data_dir.iterdir() if (size := _allocated(entry))}
    return dict(sorted(sizes.items(), key=lambda each: -each[1]))


def _allocated(path: Path) -> int:
    # Hard links share their blocks; a store may use them, so count each inode once.
    blocks: dict[int, int] = {}
    files = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    for each in (path, *files):
        with contextlib.suppress(FileNotFoundError):  # a server at work deletes files and folders at any moment
            found = each.lstat()
            if stat.S_ISREG(found.st_mode):
                blocks[found.st_ino] = found.st_blocks
    return 512 * sum(blocks.values())


def free_port() -> int:
    """A port that is free now: chosen here, not by the server, so that /readyz can be polled from the first moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
