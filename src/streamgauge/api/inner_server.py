"""The engine's end of the hop: what an edge hands on is given to the control application."""

import asyncio
import logging
import socket
from typing import Final, cast

import msgspec
from starlette.types import ASGIApp, Message

from streamgauge.api.errors import render_unexpected, style_of
from streamgauge.api.hop import Frames, HandedAnswer, HandedRequest, Headers, framed

logger = logging.getLogger(__name__)

_decoder: Final = msgspec.msgpack.Decoder(HandedRequest)


class InnerServer:
    """Serves an ASGI app on a listening socket that only edges of this server can reach."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def start(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), sock=listening)

    async def stop(self, grace_seconds: float) -> None:
        """Take no more, finish what is under way for at most so long, and hang up."""
        self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for connection in tuple(self._connections):
            connection.hang_up()

    def opened(self, connection: "_Connection") -> None:
        self._connections.add(connection)

    def lost(self, connection: "_Connection") -> None:
        self._connections.discard(connection)

    def answer(self, request: HandedRequest, connection: "_Connection") -> None:
        task = asyncio.create_task(self._answer(request, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request: HandedRequest, connection: "_Connection") -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": request.method,
            "path": request.path,
            "raw_path": request.raw_path,
            "root_path": "",
            "query_string": request.query,
            "headers": request.headers,
            "client": None,
            "server": None,
        }
        parts: list[bytes] = []
        status, headers = 0, Headers()

        async def receive() -> Message:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], list(message["headers"])
            else:
                parts.append(message.get("body", b""))

        try:
            await self._app(scope, receive, send)
            answer = HandedAnswer(request.number, status, headers, b"".join(parts))
        except Exception:
            # What the application did not answer itself would leave its client waiting.
            logger.exception("failed method=%s path=%s", request.method, request.path)
            answer = HandedAnswer(request.number, *render_unexpected(style_of(request.path)))
        connection.send(answer)


class _Connection(asyncio.Protocol):
    def __init__(self, server: InnerServer) -> None:
        self._server = server
        self._frames = Frames()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.opened(self)

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            self._server.answer(_decoder.decode(message), self)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.lost(self)

    def send(self, answer: HandedAnswer) -> None:
        self._transport.write(framed(answer))

    def hang_up(self) -> None:
        self._transport.close()
