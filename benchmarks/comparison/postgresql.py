"""A PostgreSQL server of its own, in a folder, on a free port, for as long as a run takes."""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.comparison import programs
from benchmarks.failure import BenchmarkFailed
from benchmarks.service_process import ServiceProcess

USER = "bench"
# As the package has them, but for who may connect from where.
PLAIN: Mapping[str, str] = {}
# Never touched: fsync, synchronous_commit, full_page_writes. Durability is what is compared.
TUNED: Mapping[str, str] = {
    "shared_buffers": "4GB",
    "wal_buffers": "64MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "lz4",
    "max_wal_size": "32GB",
    "min_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "work_mem": "256MB",
    "jit": "off",
    "autovacuum_vacuum_insert_threshold": "-1",
    "bgwriter_lru_maxpages": "0",
}


@contextmanager
def running(folder: Path, settings: Mapping[str, str]) -> Iterator[tuple[ServiceProcess, str]]:
    """The server's process, and the address of an empty database. Raises BenchmarkFailed when it does not start."""
    postgres = programs.find("postgres")
    if postgres is None:
        raise BenchmarkFailed("PostgreSQL is not installed")
    tools, data = postgres.parent, folder / "postgresql"
    data.mkdir()
    user = programs.unprivileged(data, "postgres")
    _call([str(tools / "initdb"), "--pgdata", str(data), "--username", USER, "--auth", "trust", "--locale", "C",
           "--encoding", "UTF8"], user)  # fmt: skip
    fixed = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "100"}
    options = [word for name, value in {**fixed, **settings}.items() for word in ("-c", f"{name}={value}")]

    def serves(port: int) -> bool:
        command = [str(tools / "pg_isready"), "--quiet", "--host", "127.0.0.1", "--port", str(port)]
        return subprocess.run(command, check=False).returncode == 0

    server = ServiceProcess(
        "PostgreSQL",
        lambda port: [str(postgres), "-D", str(data), "-p", str(port), *options],
        is_ready=serves,
        user=user,
        stop_signal=signal.SIGINT,  # a fast shutdown: it does not wait for connections to end
    )
    try:
        with server:
            yield server, f"postgresql://{USER}@127.0.0.1:{server.port}/postgres"
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _call(command: list[str], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, extra_groups=[] if user else None, cwd="/", capture_output=True, check=False
    )
    if done.returncode != 0:
        raise BenchmarkFailed(f"{Path(command[0]).name}:\n{(done.stderr + done.stdout).decode(errors='replace')}")
