"""One client's connection: uvicorn's protocol with the bounds that it lacks.

Without them a client needs no credential to take the server's memory or all of its descriptors: the parser keeps a
header however long it gets, and a connection that never completes a request stays open for ever.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol, runtime_checkable

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from streamgauge.api.errors import Rendered
from streamgauge.api.plain_request import Headers, read_plain

# A request line and its headers; what arrives in one read may exceed it. The parser's own limit, of the URL, is 64 KiB.
HEAD_BYTES_MAX: Final = 2**17
# A whole request as it is sent. A body of the largest size fits however small its chunks are.
REQUEST_BYTES_MAX: Final = 2**24
# From the connection's beginning, or from the last answer, until the next request is there to its end: as long as a
# client may keep an idle connection, and a minute for sending.
REQUEST_SECONDS_MAX: Final = 135.0
_LOOK_SECONDS: Final = 5.0
_OF_A_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})


class _Unheard(list[tuple[bytes, bytes]]):
    """Where trailers go: what comes after the body must not pass for what stood before it, a credential say."""

    def append(self, _: tuple[bytes, bytes]) -> None:
        """Forget it."""


class _UpgradeWithBody(Exception):
    """The parser takes what follows such a request for another protocol: its body would be lost, or read as the next
    request."""


@runtime_checkable
class AnswersAtOnce(Protocol):
    """An application that can answer a whole request without a task, besides what ASGI asks of it."""

    @property
    def line_at_once(self) -> bytes:
        """The first line of such requests, as programs write it."""

    def takes_at_once(self, scope: Any) -> bool:
        """Whether to hold a request with this head until its body is there."""

    def at_once(self, headers: Headers, body: bytes | bytearray, answer: Callable[[Rendered], None]) -> bool:
        """Take the request; `answer` is called once, now or later. False: it was not taken. Raises nothing."""


def _nothing() -> None:
    """For what must not be called twice."""


class _PlainCycle:
    """In the place of uvicorn's cycle, of a request that came whole and is answered without a task: as much of it as
    the protocol looks at."""

    __slots__ = (
        "default_headers",
        "disconnected",
        "keep_alive",
        "on_response",
        "response_complete",
        "response_started",
    )
    more_body: Final = False

    def __init__(self, default_headers: Headers, on_response: Callable[[], None]) -> None:
        self.default_headers = default_headers
        self.on_response = on_response
        self.keep_alive = True
        self.disconnected = self.response_started = self.response_complete = False

    @property
    def message_event(self) -> "_PlainCycle":
        return self

    def set(self) -> None:
        """Nobody waits for more of the request."""


class BoundedConnection(HttpToolsProtocol):
    """Closes when a request is too large or takes too long to arrive; a refusal is 400 in plain text, as for what is
    not HTTP. A client that has said all it has to say, and shut its half of the connection, still gets its answer."""

    seconds_max: float = REQUEST_SECONDS_MAX

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bytes = 0
        self._since = 0.0
        self._looking: Any = None
        self._whole = self.app if isinstance(self.app, AnswersAtOnce) else None
        self._held: AnswersAtOnce | None = None  # who answers the request whose body is arriving

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._takes_plain(data):
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body and self.scope is not None and "method" in self.scope:
            self._bytes = 0  # a whole request is there, and nothing of another
            return
        self._bytes += len(data)
        in_head = self.scope is None or "method" not in self.scope
        if self._bytes > (HEAD_BYTES_MAX if in_head else REQUEST_BYTES_MAX) and not self.transport.is_closing():
            if self._is_waiting_for_head():
                self.send_400_response("The request is too large.")
            else:
                self.transport.close()  # an answer is under way, or has been given already

    def _takes_plain(self, data: bytes) -> bool:
        """Whether the data is one whole request that is answered at once; else nothing has happened."""
        app, before = self._whole, self.cycle
        if app is None or self._bytes or self.flow.write_paused or self.transport.is_closing():
            return False
        if before is not None and not before.response_complete:
            return False  # answers have an order
        request = read_plain(data, app.line_at_once)
        if request is None:
            return False
        cycle = _PlainCycle(self.server_state.default_headers, self.on_response_complete)
        self._unset_keepalive_if_required()
        self.cycle = cycle  # type: ignore[assignment]
        if not app.at_once(*request, partial(self._answer, cycle)):
            self.cycle = before
            return False
        return True

    def on_headers_complete(self) -> None:
        """Raises _UpgradeWithBody, which the parser's caller answers with 400."""
        upgrades = self.parser.should_upgrade()
        if upgrades and any(name in _OF_A_BODY for name, _ in self.headers):
            raise _UpgradeWithBody
        super().on_headers_complete()
        if upgrades:
            self.cycle.keep_alive = False  # it is answered as if it had not asked; what follows is not HTTP any more
        self.headers = _Unheard()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Begin with a request of the stream only when its body is there: then it needs no task."""
        if (
            self._whole is not None
            and cycle is self.cycle
            and cycle.more_body
            and cycle.keep_alive
            and not cycle.waiting_for_100_continue
            and self._whole.takes_at_once(cycle.scope)
        ):
            self._held = self._whole
        else:
            super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self._held is not None and self.flow.read_paused:
            self._let_go(self._held)  # so large that it must be read bit by bit

    def on_message_complete(self) -> None:
        super().on_message_complete()
        app, self._held = self._held, None
        if app is not None:
            cycle = self.cycle
            is_taken = not self.flow.write_paused and app.at_once(
                cycle.scope["headers"], cycle.body, partial(self._answer, cycle)
            )
            if not is_taken:
                self._let_go(app)

    def _let_go(self, app: "AnswersAtOnce") -> None:
        self._held = None
        super()._start_asgi_task(self.cycle, app)  # type: ignore[arg-type]

    def _answer(self, cycle: RequestResponseCycle | _PlainCycle, rendered: Rendered) -> None:
        """What `cycle.send` does with two messages, in one write."""
        if cycle.disconnected:
            return
        status, headers, body = rendered
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", body)
        cycle.response_started = cycle.response_complete = True
        self.transport.write(b"".join(lines))
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        cycle.on_response = _nothing

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Whether to leave our half open: for the answer to a request that is whole, after which it is closed. TLS
        knows no such half."""
        if self.scheme == "https" or self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def _is_waiting_for_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _look_later(self) -> None:
        self._looking = self.loop.call_later(min(_LOOK_SECONDS, self.seconds_max), self._look)

    def _look(self) -> None:
        """Now and then, rather than with a timer for each request, which the stream would pay for."""
        is_waiting = self._is_waiting_for_head() or self.cycle.more_body
        if is_waiting and self.loop.time() - self._since > self.seconds_max:
            self.transport.close()
        else:
            self._look_later()
