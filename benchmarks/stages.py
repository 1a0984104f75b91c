"""What each stage of the way in costs: CPU time per event, in one process, with the compiled part and without, in turn.

Stages follow one another as in the edge, each on what the one before left. The last two are whole: the protocol of a
connection is handed bytes, without a socket, by as many connections as are given.
"""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from benchmarks.workload import EVENTS_PER_REQUEST, Shape, Workload
from streamgauge import native
from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.event_log import MemoryProgress
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.api.connection import BoundedConnection
from streamgauge.api.edge import Edge
from streamgauge.api.v2.meter_event_stream import PATH, MeterEventStream
from streamgauge.api.v2.stream_body import request_of
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.event_block import EncodedBlock, decode, encoded
from streamgauge.engine.backlog import Backlog, BacklogBeside
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.keys import Keys
from streamgauge.engine.session_cache import SessionCache
from streamgauge.engine.sessions import Sessions

GROUP_REQUESTS = 50
WAYS = ("compiled", "python")
TENANT = Tenant("acct_bench", livemode=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """Nanoseconds of CPU per event of each stage, user and system, and bytes of a block per event."""

    way: str
    nanoseconds: dict[str, float]
    block_bytes: float


def run(events: int, seed: int, connections: int, folder: Path, way: str) -> StageRun:
    """Every stage once over all events."""
    workload = Workload(Shape(events=events, seed=seed), [f"cus_{number:014d}" for number in range(2_000)], _now_ms())
    bodies = list(workload.bodies())
    found: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        gc.collect()
        began = time.process_time_ns()
        result = work()
        found[stage] = (time.process_time_ns() - began) / (len(bodies) * EVENTS_PER_REQUEST)
        return result

    with _way(way):
        origin = Principal(TENANT, "key_1", "mes_1")
        decode(encoded([request_of(origin, bodies[0])]).data)  # what is imported on the way
        requests = timed("decode", lambda: [request_of(origin, body, "key") for body in bodies])
        groups = [requests[at : at + GROUP_REQUESTS] for at in range(0, len(requests), GROUP_REQUESTS)]
        blocks: list[EncodedBlock] = timed("block", lambda: [encoded(group) for group in groups])
        log = SqliteEventLog(folder / f"{way}-{time.monotonic_ns()}.db", SystemClock())
        timed("append", lambda: [log.append(block.data, block.tallies) for block in blocks])
        log.close()
        timed("read back", lambda: [decode(block.data) for block in blocks])
        timed("HTTP alone", lambda: _serve(_answered, bodies, "token", connections))
        edge, token, close = _edge(folder / f"{way}-edge-{time.monotonic_ns()}.db")
        timed("whole edge", lambda: _serve(edge, bodies, token, connections, close))
    return StageRun(
        way=way, nanoseconds=found, block_bytes=sum(len(block.data) for block in blocks) / workload.requests / 100
    )


@contextmanager
def _way(way: str) -> Iterator[None]:
    compiled = native.compiled
    if way == "python":
        native.compiled = None
    try:
        yield
    finally:
        native.compiled = compiled


def _now_ms() -> int:
    return int(time.time() * 1000)


async def _answered(scope: Scope, receive: Receive, send: Send) -> None:
    """The same server, reading the same bytes."""
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


def _edge(path: Path) -> tuple[Edge, str, Callable[[], None]]:
    """As `bootstrap/edge.py` makes one, with control plane and progress in memory."""
    clock, store = SystemClock(), MemoryControlStore()
    store.add_account(Account(id=TENANT.account_id, name="", created_ms=0))
    key, secret = Keys(store, clock, SystemEntropy()).create(TENANT)
    sessions = Sessions(store, clock, SystemEntropy(), lifetime_seconds=900)
    token = sessions.open(Principal(TENANT, key.id), secret)[1]
    log, seen = SqliteEventLog(path, clock), SqliteEventLog(path, clock)
    commit = GroupCommit(log, pending_bytes_max=2**28, on_fatal=lambda error: None, pause=lambda: 0.0)
    backlog = BacklogBeside(Backlog(seen, MemoryProgress(), events_max=2**40))
    stream = MeterEventStream(SessionCache(sessions, clock), backlog, commit)

    def close() -> None:
        log.close()
        seen.close()

    return Edge(stream, commit, _answered), token, close


class _Transport(asyncio.Transport):
    """A client that sends its next request when the last one is answered."""

    def __init__(self, bodies: Iterator[bytes], head: bytes, done: Callable[[], None]) -> None:
        super().__init__()
        self._bodies, self._head, self._done = bodies, head, done
        self._answer = b""
        self.protocol: BoundedConnection

    def write(self, data: Any) -> None:
        self._answer += data
        if self._answer.endswith(b"{}"):
            if not self._answer.startswith(b"HTTP/1.1 200"):
                raise AssertionError(self._answer)
            self._answer = b""
            asyncio.get_running_loop().call_soon(self.send)

    def send(self) -> None:
        body = next(self._bodies, None)
        if body is None:
            self._done()
        else:
            self.protocol.data_received(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


def _serve(
    app: ASGIApp, bodies: Sequence[bytes], token: str, connections: int, close: Callable[[], None] | None = None
) -> None:
    async def serve() -> None:
        config = uvicorn.Config(
            app, http=BoundedConnection, ws="none", lifespan="off", proxy_headers=False, log_config=None
        )
        config.load()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:8420\r\nAuthorization: Bearer {token}\r\n"
            "User-Agent: Stripe/v2 PythonBindings/16.1.0\r\nStripe-Version: 2026-10-28.endive\r\nAccept: */*\r\n"
            "Content-Type: application/json\r\nIdempotency-Key: 3f0c6bd0-1b8e-4f3c-9d3f-0a3c5d3a1f10\r\n"
            "Content-Length: "
        ).encode()
        state, waiting, done = ServerState(), [connections], asyncio.Event()

        def ended() -> None:
            waiting[0] -= 1
            if not waiting[0]:
                done.set()

        remaining = iter(bodies)
        opened = []
        for _ in range(connections):
            transport = _Transport(remaining, head, ended)
            transport.protocol = BoundedConnection(config, state, {})
            transport.protocol.connection_made(transport)
            opened.append(transport)
        for transport in opened:
            transport.send()
        await done.wait()
        for transport in opened:
            transport.protocol.connection_lost(None)
        if isinstance(app, Edge):
            await app._commit.close()

    uvloop.run(serve())
    if close is not None:
        close()
