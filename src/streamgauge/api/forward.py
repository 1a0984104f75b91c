"""The way from an edge process to the engine process: every request that is not the stream, over a Unix socket."""

import asyncio
import logging
from typing import Any, Final, cast

import msgspec
from starlette.types import Receive, Scope, Send

from streamgauge.api.errors import Rendered, render, style_of
from streamgauge.api.hop import Frames, HandedAnswer, HandedRequest, framed
from streamgauge.api.operation import BODY_BYTES_MAX
from streamgauge.api.request_id import HANDED_ON_HEADER, new_request_id
from streamgauge.domain.errors import BacklogFull, BodyTooLarge, InvalidRequest, StreamgaugeError, Unavailable

logger = logging.getLogger(__name__)

_ANSWER_SECONDS_MAX: Final = 60.0
_UNDER_WAY_MAX: Final = 2_000
# They belong to one connection (RFC 9110, section 7.6.1), or are set anew by the server that answers.
_NOT_HANDED_ON: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_REQUEST_HEADERS_DROPPED: Final = _NOT_HANDED_ON | {b"content-length", b"expect", HANDED_ON_HEADER}
_ANSWER_HEADERS_DROPPED: Final = _NOT_HANDED_ON | {b"date", b"server"}
_decoder: Final = msgspec.msgpack.Decoder(HandedAnswer)


class ForwardToEngine:
    """An ASGI app that hands requests on as they are and answers 503 while the engine is away."""

    def __init__(self, engine_socket: str) -> None:
        self._engine_socket = engine_socket
        self._connecting = asyncio.Lock()
        self._connection: _Connection | None = None
        self._number = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            status, headers, body = await self._answer(scope, receive, request_id)
        except StreamgaugeError as error:
            status, headers, body = render(error, style_of(scope["path"]))
            headers.append((b"request-id", request_id.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Rendered:
        headers = [(name, value) for name, value in scope["headers"] if name not in _REQUEST_HEADERS_DROPPED]
        headers.append((HANDED_ON_HEADER, request_id.encode()))
        body = await _read(receive)
        self._number += 1
        request = HandedRequest(
            number=self._number,
            method=scope["method"],
            path=scope["path"],
            raw_path=scope.get("raw_path") or scope["path"].encode(),
            query=scope["query_string"],
            headers=headers,
            body=body,
        )
        try:
            connection = await self._connected()
            answer = await asyncio.wait_for(connection.ask(request), _ANSWER_SECONDS_MAX)
        except (OSError, TimeoutError) as error:
            logger.warning("engine away request_id=%s: %r", request_id, error)
            raise Unavailable("The server is starting or stopping; try again in a moment.") from error
        return answer.status, [each for each in answer.headers if each[0] not in _ANSWER_HEADERS_DROPPED], answer.body

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> "_Connection":
        async with self._connecting:
            if self._connection is None or self._connection.is_lost:
                loop = asyncio.get_running_loop()
                _, self._connection = await loop.create_unix_connection(_Connection, self._engine_socket)
            return self._connection


class _Connection(asyncio.Protocol):
    """Answers find their requests by number. Lost, it fails whatever is under way with ConnectionError."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._under_way: dict[int, asyncio.Future[HandedAnswer]] = {}
        self._transport: asyncio.Transport
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport, so isinstance would say no.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            answer = _decoder.decode(message)
            waiting = self._under_way.pop(answer.number, None)
            if waiting is not None and not waiting.done():  # its client may have gone away
                waiting.set_result(answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        for waiting in self._under_way.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("the connection to the engine was lost"))
        self._under_way.clear()

    def ask(self, request: HandedRequest) -> "asyncio.Future[HandedAnswer]":
        """Raises BacklogFull when too many are under way, ConnectionError when the connection is lost."""
        if self.is_lost:
            raise ConnectionError("the connection to the engine was lost")
        if len(self._under_way) >= _UNDER_WAY_MAX:
            raise BacklogFull("Too many requests are under way; try again in a moment.")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._under_way[request.number] = future
        self._transport.write(framed(request))
        return future

    def close(self) -> None:
        self._transport.close()


async def _read(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":  # half a request must not be taken for a whole one
            raise InvalidRequest("The client went away before the body was complete.")
        chunks.append(message.get("body", b""))
        size_bytes += len(chunks[-1])
        if size_bytes > BODY_BYTES_MAX:
            raise BodyTooLarge(f"The request body is larger than {BODY_BYTES_MAX} bytes.")
        more = message.get("more_body", False)
    return b"".join(chunks)
