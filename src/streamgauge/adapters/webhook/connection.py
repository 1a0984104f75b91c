"""One connection to a receiver: a request goes out, and as much of the answer comes in as is wanted."""

import asyncio
from typing import Any, Final, cast

import httptools

_HEAD_BYTES_MAX: Final = 64 * 2**10


class ConnectionLost(Exception):
    """It ended before there was a status, or what came was not HTTP. `answered`: at least something had come."""

    def __init__(self, message: str, *, answered: bool) -> None:
        super().__init__(message)
        self.answered = answered


class Connection(asyncio.Protocol):
    """Used for one request at a time.

    The parser is the one that reads the server's own requests; around it stands what a client of strangers needs: an
    end to headers and bodies, whatever the other side does.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._parser: Any = None
        self._status: asyncio.Future[int] | None = None
        self._ended: asyncio.Future[None] | None = None
        self._is_interim = False
        self._head_bytes = 0
        self._body = bytearray()
        self._body_bytes_max = 0
        self._lost = asyncio.get_running_loop().create_future()
        # Whether another request may follow.
        self.is_usable = True

    async def send(self, request: bytes, body_bytes_max: int) -> int:
        """The status of the answer. Raises ConnectionLost."""
        loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._status, self._ended = loop.create_future(), loop.create_future()
        self._head_bytes, self._body, self._body_bytes_max = 0, bytearray(), body_bytes_max
        if self._lost.done():
            raise ConnectionLost("the connection was closed", answered=False)
        self._transport.write(request)
        return await self._status

    async def beginning(self) -> bytes:
        """The body of the answer, or how it begins, once it ended or is as long as was wanted."""
        assert self._ended is not None
        await self._ended
        return self.so_far()

    def so_far(self) -> bytes:
        return bytes(self._body[: self._body_bytes_max])

    def release(self) -> bool:
        """After an answer: whether another request may follow. If not, it is closed."""
        if self.is_usable and self._ended is not None and self._ended.done() and not self._lost.done():
            self._parser = self._status = self._ended = None
            return True
        self.abort()
        return False

    def abort(self) -> None:
        """Close it at once: no farewell that the other side could draw out."""
        self.is_usable = False
        self._transport.abort()

    async def closed(self) -> None:
        await self._lost

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class

    def data_received(self, data: bytes) -> None:
        if self._status is None or self._ended is None or self._ended.done():
            self.abort()  # nobody asked for this
            return
        if not self._status.done():
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("it asked for another protocol")
        except httptools.HttpParserError as error:
            self._fail(f"what came was not HTTP: {error}")
        else:
            if not self._status.done() and self._head_bytes > _HEAD_BYTES_MAX:
                self._fail(f"the headers are longer than {_HEAD_BYTES_MAX} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        self._fail(str(exc) if exc is not None and str(exc) else "the connection was closed")
        if not self._lost.done():
            self._lost.set_result(None)

    # What the parser calls

    def on_headers_complete(self) -> None:
        assert self._status is not None
        status = self._parser.get_status_code()
        # 100 and 103 come before the answer.
        self._is_interim = 100 <= status < 200
        if not self._is_interim and not self._status.done():
            self._status.set_result(status)

    def on_body(self, part: bytes) -> None:
        self._body += part[: self._body_bytes_max - len(self._body)]
        if len(self._body) >= self._body_bytes_max:
            self.is_usable = False
            self._end()
            self._transport.pause_reading()  # what else comes stays in the network until the connection is closed

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
            return
        if not self._parser.should_keep_alive():
            self.is_usable = False
        self._end()

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _fail(self, message: str) -> None:
        self.is_usable = False
        if self._status is not None and not self._status.done():
            self._status.set_exception(ConnectionLost(message, answered=self._head_bytes > 0))
        self._end()
