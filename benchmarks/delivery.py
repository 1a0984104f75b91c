"""Queued notifications to many endpoints, some of them dead: does a dead one delay the others?

    python -m benchmarks.delivery [--deliveries 100000] [--endpoints 20] [--dead 2]

Two runs on a fresh folder each: one with dead endpoints among the live ones, one with the live ones alone and the same
number of deliveries each. The first should take no longer than the second. One half of the dead endpoints take the
connection and never answer, the other half refuse it.

Deliverer, poster, outbox and SQLite are those of the server, on a thread of this process; the receivers are a process
of their own on loopback, which answers 200 and counts what it got. What it does not say: anything about a network, or
about TLS.
"""

import asyncio
import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import uvloop

from benchmarks.failure import BenchmarkFailed
from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.destinations import RelationalDestinations
from streamgauge.adapters.relational.migrations import migrate
from streamgauge.adapters.relational.notifications import RelationalNotifications
from streamgauge.adapters.relational.outbox import RelationalOutbox
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.system.clock import SystemClock
from streamgauge.adapters.webhook.poster import WebhookPoster
from streamgauge.api.notification_payload import payload
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.delivery import Delivery
from streamgauge.domain.event_destination import EventDestination, MadeBy
from streamgauge.domain.notification import NO_METER_FOUND, Notification, Style
from streamgauge.domain.retry_schedule import RetrySchedule
from streamgauge.engine.delivering import Delivering
from streamgauge.engine.delivery import Deliverer

# On the disk of the repository: a temporary folder is memory on many machines, and there fsync costs nothing.
WORK_DIR = Path(__file__).parent / "results" / "tmp"
TENANT = Tenant("acct_1", False)
STALL_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`seconds`: from the start of delivering until every live endpoint had all of its own; `cpu_seconds` of this
    process meanwhile. `repeats`: what a live endpoint got more than once."""

    deliveries: int
    seconds: float
    cpu_seconds: float
    repeats: int


def measure(folder: Path, live: int, dead: int, each: int) -> Run:
    """One run. Raises BenchmarkFailed when a live endpoint gets nothing for two minutes."""
    control = RelationalControlStore(sqlite_url(folder / "control.db"))
    migrate(control.engine)
    control.add_account(Account(id=TENANT.account_id, name="benchmark", created_ms=1))
    clock = SystemClock()
    with _receivers(live) as receivers, _dead_urls(dead) as dead_urls:
        _queue(control, [*receivers.urls, *dead_urls], each, clock.now_ms())
        failed: list[BaseException] = []
        delivering = Delivering(
            _deliverer(control, clock),
            is_applying=lambda: False,
            on_fatal=failed.append,
            loop_factory=uvloop.new_event_loop,
        )
        began, cpu_began = time.monotonic(), _cpu_seconds()
        delivering.start()
        received, ended = 0, began
        try:
            while received < live * each:
                now_received = receivers.distinct()
                if now_received > received:
                    received, ended = now_received, time.monotonic()
                elif failed or time.monotonic() - ended > STALL_SECONDS:
                    raise BenchmarkFailed(f"{received:,} of {live * each:,} were delivered, and then no more")
                time.sleep(0.05)
            cpu_seconds = _cpu_seconds() - cpu_began
        finally:
            delivering.stop(0)
            control.close()
        return Run(
            deliveries=live * each,
            seconds=ended - began,
            cpu_seconds=cpu_seconds,
            repeats=receivers.all() - received,
        )


def _deliverer(control: RelationalControlStore, clock: SystemClock) -> Deliverer:
    return Deliverer(
        control,
        RelationalOutbox(control),
        RelationalDestinations(control),
        WebhookPoster(allow_private=True),
        clock,
        render=payload,
        secrets_of=lambda destination: ("whsec_of_the_benchmark",),
        disable=lambda destination: False,
        schedule=RetrySchedule(first_delay_ms=10_000),
        user_agent="Streamgauge/benchmark",
    )


def _queue(control: RelationalControlStore, urls: list[str], each: int, now_ms: int) -> None:
    """`each` notifications, and of each one delivery to every URL."""
    destinations, outbox, notifications = (
        RelationalDestinations(control),
        RelationalOutbox(control),
        RelationalNotifications(control),
    )
    with control.transaction():
        for number, url in enumerate(urls):
            destinations.add(
                EventDestination(
                    id=f"ed_{number}",
                    tenant=TENANT,
                    made_by=MadeBy.V2,
                    name=f"endpoint {number}",
                    description="",
                    url=url,
                    style=Style.THIN,
                    enabled_events=("*",),
                    metadata={},
                    api_version=None,
                    created_ms=now_ms,
                    updated_ms=now_ms,
                )
            )
        told = [
            Notification(id=f"evt_{n:08d}", tenant=TENANT, type=NO_METER_FOUND, created_ms=now_ms, data={"number": n})
            for n in range(each)
        ]
        notifications.add(told)
        outbox.add(
            [
                Delivery(
                    id=f"dlv_{number}_{each_told.id}",
                    tenant=TENANT,
                    notification_id=each_told.id,
                    destination_id=f"ed_{number}",
                    created_ms=now_ms,
                    begun_ms=now_ms,
                    next_at_ms=now_ms,
                )
                for number in range(len(urls))
                for each_told in told
            ]
        )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class _Receivers:
    """A process with a server for each live endpoint; what they got is read from its output."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self._lines = process.stdout
        self.urls: list[str] = json.loads(self._lines.readline())
        self._got = (0, 0)
        threading.Thread(target=self._read, daemon=True).start()

    def distinct(self) -> int:
        return self._got[0]

    def all(self) -> int:
        return self._got[1]

    def _read(self) -> None:
        for line in self._lines:
            distinct, everything = json.loads(line)
            self._got = (distinct, everything)


