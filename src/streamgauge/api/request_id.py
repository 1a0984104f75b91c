"""Request ids: every answer carries one, and every log line of the request can name it."""

import re
import secrets
from collections.abc import Callable, Iterable
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HANDED_ON_HEADER = b"x-streamgauge-request-id"
# Clients read these back to see that the answer belongs to their request.
ECHOED_HEADERS = (b"idempotency-key", b"stripe-version")
ECHOED_LENGTH_MAX = 255

_WELL_FORMED = re.compile(rb"req_[0-9A-Za-z]{1,60}")
_PRINTABLE = re.compile(rb"[\x20-\x7e]{1,%d}" % ECHOED_LENGTH_MAX)

_current: ContextVar[str | None] = ContextVar("streamgauge_request_id", default=None)


def current_request_id() -> str | None:
    """The id of the request under way in this task or in the thread that works for it; None outside of one."""
    return _current.get()


def new_request_id() -> str:
    """Random, so that ids of several processes never meet. No result depends on it, hence no port."""
    return "req_" + secrets.token_hex(12)


class RequestIds:
    """Gives each HTTP request an id and puts it on the answer, whatever the answer is.

    A request that another process of ours hands on brings its id along, so both name it alike. Wraps any ASGI app.
    """

    def __init__(self, app: ASGIApp, make: Callable[[], str] = new_request_id) -> None:
        self._app = app
        self._make = make

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _handed_on(scope["headers"]) or self._make()
        added = [(b"request-id", request_id.encode()), *echoed_headers(scope["headers"])]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                # An app inside that hands on another process's answer has these headers already.
                names = {name for name, _ in added}
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
                message = {**message, "headers": kept + added}
            await send(message)

        reset = _current.set(request_id)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _current.reset(reset)


def _handed_on(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == HANDED_ON_HEADER and _WELL_FORMED.fullmatch(value):
            return value.decode()
    return None


def echoed_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The first of each echoed header. What is too long or not printable is left out, not repaired."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in ECHOED_HEADERS and _PRINTABLE.fullmatch(value):
            found.setdefault(name, value)
    return list(found.items())
