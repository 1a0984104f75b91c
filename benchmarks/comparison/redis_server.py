"""A Redis server of its own, in a folder, on a free port, for as long as a run takes."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.comparison import programs
from benchmarks.failure import BenchmarkFailed
from benchmarks.service_process import ServiceProcess

# By this name and not by where it leads to: it is one program of several names, which looks at how it was called.
PROGRAM = "redis-server"


@contextmanager
def running(folder: Path) -> Iterator[ServiceProcess]:
    """The server's process: every write is appended and synced before it is answered."""
    if programs.find(PROGRAM) is None:
        raise BenchmarkFailed("Redis is not installed")
    data = folder / "redis"
    data.mkdir()
    user = programs.unprivileged(data, "redis")
    options = ["--bind", "127.0.0.1", "--dir", str(data), "--save", "", "--appendonly", "yes"]
    options += ["--appendfsync", "always", "--daemonize", "no"]
    server = ServiceProcess("Redis", lambda port: [PROGRAM, "--port", str(port), *options], is_ready=_serves, user=user)
    try:
        with server:
            yield server
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _serves(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False
