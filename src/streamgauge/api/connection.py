"""One client's connection: uvicorn's protocol with the bounds that it lacks.

Without them a client needs no credential to take the server's memory or all of its descriptors: the parser keeps a
header however long it gets, and a connection that never completes a request stays open for ever.
"""

from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

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


class BoundedConnection(HttpToolsProtocol):
    """Closes when a request is too large or takes too long to arrive; a refusal is 400 in plain text, as for what is
    not HTTP. A client that has said all it has to say, and shut its half of the connection, still gets its answer."""

    seconds_max: float = REQUEST_SECONDS_MAX

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bytes = 0
        self._since = 0.0
        self._looking: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body and "method" in self.scope:
            self._bytes = 0  # a whole request is there, and nothing of another
            return
        self._bytes += len(data)
        in_head = self.scope is None or "method" not in self.scope
        if self._bytes > (HEAD_BYTES_MAX if in_head else REQUEST_BYTES_MAX) and not self.transport.is_closing():
            if self._is_waiting_for_head():
                self.send_400_response("The request is too large.")
            else:
                self.transport.close()  # an answer is under way, or has been given already

    def on_headers_complete(self) -> None:
        """Raises _UpgradeWithBody, which the parser's caller answers with 400."""
        upgrades = self.parser.should_upgrade()
        if upgrades and any(name in _OF_A_BODY for name, _ in self.headers):
            raise _UpgradeWithBody
        super().on_headers_complete()
        if upgrades:
            self.cycle.keep_alive = False  # it is answered as if it had not asked; what follows is not HTTP any more
        self.headers = _Unheard()

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
