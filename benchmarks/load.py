"""The closed-loop load generator, a process of its own so that its CPU time is counted apart.

Each connection has one request in flight and sends the next when the answer is there. Requests are taken in order, so
what was sent is always a prefix of the workload. Raw asyncio protocols on uvloop: on a small machine the generator
takes its CPU from the server it measures, so it does as little as it can per request. Nor may this module import NumPy:
the threads that its linear algebra starts spin for a while, and were seen to double the CPU time of short runs.
"""

import asyncio
import dataclasses
import gc
import re
import subprocess
import sys
import time
from array import array
from dataclasses import dataclass
from typing import cast

import click
import msgspec
import uvloop

from benchmarks import request_file
from benchmarks.failure import BenchmarkFailed

REFUSED = (b"429", b"503")
REFUSED_PAUSE_SECONDS = 0.02
ANSWER_WAIT_SECONDS_MAX = 120
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What the generator saw. `*_ns` are on the machine's monotonic clock, which all processes share.

    A latency runs from handing a request to the socket to its complete 200; of a request that was refused at first,
    the last attempt is taken. `refused` counts the refusals.
    """

    requests: int
    refused: int
    started_ns: int
    finished_ns: int
    cpu_seconds: float
    latency_ms_p50: float
    latency_ms_p90: float
    latency_ms_p99: float
    latency_ms_max: float


def generate(descriptor: int, host: str, port: int, connections: int, seconds: float | None) -> LoadResult:
    """Run the generator in a process of its own over the requests in `descriptor`.

    Raises BenchmarkFailed when it met any answer but 200, 429 and 503, or lost a connection.
    """
    command = [sys.executable, "-m", "benchmarks.load", str(descriptor), host, str(port), str(connections)]
    if seconds is not None:
        command += ["--seconds", str(seconds)]
    done = subprocess.run(command, pass_fds=(descriptor,), capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchmarkFailed(f"load generator: {done.stderr.decode(errors='replace').strip()}")
    return msgspec.json.decode(done.stdout, type=LoadResult)


class Plan:
    """Hands out the requests in order, and keeps what became of them."""

    def __init__(self, requests: list[memoryview], deadline: float | None) -> None:
        self.requests = requests
        self.deadline = deadline
        self.next_index = 0
        self.latencies_ns = array("q")
        self.refused = 0
        self.open_connections = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(self) -> memoryview | None:
        """The next request; None when there is none left or the time is over."""
        index = self.next_index
        if index == len(self.requests) or (self.deadline is not None and time.perf_counter() >= self.deadline):
            return None
        self.next_index = index + 1
        return self.requests[index]

    def connection_finished(self) -> None:
        self.open_connections -= 1
        if self.open_connections == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(BenchmarkFailed(message))


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._transport: asyncio.Transport
        self._request: memoryview | None = None
        self._sent_ns = 0
        self._partial = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport, so isinstance would say no.
        self._transport = cast(asyncio.Transport, transport)

    def send_next(self) -> None:
        self._request = self._plan.take()
        if self._request is None:
            self._plan.connection_finished()
        else:
            self._send()

    def data_received(self, data: bytes) -> None:
        answer = self._partial + data if self._partial else data
        head_end = answer.find(b"\r\n\r\n")
        length = _CONTENT_LENGTH.search(answer, 0, head_end) if head_end >= 0 else None
        if head_end >= 0 and length is None:
            self._plan.fail(f"an answer without Content-Length: {answer!r}")
            return
        if length is None or len(answer) < head_end + 4 + int(length[1]):
            self._partial = answer
            return
        self._partial = b""
        status = answer[9:12]
        if status == b"200":
            self._plan.latencies_ns.append(time.perf_counter_ns() - self._sent_ns)
            self.send_next()
        elif status in REFUSED:
            self._plan.refused += 1
            asyncio.get_running_loop().call_later(REFUSED_PAUSE_SECONDS, self._send)
        else:
            self._plan.fail(f"the server answered {answer.decode(errors='replace')}")

    def connection_lost(self, error: Exception | None) -> None:
        if self._request is not None:
            self._plan.fail(f"the server closed a connection that had a request in flight: {error or 'end of file'}")

    def _send(self) -> None:
        assert self._request is not None
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(self._request)


async def _run(requests: list[memoryview], host: str, port: int, connections: int, seconds: float | None) -> LoadResult:
    loop = asyncio.get_running_loop()
    plan = Plan(requests, None)
    opened = [(await loop.create_connection(lambda: Connection(plan), host, port))[1] for _ in range(connections)]
    plan.open_connections = connections
    cpu_before = time.process_time()
    started_ns = time.perf_counter_ns()
    if seconds is not None:
        plan.deadline = time.perf_counter() + seconds
    for connection in opened:
        connection.send_next()
    while not plan.done.done():
        answered_before = len(plan.latencies_ns)
        await asyncio.wait([plan.done], timeout=ANSWER_WAIT_SECONDS_MAX)
        if not plan.done.done() and len(plan.latencies_ns) == answered_before:
            raise BenchmarkFailed(f"no request was acknowledged for {ANSWER_WAIT_SECONDS_MAX} s")
    finished_ns = time.perf_counter_ns()
    cpu_seconds = time.process_time() - cpu_before
    plan.done.result()
    milliseconds = sorted(nanoseconds / 1e6 for nanoseconds in plan.latencies_ns)
    return LoadResult(
        requests=plan.next_index,
        refused=plan.refused,
        started_ns=started_ns,
        finished_ns=finished_ns,
        cpu_seconds=cpu_seconds,
        latency_ms_p50=_percentile(milliseconds, 50),
        latency_ms_p90=_percentile(milliseconds, 90),
        latency_ms_p99=_percentile(milliseconds, 99),
        latency_ms_max=milliseconds[-1],
    )


def _percentile(ascending: list[float], percent: int) -> float:
    """The least value that at least `percent` of 100 values do not exceed. Needs at least one value."""
    return ascending[-(-len(ascending) * percent // 100) - 1]


@click.command()
@click.argument("descriptor", type=int)
@click.argument("host")
@click.argument("port", type=int)
@click.argument("connections", type=int)
@click.option("--seconds", type=float)
def main(descriptor: int, host: str, port: int, connections: int, seconds: float | None) -> None:
    """The process that `generate` starts: prints a LoadResult as JSON."""
    requests = request_file.read(descriptor)
    # A collection would walk every view above, in the middle of a measurement; nothing here makes cycles.
    gc.disable()
    try:
        result = uvloop.run(_run(requests, host, port, connections, seconds))
    except (BenchmarkFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(msgspec.json.encode(dataclasses.asdict(result)))


if __name__ == "__main__":
    main()
