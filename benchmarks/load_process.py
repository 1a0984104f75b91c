"""The process that `load.generate` starts: blocking sends and reads on plain sockets, told by epoll what is ready.

On a small machine the generator takes its CPU from the server it measures, so it does as little as it can per request:
no event loop, no parser, the bytes to send lie ready in shared memory, and an answer that ends in `{}` is recognised by
its first and its last bytes. Nor may this module import NumPy: the threads that its linear algebra starts spin for a
while, and were seen to double the CPU time of short runs.
"""

import dataclasses
import gc
import heapq
import random
import re
import select
import socket
import time
from array import array
from collections import deque

import click
import msgspec

from benchmarks import request_file
from benchmarks.failure import BenchmarkFailed
from benchmarks.load import Arrivals, LoadResult, percentile

OK, REFUSED = b"HTTP/1.1 200", (b"429", b"503")
EMPTY_OBJECT = b"\r\n\r\n{}"
REFUSED_PAUSE_NS = 20_000_000
ANSWER_WAIT_NS_MAX = 120_000_000_000
ANSWER_BYTES_MAX = 65_536
SEND_BUFFER_BYTES = 262_144  # a whole request fits, so that a send is one call
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection:
    """One keep-alive connection with at most one request in flight."""

    __slots__ = ("index", "partial", "sent_ns", "socket", "unsent")

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.index = -1  # of the request in flight; -1 when there is none
        self.sent_ns = 0
        self.partial = b""
        self.unsent: memoryview | None = None


class Generator:
    """Sends all requests over `connections` sockets. `due_ns`: offsets from the start, of an open loop."""

    def __init__(self, requests: list[memoryview], connections: list[Connection], due_ns: "array[int] | None") -> None:
        self._requests = requests
        self._count = len(requests) if due_ns is None else len(due_ns)
        self._due_ns = due_ns
        self._by_descriptor = {each.socket.fileno(): each for each in connections}
        self._idle = deque(connections)
        self._epoll = select.epoll()
        for descriptor in self._by_descriptor:
            self._epoll.register(descriptor, select.EPOLLIN)
        self._buffer = bytearray(ANSWER_BYTES_MAX)
        self._again: list[tuple[int, int]] = []  # (when, descriptor) of requests that were refused
        self.next_index = 0
        self.refused = 0
        self.waiting_max = 0
        self.started_ns = 0
        self.latencies_ns = array("q")
        self.lateness_ns = array("q")
        self.acknowledged_ns = array("q")

    def run(self, seconds: float | None) -> None:
        """Send until nothing is left or the time is over, and take in every answer. Raises BenchmarkFailed."""
        self.started_ns = time.perf_counter_ns()
        deadline_ns = None if seconds is None else self.started_ns + int(seconds * 1e9)
        if self._due_ns is None:
            self._run_closed(deadline_ns)
        else:
            self._run_open(deadline_ns)

    def _run_closed(self, deadline_ns: int | None) -> None:
        while self._idle and self.next_index < self._count:
            self._send_next(self._idle.popleft())
        in_flight = len(self._by_descriptor) - len(self._idle)
        while in_flight:
            for connection in self._wait(self._until(None)):
                if self.next_index == self._count or (
                    deadline_ns is not None and self.acknowledged_ns[-1] >= deadline_ns
                ):
                    in_flight -= 1
                else:
                    self._send_next(connection)

    def _run_open(self, deadline_ns: int | None) -> None:
        assert self._due_ns is not None
        count, due_ns, started_ns = self._count, self._due_ns, self.started_ns
        idle, in_flight, due_count = self._idle, 0, 0
        while in_flight or self.next_index < count:
            now_ns = time.perf_counter_ns()
            if deadline_ns is not None and now_ns >= deadline_ns:
                count = min(count, max(due_count, self.next_index))  # what was due is sent; nothing more falls due
            while due_count < count and started_ns + due_ns[due_count] <= now_ns:
                if idle and due_count == self.next_index:
                    self._send_next(idle.pop())
                    in_flight += 1
                    self.lateness_ns.append(time.perf_counter_ns() - started_ns - due_ns[due_count])
                due_count += 1
            self.waiting_max = max(self.waiting_max, due_count - self.next_index)
            next_ns = started_ns + due_ns[due_count] if due_count < count else None
            for connection in self._wait(self._until(next_ns)):
                if self.next_index < due_count:
                    self._send_next(connection)
                else:
                    in_flight -= 1
                    idle.append(connection)

    def _until(self, next_ns: int | None) -> int:
        """The next moment at which there is something to do though no socket is ready."""
        wake_ns = self._again[0][0] if self._again else time.perf_counter_ns() + ANSWER_WAIT_NS_MAX
        return wake_ns if next_ns is None else min(wake_ns, next_ns)

    def _wait(self, until_ns: int) -> list[Connection]:
        """The connections whose answer is complete by now; none when there was something else to do."""
        seconds = max(until_ns - time.perf_counter_ns(), 0) / 1e9
        # epoll waits in whole milliseconds, select in microseconds; a request must not be late for that.
        ready = self._epoll.poll(seconds) if seconds > 1 else self._epoll.poll(0)
        if not ready and seconds <= 1:
            select.select([self._epoll], [], [], seconds)
            ready = self._epoll.poll(0)
        if not ready:
            if not self._again and seconds >= ANSWER_WAIT_NS_MAX / 1e9 - 1:
                raise BenchmarkFailed(f"no request was acknowledged for {ANSWER_WAIT_NS_MAX // 10**9} s")
            now_ns = time.perf_counter_ns()
            while self._again and self._again[0][0] <= now_ns:
                self._send(self._by_descriptor[heapq.heappop(self._again)[1]])
            return []
        done: list[Connection] = []
        for descriptor, events in ready:
            connection = self._by_descriptor[descriptor]
            if events & select.EPOLLOUT:
                self._send_rest(connection)
            if events & ~select.EPOLLOUT and self._receive(connection):
                done.append(connection)
        return done

    def _send_next(self, connection: Connection) -> None:
        connection.index = self.next_index
        self.next_index += 1
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        request = self._requests[connection.index]
        connection.sent_ns = time.perf_counter_ns()
        sent = connection.socket.send(request)
        if sent != len(request):
            connection.unsent = request[sent:]
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _send_rest(self, connection: Connection) -> None:
        assert connection.unsent is not None
        connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        if not connection.unsent:
            connection.unsent = None
            self._epoll.modify(connection.socket.fileno(), select.EPOLLIN)

    def _receive(self, connection: Connection) -> bool:
        """Whether a 200 is complete; a refused request is put off. Raises BenchmarkFailed on anything else."""
        try:
            size = connection.socket.recv_into(self._buffer)
        except ConnectionError as error:
            raise BenchmarkFailed(f"the server broke a connection: {error}") from error
        if not size:
            raise BenchmarkFailed(
                "the server closed a connection" + " with a request in flight" * (connection.index >= 0)
            )
        answer = connection.partial + self._buffer[:size]
        if not answer.endswith(EMPTY_OBJECT) and not _is_complete(answer):
            connection.partial = bytes(answer)
            return False
        connection.partial = b""
        if answer.startswith(OK):
            now_ns = time.perf_counter_ns()
            began_ns = connection.sent_ns
            if self._due_ns is not None:
                began_ns = self.started_ns + self._due_ns[connection.index]
            self.latencies_ns.append(now_ns - began_ns)
            self.acknowledged_ns.append(now_ns)
            connection.index = -1
            return True
        if answer[9:12] not in REFUSED:
            raise BenchmarkFailed(f"the server answered {answer.decode(errors='replace')}")
        self.refused += 1
        heapq.heappush(self._again, (time.perf_counter_ns() + REFUSED_PAUSE_NS, connection.socket.fileno()))
        return False


