"""The way from an edge process to the engine process: every request that is not the stream, over a Unix socket."""

import logging
from typing import Final

import httpx
from starlette.types import Receive, Scope, Send

from streamgauge.api.errors import render, style_of
from streamgauge.api.operation import BODY_BYTES_MAX
from streamgauge.api.request_id import HANDED_ON_HEADER, new_request_id
from streamgauge.domain.errors import BodyTooLarge, InvalidRequest, StreamgaugeError, Unavailable

logger = logging.getLogger(__name__)

_ANSWER_SECONDS_MAX: Final = 60.0
_CONNECTIONS_MAX: Final = 100
# They belong to one connection (RFC 9110, section 7.6.1), or are set anew by the server that answers.
_NOT_HANDED_ON: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade")
)
_REQUEST_HEADERS_DROPPED: Final = _NOT_HANDED_ON | {b"content-length", b"expect", HANDED_ON_HEADER}
_ANSWER_HEADERS_DROPPED: Final = _NOT_HANDED_ON | {b"date", b"server"}


class ForwardToEngine:
    """An ASGI app that hands requests on as they are and answers 503 while the engine is away."""

    def __init__(self, engine_socket: str) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                uds=engine_socket, limits=httpx.Limits(max_connections=_CONNECTIONS_MAX, keepalive_expiry=30)
            ),
            timeout=_ANSWER_SECONDS_MAX,
            trust_env=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            status, headers, body = await self._answer(scope, receive, request_id)
        except StreamgaugeError as error:
            status, headers, body = render(error, style_of(scope["path"]))
            headers.append((b"request-id", request_id.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(
        self, scope: Scope, receive: Receive, request_id: str
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        target = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        headers = [(name, value) for name, value in scope["headers"] if name not in _REQUEST_HEADERS_DROPPED]
        headers.append((HANDED_ON_HEADER, request_id.encode()))
        try:
            answer = await self._client.request(
                scope["method"],
                httpx.URL(scheme="http", host="engine", raw_path=target),
                headers=headers,
                content=await _read(receive),
            )
        except httpx.TransportError as error:
            logger.warning("engine away request_id=%s: %r", request_id, error)
            raise Unavailable("The server is starting or stopping; try again in a moment.") from error
        kept = [(name.lower(), value) for name, value in answer.headers.raw]
        return answer.status_code, [each for each in kept if each[0] not in _ANSWER_HEADERS_DROPPED], answer.content

    async def close(self) -> None:
        await self._client.aclose()


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
