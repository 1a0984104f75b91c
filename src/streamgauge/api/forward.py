"""The way from an edge process to the engine process: every request that is not the stream, over a Unix socket."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, cast

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from streamgauge.api.content_encoding import refuse_packed
from streamgauge.api.credentials import secret_of
from streamgauge.api.errors import Rendered, render, style_of
from streamgauge.api.hop import Frames, HandedAnswer, HandedRequest, framed
from streamgauge.api.operation import BODY_BYTES_MAX
from streamgauge.api.request_id import HANDED_ON_HEADER, new_request_id
from streamgauge.domain.errors import BacklogFull, BodyTooLarge, InvalidRequest, StreamgaugeError, Unavailable

logger = logging.getLogger(__name__)

_ANSWER_SECONDS_MAX: Final = 60.0
# More of a body is read for those alone who have a key. Nearly all requests are far smaller, and the engine looks.
UNKNOWN_BYTES_MAX: Final = 2**16
_UNDER_WAY_MAX: Final = 2_000
# They belong to one connection (RFC 9110, section 7.6.1), or are set anew by the server that answers.
_NOT_HANDED_ON: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_REQUEST_HEADERS_DROPPED: Final = _NOT_HANDED_ON | {b"content-length", b"expect", HANDED_ON_HEADER}
_ANSWER_HEADERS_DROPPED: Final = _NOT_HANDED_ON | {b"date", b"server"}
_decoder: Final = msgspec.msgpack.Decoder(HandedAnswer)


class ForwardToEngine:
    """An ASGI app that hands requests on as they are and answers 503 while the engine is away.

    `authenticate` is asked about the secret of requests with large bodies, before these are read. It may block, and
    raises Unauthenticated.
    """

    def __init__(self, engine_socket: str, authenticate: Callable[[str], None]) -> None:
        self._engine_socket = engine_socket
        self._authenticate = authenticate
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
        body = await self._read(scope, receive)
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

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body. Raises BodyTooLarge or Unauthenticated as soon as that is known."""
        named: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            named.setdefault(name, value)
        declared = named.get(b"content-length", b"")
        size_bytes = int(declared) if declared.isdigit() else 0
        chunks: list[bytes] = []
        arrived_bytes = 0
        is_known, more = False, True
        while True:
            if size_bytes > BODY_BYTES_MAX:
                raise BodyTooLarge(f"The request body is larger than {BODY_BYTES_MAX} bytes.")
            if not more:
                break
            if size_bytes > UNKNOWN_BYTES_MAX and not is_known:
                secret = secret_of(named.get(b"authorization", b"").decode("latin-1"))
                await run_in_threadpool(self._authenticate, secret)
                is_known = True
            message = await receive()
            if message["type"] == "http.disconnect":  # half a request must not be taken for a whole one
                raise InvalidRequest("The client went away before the body was complete.")
            chunks.append(message.get("body", b""))
            arrived_bytes += len(chunks[-1])
            size_bytes = max(size_bytes, arrived_bytes)
            more = message.get("more_body", False)
        if arrived_bytes:
            refuse_packed(named.get(b"content-encoding", b"").decode("latin-1"))
        return b"".join(chunks)

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
