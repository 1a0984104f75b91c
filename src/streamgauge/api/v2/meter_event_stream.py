"""POST /v2/billing/meter_event_stream: the hot path, as a bare ASGI callable."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from starlette.types import Receive, Scope, Send

from streamgauge.api.content_encoding import refuse_packed
from streamgauge.api.credentials import ACCOUNT_HEADERS, refuse_other_accounts
from streamgauge.api.errors import ErrorStyle, Rendered, render, render_unexpected, render_unrouted
from streamgauge.api.plain_request import Headers
from streamgauge.api.request_id import echoed_headers, new_request_id
from streamgauge.api.v2.json_body import refuse_other_types
from streamgauge.api.v2.stream_body import request_of
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import BodyTooLarge, InvalidRequest, StreamgaugeError, Unauthenticated
from streamgauge.domain.meter_event import REQUEST_BYTES_MAX
from streamgauge.engine.backlog import BacklogBeside
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.rate_limit import RateLimit
from streamgauge.engine.session_cache import SessionCache

logger = logging.getLogger(__name__)

PATH: Final = "/v2/billing/meter_event_stream"
_ACCEPTED: Final = b"{}"
_ACCEPTED_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"2")]
# What a request is refused for if it says the wrong thing; most requests have the first of them alone.
_JUDGED: Final = frozenset(
    {b"content-type", b"content-encoding", b"idempotency-key", *(name.encode() for name in ACCOUNT_HEADERS)}
)


class MeterEventStream:
    """Authenticate (cached), decode strictly, hand over columns, answer once they are durable.

    `rate_limit` is of events; None: no limit.
    """

    def __init__(
        self, sessions: SessionCache, backlog: BacklogBeside, commit: GroupCommit, rate_limit: RateLimit | None = None
    ) -> None:
        self._sessions = sessions
        self._backlog = backlog
        self._commit = commit
        self._rate_limit = rate_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            status, headers, body = await self._answer(scope, receive)
        except StreamgaugeError as error:
            status, headers, body = render(error, ErrorStyle.V2)
        except Exception:
            logger.exception("failed request_id=%s", request_id)
            status, headers, body = render_unexpected(ErrorStyle.V2)
        headers = [*headers, (b"request-id", request_id.encode()), *echoed_headers(scope["headers"])]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def at_once(self, headers: Headers, body: bytes | bytearray, answer: Callable[[Rendered], None]) -> bool:
        """The same for a whole body and a session that is known, without a task; `answer` is called later, once.

        False: nothing was done, and the call above must. Raises nothing.
        """
        try:
            authorization, length, judged = _headers(headers)
            principal = self._known(authorization)
        except StreamgaugeError:
            return False
        if principal is None or length > REQUEST_BYTES_MAX or len(body) > REQUEST_BYTES_MAX:
            return False
        request_id = new_request_id()
        own = [(b"request-id", request_id.encode()), *echoed_headers(headers)]

        def settled(future: asyncio.Future[None]) -> None:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                answer((200, [*_ACCEPTED_HEADERS, *own], _ACCEPTED))
            else:
                refused(error)

        def refused(error: BaseException) -> None:
            if isinstance(error, StreamgaugeError):
                status, more, content = render(error, ErrorStyle.V2)
            else:
                logger.error("failed request_id=%s", request_id, exc_info=error)
                status, more, content = render_unexpected(ErrorStyle.V2)
            answer((status, [*more, *own], content))

        try:
            self._submit(principal, judged, body).add_done_callback(settled)
        except Exception as error:  # noqa: BLE001 - nothing is hidden: `refused` logs what is not ours
            refused(error)
        return True

    async def _answer(self, scope: Scope, receive: Receive) -> Rendered:
        if scope["method"] != "POST":
            return render_unrouted(405, scope["method"], PATH, ErrorStyle.V2, allow="POST")
        authorization, length, judged = _headers(scope["headers"])
        if length > REQUEST_BYTES_MAX:
            raise _too_large()
        principal = await self._authenticate(authorization)
        _refuse(principal, judged)
        await self._submit(principal, judged, await _read(receive))
        return 200, _ACCEPTED_HEADERS, _ACCEPTED

    def _submit(self, principal: Principal, judged: dict[str, str], body: bytes | bytearray) -> asyncio.Future[None]:
        """Raises a StreamgaugeError, and then nothing will be stored."""
        _refuse(principal, judged)
        self._backlog.check()
        request = request_of(principal, body, judged.get("idempotency-key"))
        if self._rate_limit is not None:
            self._rate_limit.take(principal.tenant, len(request))
        return self._commit.submit(request)

    async def _authenticate(self, authorization: bytes | None) -> Principal:
        return await self._sessions.authenticate(_token(authorization))

    def _known(self, authorization: bytes | None) -> Principal | None:
        return self._sessions.known(_token(authorization))


def _token(authorization: bytes | None) -> bytes:
    scheme, _, token = (authorization or b"").strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise Unauthenticated(
            "The stream needs the authentication_token of a meter event session (POST "
            "/v2/billing/meter_event_session) in the header 'Authorization: Bearer <token>'."
        )
    return token


def _refuse(principal: Principal, judged: dict[str, str]) -> None:
    """Raises what the headers are to be refused for."""
    if judged:
        refuse_other_accounts(judged, principal.tenant)
        refuse_packed(judged.get("content-encoding"))
        refuse_other_types(judged.get("content-type"))


def _headers(headers: Headers) -> tuple[bytes | None, int, dict[str, str]]:
    """The credential, the declared size (0: none), and the headers of `_JUDGED`; one pass, as it is the hot path."""
    authorization, length = None, 0
    judged: dict[str, str] = {}
    for name, value in headers:
        if name == b"authorization":
            if authorization is None:  # of several the first counts, as for all other calls
                authorization = value
        elif name == b"content-length" and value.isdigit():
            length = int(value)
        elif name in _JUDGED:
            judged[name.decode()] = value.decode("latin-1")
    return authorization, length, judged


async def _read(receive: Receive) -> bytes:
    """The whole body. Raises BodyTooLarge as soon as it is known to be."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        chunks, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > REQUEST_BYTES_MAX:
                raise _too_large()
        body = b"".join(chunks)
    if message["type"] == "http.disconnect":
        raise InvalidRequest("The client went away before the body was complete.")
    if len(body) > REQUEST_BYTES_MAX:
        raise _too_large()
    return body


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {REQUEST_BYTES_MAX} bytes.")
