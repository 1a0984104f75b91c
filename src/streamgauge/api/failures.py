"""Failures answered: whatever is raised inside becomes an error envelope, and what is our fault a log line too."""

import logging
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamgauge.api.errors import STATUS_INTERNAL, Rendered, render, render_unexpected, render_unrouted, style_of
from streamgauge.api.request_id import current_request_id
from streamgauge.domain.errors import DurabilityLost, StreamgaugeError

logger = logging.getLogger(__name__)


class FailuresAnswered:
    """Errors of ours are answered by the table, anything else by a bare 500. Wraps any ASGI app.

    What is the caller's fault or passes with time is not logged: under overload the log would be the next to fill.
    `on_fatal` is called when the disk can no longer be trusted.
    """

    def __init__(self, app: ASGIApp, on_fatal: Callable[[BaseException], None]) -> None:
        self._app = app
        self._on_fatal = on_fatal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noting_the_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        style = style_of(scope["path"])
        try:
            await self._app(scope, receive, send_noting_the_start)
        except ClientDisconnect:
            return  # nobody is left to answer
        except StreamgaugeError as error:
            rendered = render(error, style)
            if rendered[0] == STATUS_INTERNAL:
                _log(scope)
            if isinstance(error, DurabilityLost):
                self._on_fatal(error)
        except Exception:  # noqa: BLE001  # nothing is hidden: it is logged with its traceback, and answered
            _log(scope)
            rendered = render_unexpected(style)
        else:
            return
        if not started:
            await _response(rendered)(scope, receive, send)


async def unrouted(request: Request, error: Exception) -> Response:
    """The handler for what the router raises: an unknown URL, or a method that the URL does not have."""
    assert isinstance(error, HTTPException)
    given = (error.headers or {}).get("Allow")
    # The router keeps methods in a set, and their order would change from start to start.
    allow = ", ".join(sorted(given.split(", "))) if given else None
    path = request.scope["path"]
    return _response(render_unrouted(error.status_code, request.method, path, style_of(path), allow=allow))


def _response(rendered: Rendered) -> Response:
    status_code, headers, body = rendered
    response = Response(body, status_code)
    response.raw_headers = headers
    return response


def _log(scope: Scope) -> None:
    logger.exception("failed request_id=%s method=%s path=%r", current_request_id(), scope["method"], scope["path"])
