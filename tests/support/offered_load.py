"""Callers that ask for more than a server takes: many connections, each of which sends as soon as it is answered."""

import asyncio
import itertools
import os
import resource
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

EVENTS_PER_REQUEST: Final = 100


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    seconds: float


@dataclass
class Offered:
    """What became of all requests, and the memory of the server's processes while they were sent (bytes)."""

    answered: int = 0
    refused: Counter[bytes] = field(default_factory=Counter)
    seconds_of_answers: list[float] = field(default_factory=list)
    seconds_of_refusals: list[float] = field(default_factory=list)
    strange: list[Answer] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    recovery_seconds: float = 0.0  # from the last request until answers came as before


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def percentile_99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1]


class Caller:
    """Requests of events that no other caller sends, on one connection at a time."""

    _numbers = itertools.count()

    def __init__(self, url: str, token: str, customer: str, event_name: str) -> None:
        self.address = urlsplit(url)
        self._prefix = f"{os.getpid()}-{next(self._numbers)}"
        self._token = token
        self._event = (
            f'{{"event_name":"{event_name}","identifier":"%b-%d-%d",'
            f'"payload":{{"stripe_customer_id":"{customer}","value":"1"}}}}'
        ).encode()
        self._sent = 0
        self.answered_later = 0  # events that were accepted while recovery was polled

    def body(self, events: int = EVENTS_PER_REQUEST) -> bytes:
        self._sent += 1
        prefix = self._prefix.encode()
        return b'{"events":[%b]}' % b",".join(self._event % (prefix, self._sent, at) for at in range(events))

    def request(self, events: int = EVENTS_PER_REQUEST) -> bytes:
        body = self.body(events)
        head = (
            "POST /v2/billing/meter_event_stream HTTP/1.1\r\nHost: test\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address.hostname, self.address.port)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> Answer:
    began = time.monotonic()
    writer.write(request)
    return await answer(reader, began)


async def answer(reader: asyncio.StreamReader, began: float) -> Answer:
    lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    body = await reader.readexactly(int(headers[b"content-length"]))
    return Answer(int(lines[0].split()[1]), headers, body, time.monotonic() - began)


async def offer(callers: list[Caller], process: int, seconds: float) -> Offered:
    """Each caller sends for so long, the next request as soon as the last one is answered or refused."""
    offered = Offered()
    end = time.monotonic() + seconds

    async def send(caller: Caller) -> None:
        reader, writer = await caller.connect()
        while time.monotonic() < end:
            _note(offered, await ask(reader, writer, caller.request()))
        writer.close()

    async def watch() -> None:
        while time.monotonic() < end:
            offered.memory.append(memory_of_group(process))
            await asyncio.sleep(0.1)

    await asyncio.gather(watch(), *(send(each) for each in callers))
    return offered


def _note(offered: Offered, found: Answer) -> None:
    if found.status == 200:
        offered.answered += EVENTS_PER_REQUEST
        offered.seconds_of_answers.append(found.seconds)
        return
    may_retry = (found.headers.get(b"retry-after"), found.headers.get(b"stripe-should-retry"))
    code = next((each for each in (b"backlog_full",) if b'"%b"' % each in found.body), None)
    if found.status != 503 or code is None or not may_retry[0] or may_retry[1] != b"true":
        offered.strange.append(found)
        return
    offered.refused[code] += 1
    offered.seconds_of_refusals.append(found.seconds)


def memory_of_group(group: int) -> int:
    """Resident bytes of all processes of the group that has this number."""
    return sum(_resident_bytes(each) for each in _processes() if _group_of(each) == group)


def _processes() -> Iterator[Path]:
    return (each for each in Path("/proc").iterdir() if each.name.isdigit())


def _group_of(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    except OSError:  # it has ended meanwhile
        return None


def _resident_bytes(process: Path) -> int:
    try:
        return int((process / "statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
