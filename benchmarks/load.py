"""The load generator as the other modules see it: a process of its own, so that its CPU time is counted apart.

Closed loop: every connection sends its next request when the answer to the last one is complete: the maximum rate.
Open loop: requests are due at moments fixed beforehand, whatever the server does. A latency runs from the moment at
which the request was due, not from the one at which it could be sent, so a server that stalls is charged for everything
that would have come meanwhile (no coordinated omission).
"""

import subprocess
import sys
from dataclasses import dataclass

import msgspec

from benchmarks.failure import BenchmarkFailed

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What the generator saw. `*_ns` are on the machine's monotonic clock, which all processes share.

    A latency ends with the complete 200. In a closed loop it begins when the request is handed to the socket (the last
    time, if it was refused at first); in an open loop when it was due. `refused` counts the refusals.
    `lateness_ms_p99`: of an open loop, from when a request was due until it was handed to the socket, for those that
    found a connection free: what the generator itself adds to a latency. `waiting_max`: most requests that were due
    and had no free connection. `acknowledged_ns`: when each 200 was there, ascending, if it was asked for.
    """

    requests: int
    refused: int
    started_ns: int
    finished_ns: int
    cpu_seconds: float
    latency_ms_p50: float
    latency_ms_p90: float
    latency_ms_p99: float
    latency_ms_p999: float
    latency_ms_max: float
    lateness_ms_p99: float = 0.0
    waiting_max: int = 0
    acknowledged_ns: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        return (self.finished_ns - self.started_ns) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When the requests of an open loop are due: at random as in a Poisson process, or evenly spaced."""

    requests_per_second: float
    evenly: bool = False
    seed: int = 1


def generate(
    descriptor: int,
    port: int,
    connections: int,
    seconds: float | None = None,
    arrivals: Arrivals | None = None,
    *,
    with_times: bool = False,
) -> LoadResult:
    """Send the requests in `descriptor`, in order, so that what was sent is always a prefix of them.

    `seconds` ends the sending early. Without `arrivals` the loop is closed. `with_times` fills `acknowledged_ns`.
    Raises BenchmarkFailed when it met any answer but 200, 429 and 503, or lost a connection.
    """
    command = [sys.executable, "-m", "benchmarks.load_process", str(descriptor), HOST, str(port), str(connections)]
    if seconds is not None:
        command += ["--seconds", str(seconds)]
    if arrivals is not None:
        command += ["--rate", str(arrivals.requests_per_second), "--seed", str(arrivals.seed)]
        command += ["--evenly"] if arrivals.evenly else []
    if with_times:
        command.append("--times")
    done = subprocess.run(command, pass_fds=(descriptor,), capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchmarkFailed(f"load generator: {done.stderr.decode(errors='replace').strip()}")
    return msgspec.json.decode(done.stdout, type=LoadResult)


def percentile(ascending: list[float], percent: float) -> float:
    """The least value that at least `percent` of 100 values do not exceed. Needs at least one value."""
    place = -(-len(ascending) * round(percent * 10) // 1000)
    return ascending[max(place, 1) - 1]
