"""The edge: one host and port for everything. The stream is answered here, all else by the app behind it."""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from streamgauge.api.errors import Rendered
from streamgauge.api.plain_request import Headers
from streamgauge.api.v2.meter_event_stream import PATH, MeterEventStream
from streamgauge.engine.ingest import GroupCommit

_LINE: Final = f"POST {PATH} HTTP/1.1".encode()


class Edge:
    """`behind` is the control application itself, or the way to the process that has it."""

    def __init__(
        self,
        stream: MeterEventStream,
        commit: GroupCommit,
        behind: ASGIApp,
        close_behind: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._stream = stream
        self._commit = commit
        self._behind = behind
        self._close_behind = close_behind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH:
            await self._stream(scope, receive, send)
        elif scope["type"] == "http":
            await self._behind(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    @property
    def line_at_once(self) -> bytes:
        """As `takes_at_once` looks for it, written out."""
        return _LINE

    def takes_at_once(self, scope: Scope) -> bool:
        """Whether a request is one that `at_once` may answer, as far as its head says."""
        return bool(scope["path"] == PATH and scope["method"] == "POST")

    def at_once(self, headers: Headers, body: bytes | bytearray, answer: Callable[[Rendered], None]) -> bool:
        return self._stream.at_once(headers, body, answer)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # Requests in flight have been answered by now; this only ends the thread.
        await self._commit.close()
        if self._close_behind is not None:
            await self._close_behind()
        await send({"type": "lifespan.shutdown.complete"})
