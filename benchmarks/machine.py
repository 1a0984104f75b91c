"""Where a benchmark ran: what has to be known to read its figures, and nothing that names the machine."""

import os
import platform
import statistics
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.load import percentile

PACKAGES = ("streamgauge", "chdb-core", "clickhouse-connect", "msgspec", "numpy", "pyarrow", "uvicorn", "uvloop")
_STOLEN_TICKS = 8  # a place in the first line of /proc/stat, after the word `cpu`
FSYNC_SAMPLES = 100
FSYNC_BYTES = 4096
WRITES, WRITE_BYTES = 32, 4 * 2**20
CORE_SAMPLES, CORE_ADDITIONS = 600, 100_000
# Set by the benchmark itself; all other settings reach the server and change what is measured.
OWN_SETTINGS = ("STREAMGAUGE_SECRET_KEY", "STREAMGAUGE_UNKNOWN_CUSTOMERS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`fsync_ms_p50`: appending 4 KiB and fsync, on the disk that the server's folder lies on. Durability costs at
    least this much per group of requests; a figure far below 0.1 ms says that the disk has a cache, or is memory.
    `disk_mb_per_second`: writing a file of some size in large pieces and one fsync at its end.
    `core_ms_p50`, `core_ms_p99`: the same additions again and again, before the server starts. What a core takes so
    much longer for at times, no latency can be without.
    """

    cpu: str
    cpus: int
    memory_gib: float
    kernel: str
    python: str
    filesystem: str
    fsync_ms_p50: float
    disk_mb_per_second: float
    core_ms_p50: float
    core_ms_p99: float
    versions: dict[str, str]
    settings: dict[str, str]


def describe(data_dir: Path) -> Machine:
    """The machine as the server sees it whose folder will be in `data_dir`, which exists."""
    core_ms = _core_ms()
    return Machine(
        cpu=_cpu(),
        cpus=cores(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        filesystem=_filesystem(data_dir),
        fsync_ms_p50=_fsync_ms_p50(data_dir),
        disk_mb_per_second=_disk_mb_per_second(data_dir),
        core_ms_p50=round(percentile(core_ms, 50), 2),
        core_ms_p99=round(percentile(core_ms, 99), 2),
        versions={name: _version(name) for name in PACKAGES},
        settings={
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith("STREAMGAUGE_") and name not in OWN_SETTINGS
        },
    )


def cores() -> int:
    """How many cores this process, and what it starts, may use."""
    return len(os.sched_getaffinity(0))


def stolen_seconds() -> float:
    """Seconds of all cores, since the start of the machine, in which its host ran something else than this machine."""
    fields = Path("/proc/stat").read_text().split(maxsplit=9)
    return int(fields[_STOLEN_TICKS]) / os.sysconf("SC_CLK_TCK")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """The type of the mounted filesystem that holds `folder`: the entry with the longest matching mount point."""
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount_point, filesystem, *_ = line.split()
        if folder.resolve().is_relative_to(mount_point) and len(mount_point) >= len(best):
            best, kind = mount_point, filesystem
    return kind


def _fsync_ms_p50(folder: Path) -> float:
    path = folder / "fsync-probe"
    block = os.urandom(FSYNC_BYTES)
    samples: list[float] = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for _ in range(FSYNC_SAMPLES):
            began = time.perf_counter()
            os.write(descriptor, block)
            os.fsync(descriptor)
            samples.append((time.perf_counter() - began) * 1e3)
    finally:
        os.close(descriptor)
        path.unlink()
    return round(statistics.median(samples), 3)


def _disk_mb_per_second(folder: Path) -> float:
    path = folder / "disk-probe"
    block = os.urandom(WRITE_BYTES)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        began = time.perf_counter()
        for _ in range(WRITES):
            os.write(descriptor, block)
        os.fsync(descriptor)
        return round(WRITES * WRITE_BYTES / (time.perf_counter() - began) / 1e6, 1)
    finally:
        os.close(descriptor)
        path.unlink()


def _core_ms() -> list[float]:
    """Ascending."""
    samples: list[float] = []
    for _ in range(CORE_SAMPLES):
        began = time.perf_counter()
        sum(range(CORE_ADDITIONS))
        samples.append((time.perf_counter() - began) * 1e3)
    return sorted(samples)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