def _is_complete(answer: bytes) -> bool:
    head_end = answer.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    length = _CONTENT_LENGTH.search(answer, 0, head_end)
    if length is None:
        raise BenchmarkFailed(f"an answer without Content-Length: {answer!r}")
    return len(answer) >= head_end + 4 + int(length[1])


def due_times_ns(arrivals: Arrivals, requests: int) -> "array[int]":
    """When each request is due, in nanoseconds from the start, ascending."""
    rate = arrivals.requests_per_second / 1e9
    if arrivals.evenly:
        return array("q", (int(index / rate) for index in range(requests)))
    rng = random.Random(arrivals.seed)
    due, moment = array("q"), 0.0
    for _ in range(requests):
        moment += rng.expovariate(rate)
        due.append(int(moment))
    return due


@click.command()
@click.argument("descriptor", type=int)
@click.argument("host")
@click.argument("port", type=int)
@click.argument("connections", type=int)
@click.option("--seconds", type=float)
@click.option("--rate", type=float, help="Requests per second of an open loop; without it the loop is closed.")
@click.option("--evenly", is_flag=True)
@click.option("--seed", type=int, default=1)
@click.option("--times", is_flag=True)
def main(
    descriptor: int,
    host: str,
    port: int,
    connections: int,
    seconds: float | None,
    rate: float | None,
    evenly: bool,
    seed: int,
    times: bool,
) -> None:
    """The generator's process: prints a LoadResult as JSON."""
    requests = request_file.read(descriptor)
    due_ns = None
    if rate is not None:
        due_ns = due_times_ns(Arrivals(requests_per_second=rate, evenly=evenly, seed=seed), len(requests))
    # A collection would walk every view above, in the middle of a measurement; nothing here makes cycles.
    gc.disable()
    try:
        generator = Generator(requests, [Connection(host, port) for _ in range(connections)], due_ns)
        cpu_before = time.process_time()
        generator.run(seconds)
        cpu_seconds = time.process_time() - cpu_before
    except (BenchmarkFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    latencies = sorted(nanoseconds / 1e6 for nanoseconds in generator.latencies_ns)
    lateness = sorted(nanoseconds / 1e6 for nanoseconds in generator.lateness_ns)
    result = LoadResult(
        requests=generator.next_index,
        refused=generator.refused,
        started_ns=generator.started_ns,
        finished_ns=generator.acknowledged_ns[-1],
        cpu_seconds=cpu_seconds,
        latency_ms_p50=percentile(latencies, 50),
        latency_ms_p90=percentile(latencies, 90),
        latency_ms_p99=percentile(latencies, 99),
        latency_ms_p999=percentile(latencies, 99.9),
        latency_ms_max=latencies[-1],
        lateness_ms_p99=percentile(lateness, 99) if lateness else 0.0,
        waiting_max=generator.waiting_max,
        acknowledged_ns=tuple(generator.acknowledged_ns) if times else (),
    )
    click.echo(msgspec.json.encode(dataclasses.asdict(result)))


if __name__ == "__main__":
    main()
