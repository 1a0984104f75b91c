"""Overload: more than the server takes is refused at once and by name, and takes nothing from what was accepted.

Goal:   promise 6 of DESIGN.md. What is answered 200 is counted, what is refused is not stored, memory stays in bounds,
        and when the load is gone the server answers as before, within 10 seconds.
Method: a real server with a small bound on the events that may wait, and callers on many connections that send the
        next request as soon as they are answered. `make soak` does the same for a minute (tests/soak/test_overload.py).
"""

import asyncio
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.offered_load import EVENTS_PER_REQUEST, Answer, Caller, Offered, answer, ask, median, offer
from tests.support.server import Client, Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

SECONDS = 4
CALLERS = 64
RECOVERY_SECONDS_MAX = 10
# Far below what this takes when waiting requests or events are kept in memory without a bound.
GROWTH_BYTES_MAX = 800 * 2**20
IDLE, SLOW = 1_000, 100


def test_more_than_is_taken_is_refused_at_once_and_nothing_that_was_answered_is_lost(tmp_path: Path) -> None:
    overloaded(tmp_path, SECONDS)


def overloaded(folder: Path, seconds: float) -> Offered:
    """Offer so long more than is taken, and see that all of it is as promised."""
    with Server(folder / "data", backlog_events_max=20_000) as server, Client(server.url) as client:
        meter, customer = client.meter("overload", "count"), client.customer()
        token = client.session()
        callers = [Caller(server.url, token, customer, "overload") for _ in range(CALLERS)]
        usual = [each.seconds for each in asyncio.run(_one_after_the_other(callers[0], 20))]
        client.wait_until_applied()
        before = client.get("/streamgauge/status")["accepted_events"]

        offered = asyncio.run(offer(callers, server.process.pid, seconds))
        ended = time.monotonic()

        assert offered.strange == []
        assert offered.answered and sum(offered.refused.values()) > len(callers), offered
        # It does not wait for what it is refused for: the log, the store, room.
        assert median(offered.seconds_of_refusals) < 1
        assert max(offered.memory) - offered.memory[0] < GROWTH_BYTES_MAX
        _wait_for_usual_latency(callers[0], usual, ended + RECOVERY_SECONDS_MAX)
        offered.recovery_seconds = time.monotonic() - ended
        status = client.wait_until_applied()
        after_load = int(client.total(meter, customer))
        assert status["accepted_events"] == status["applied_events"] == after_load
        extra = after_load - before - offered.answered
        # What was sent while recovery was polled; of what was refused nothing is there.
        assert extra == callers[0].answered_later, (extra, callers[0].answered_later)
    return offered


async def _one_after_the_other(caller: Caller, requests: int) -> list[Answer]:
    reader, writer = await caller.connect()
    answers = [await ask(reader, writer, caller.request()) for _ in range(requests)]
    writer.close()
    return answers


def _wait_for_usual_latency(caller: Caller, usual: list[float], deadline: float) -> None:
    """A machine that is busy with other tests is slow by itself: half a second more is as usual."""
    while True:
        found = asyncio.run(_one_after_the_other(caller, 10))
        caller.answered_later += EVENTS_PER_REQUEST * sum(each.status == 200 for each in found)
        if all(each.status == 200 for each in found) and median([each.seconds for each in found]) < _slow(usual):
            return
        assert time.monotonic() < deadline, f"not as before: {found}"
        time.sleep(0.2)


def _slow(usual: list[float]) -> float:
    return 3 * median(usual) + 0.5


def test_idle_connections_and_slow_senders_do_not_stop_the_others(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, Client(server.url) as client:
        meter, customer = client.meter("overload", "count"), client.customer()
        caller = Caller(server.url, client.session(), customer, "overload")
        usual = [each.seconds for each in asyncio.run(_one_after_the_other(caller, 20))]
        # After the start: the server must raise its own limit, which the test's would have been otherwise.
        with _open_files(IDLE + SLOW + 200):
            found = asyncio.run(_beside_idle_and_slow(caller))
        assert [each.status for each in found] == [200] * len(found)
        assert median([each.seconds for each in found]) < _slow(usual)
        client.wait_until_applied()
        assert int(client.total(meter, customer)) == (20 + len(found) - SLOW) * EVENTS_PER_REQUEST + SLOW


async def _beside_idle_and_slow(caller: Caller) -> list[Answer]:
    """Answers of a quick caller beside them; and at last those of the slow ones, which are answered, too."""
    idle = [await caller.connect() for _ in range(IDLE)]
    slow = [await caller.connect() for _ in range(SLOW)]
    parts = [caller.request(events=1) for _ in slow]

    async def trickle(writer: asyncio.StreamWriter, request: bytes) -> bytes:
        """Some bytes at a time; the rest is given back."""
        while not quick_is_done.is_set() and len(request) > 20:
            writer.write(request[:3])
            request = request[3:]
            await asyncio.sleep(0.1)
        await quick_is_done.wait()
        return request

    quick_is_done = asyncio.Event()
    trickling = [asyncio.create_task(trickle(each[1], part)) for each, part in zip(slow, parts, strict=True)]
    quick = await _one_after_the_other(caller, 100)
    quick_is_done.set()
    rests = await asyncio.gather(*trickling)
    late = []
    for (reader, writer), rest in zip(slow, rests, strict=True):
        writer.write(rest)
        late.append(await answer(reader, time.monotonic()))
    # None of the idle was thrown out for the others' sake: each can still ask.
    reader, writer = idle[-1]
    quick.append(await ask(reader, writer, caller.request()))
    for _, writer in (*idle, *slow):
        writer.close()
    return [*quick, *late]


@contextmanager
def _open_files(wanted: int) -> Iterator[None]:
    """For this process alone."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < wanted:
        pytest.skip(f"this needs {wanted} open files, and {most} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before, wanted), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
