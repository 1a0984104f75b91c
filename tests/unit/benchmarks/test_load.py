"""The load generator against a small server of the test's own: what it sends and counts, and what a latency is."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from benchmarks import load, request_file
from benchmarks.failure import BenchmarkFailed
from benchmarks.load import Arrivals, percentile
from benchmarks.load_process import due_times_ns

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
LONGER = b'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a":"b"}'
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad"
_LENGTH = re.compile(rb"Content-Length: (\d+)")


class Answerer:
    """Answers the n-th request that it gets with what `answer` makes of n. Keeps the bodies."""

    def __init__(self, answer: Callable[[int], bytes]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.bodies: list[bytes] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]

    def accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while True:
                size = 0
                while (line := stream.readline()) not in (b"\r\n", b""):
                    found = _LENGTH.match(line)
                    size = int(found[1]) if found else size
                if not line:
                    return
                body = stream.read(size)
                with self._lock:
                    number = len(self.bodies)
                    self.bodies.append(body)
                connection.sendall(self._answer(number))


@contextmanager
def answering(answer: Callable[[int], bytes]) -> Iterator[Answerer]:
    server = Answerer(answer)
    accepting = threading.Thread(target=server.accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.listening.shutdown(socket.SHUT_RDWR)
        server.listening.close()
        accepting.join()


@contextmanager
def requests(bodies: list[bytes], port: int) -> Iterator[int]:
    descriptor = request_file.write(bodies, len(bodies), "127.0.0.1", port, "token")
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def test_every_request_is_sent_once_and_a_body_larger_than_any_buffer_arrives_whole() -> None:
    bodies = [b"%d" % number * (1 + 500_000 * (number % 7 == 0)) for number in range(40)]
    with answering(lambda number: LONGER if number % 2 else OK) as server, requests(bodies, server.port) as descriptor:
        result = load.generate(descriptor, server.port, 4, with_times=True)
    assert sorted(server.bodies) == sorted(bodies)
    assert (result.requests, result.refused, len(result.acknowledged_ns)) == (40, 0, 40)
    assert list(result.acknowledged_ns) == sorted(result.acknowledged_ns)


def test_a_refused_request_is_sent_again() -> None:
    with (
        answering(lambda number: BUSY if number in (1, 2) else OK) as server,
        requests([b"a", b"b", b"c"], server.port) as descriptor,
    ):
        result = load.generate(descriptor, server.port, 1)
    assert (result.requests, result.refused) == (3, 2)
    assert server.bodies == [b"a", b"b", b"b", b"b", b"c"]


def test_any_other_answer_ends_the_benchmark() -> None:
    with (
        answering(lambda number: BAD) as server,
        requests([b"a"], server.port) as descriptor,
        pytest.raises(BenchmarkFailed, match="400 Bad"),
    ):
        load.generate(descriptor, server.port, 1)


def test_an_open_loop_charges_a_stall_to_the_requests_that_were_due_meanwhile() -> None:
    def stall_once(number: int) -> bytes:
        if number == 0:
            time.sleep(0.3)
        return OK

    with answering(stall_once) as server, requests([b"a"] * 31, server.port) as descriptor:
        arrivals = Arrivals(requests_per_second=100, evenly=True)
        result = load.generate(descriptor, server.port, 1, arrivals=arrivals)
    # One connection: thirty requests fall due while the first waits. Timed from being sent, all but one would be fast.
    assert result.latency_ms_p50 > 100
    assert result.waiting_max > 20


def test_an_open_loop_does_not_send_before_its_time() -> None:
    with answering(lambda number: OK) as server, requests([b"a"] * 21, server.port) as descriptor:
        result = load.generate(
            descriptor, server.port, 4, arrivals=Arrivals(requests_per_second=100, evenly=True), with_times=True
        )
    assert result.seconds >= 0.2


def test_arrivals_at_random_have_the_rate_and_the_spread_of_a_poisson_process() -> None:
    due = due_times_ns(Arrivals(requests_per_second=1_000, seed=3), 20_000)
    gaps = [later - earlier for earlier, later in pairwise(due)]
    assert due[-1] == pytest.approx(20e9, rel=0.03)
    assert sum(gap > 2_000_000 for gap in gaps) / len(gaps) == pytest.approx(0.135, abs=0.02)  # exp(-2)
    assert list(due) == list(due_times_ns(Arrivals(requests_per_second=1_000, seed=3), 20_000))


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (50, 500), (99, 990), (99.9, 999), (100, 1_000)], ids=lambda value: str(value)
)
def test_a_percentile_is_a_value_that_was_seen(percent: float, value: float) -> None:
    assert percentile([float(each) for each in range(1, 1_001)], percent) == value