@contextmanager
def _receivers(count: int) -> Iterator[_Receivers]:
    command = [sys.executable, "-m", "benchmarks.delivery", "--receive", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        try:
            yield _Receivers(process)
        finally:
            process.terminate()


@contextmanager
def _dead_urls(count: int) -> Iterator[list[str]]:
    """Sockets that nobody accepts from, and ports that nobody listens on, by turns."""
    sockets = [socket.socket() for _ in range(count)]
    for number, each in enumerate(sockets):
        each.bind(("127.0.0.1", 0))
        if number % 2 == 0:
            each.listen(1_024)
    try:
        yield [f"http://127.0.0.1:{each.getsockname()[1]}/hook" for each in sockets]
    finally:
        for each in sockets:
            each.close()


async def _receive(count: int) -> None:
    seen: list[set[bytes]] = [set() for _ in range(count)]
    everything = 0

    def server_of(number: int) -> type[asyncio.Protocol]:
        class Receiver(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = transport
                self.buffer = b""

            def data_received(self, data: bytes) -> None:
                nonlocal everything
                self.buffer += data
                while (head_end := self.buffer.find(b"\r\n\r\n")) >= 0:
                    length_at = self.buffer.lower().index(b"content-length:", 0, head_end) + 15
                    end = head_end + 4 + int(self.buffer[length_at : self.buffer.index(b"\r\n", length_at)])
                    if len(self.buffer) < end:
                        return
                    seen[number].add(self.buffer[head_end + 4 : end])
                    everything += 1
                    self.buffer = self.buffer[end:]
                    assert isinstance(self.transport, asyncio.Transport)
                    self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        return Receiver

    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(server_of(number), "127.0.0.1", 0) for number in range(count)]
    urls = [f"http://127.0.0.1:{each.sockets[0].getsockname()[1]}/hook" for each in servers]
    print(json.dumps(urls), flush=True)
    while True:
        await asyncio.sleep(0.1)
        print(json.dumps([sum(map(len, seen)), everything]), flush=True)


@click.command()
@click.option("--deliveries", type=click.IntRange(1), default=100_000, show_default=True, help="To all endpoints.")
@click.option("--endpoints", type=click.IntRange(2), default=20, show_default=True)
@click.option("--dead", type=click.IntRange(0), default=2, show_default=True, help="How many of them are dead.")
@click.option("--receive", type=int, hidden=True)
def main(deliveries: int, endpoints: int, dead: int, receive: int | None) -> None:
    """Seconds until the live endpoints have all of their own, with dead ones among them and without."""
    if receive is not None:
        asyncio.run(_receive(receive))
        return
    live, each = endpoints - dead, deliveries // endpoints
    WORK_DIR.mkdir(parents=True, exist_ok=True)
    for name, dead_now in (("with dead endpoints", dead), ("without", 0)):
        folder = Path(tempfile.mkdtemp(dir=WORK_DIR))
        try:
            run = measure(folder, live, dead_now, each)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(
            f"{name}: {run.deliveries:,} deliveries to {live} live endpoints (and {dead_now} dead) in "
            f"{run.seconds:.1f} s, {run.deliveries / run.seconds:,.0f}/s, "
            f"{run.cpu_seconds / run.deliveries * 1e6:,.0f} µs of CPU each, {run.repeats} repeats"
        )


if __name__ == "__main__":
    main()
