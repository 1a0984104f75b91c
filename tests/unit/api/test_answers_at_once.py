"""A whole request of the stream is answered without a task: on the wire nothing else can be told from it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from streamgauge.api.connection import BoundedConnection
from streamgauge.api.errors import Rendered
from streamgauge.api.plain_request import Headers

Conversation = Callable[["App", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class App:
    """Says how it was asked and how long the body was. What asks to be `slow` waits for `leave`; `not` is not taken at
    once."""

    line_at_once = b"POST / HTTP/1.1"

    def __init__(self) -> None:
        self.leave = asyncio.Event()
        self.stop: Callable[[], None] = self.leave.set

    def takes_at_once(self, scope: Scope) -> bool:
        return bool(scope["method"] == "POST")

    def at_once(self, headers: Headers, body: bytes | bytearray, answer: Callable[[Rendered], None]) -> bool:
        if (b"x-ask", b"not") in headers:
            return False
        text = b"at once %d" % len(body)
        rendered = (200, [(b"content-length", str(len(text)).encode())], text)

        async def later() -> None:
            if (b"x-ask", b"slow") in headers:
                await self.leave.wait()
            answer(rendered)

        self.task = asyncio.create_task(later())
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        text = b"as a task %d" % size
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(text)).encode())]}
        )
        await send({"type": "http.response.body", "body": text})


NOT, SLOW = b"X-Ask: not", b"X-Ask: slow"


def post(body: bytes, *more: bytes) -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *more, b"", body])


async def answered(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\ndate: " in head
    length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
    return head, await reader.readexactly(length)


def talk(conversation: Conversation) -> None:
    async def run() -> None:
        app = App()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(
                app, http=BoundedConnection, ws="none", lifespan="off", log_config=None, proxy_headers=False
            )
            server = uvicorn.Server(config)
            app.stop = partial(setattr, server, "should_exit", True)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                await asyncio.wait_for(conversation(app, reader, writer), 20)
            finally:
                app.leave.set()
                writer.close()
                server.should_exit = True
                await serving

    asyncio.run(run())


def test_requests_follow_each_other_on_one_connection() -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for size in (0, 2, 60_000):
            writer.write(post(b"a" * size))
            assert (await answered(reader))[1] == b"at once %d" % size

    talk(conversation)


@pytest.mark.parametrize("step", [1, 7])
def test_a_body_may_arrive_in_pieces(step: int) -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = post(b"abcdefghij")
        for at in range(0, len(whole), step):
            writer.write(whole[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)
        assert (await answered(reader))[1] == b"at once 10"
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await answered(reader))[1] == b"at once 5"

    talk(conversation)


@pytest.mark.parametrize("more", [(), (NOT,)], ids=["after one at once", "after a task"])
def test_what_stands_before_a_whole_request_belongs_to_it(more: tuple[bytes, ...]) -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(post(b"ab", *more))
            assert (await answered(reader))[1][-1:] == b"2"
        writer.write(b"\r\n")
        await asyncio.sleep(0.05)
        writer.write(post(b"abc"))
        assert (await answered(reader))[1] == b"at once 3"
        writer.write(b"P")
        await asyncio.sleep(0.05)
        writer.write(post(b"abc"))
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")

    talk(conversation)


def test_a_server_that_stops_answers_what_it_has_taken() -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(post(b"ab", SLOW))
        await asyncio.sleep(0.05)
        app.stop()
        await asyncio.sleep(0.3)
        app.leave.set()
        head, body = await answered(reader)
        assert (b"connection: close" in head, body, await reader.read()) == (True, b"at once 2", b"")

    talk(conversation)


@pytest.mark.parametrize("size", [100_000, 900_000])
def test_a_large_body_is_read_by_a_task(size: int) -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        whole = post(b"a" * size)
        writer.write(whole[:-1])
        await asyncio.sleep(0.05)
        writer.write(whole[-1:])
        assert (await answered(reader))[1] == b"as a task %d" % size
        writer.write(post(b"ab"))
        assert (await answered(reader))[1] == b"at once 2"

    talk(conversation)


def test_what_is_not_taken_is_asked_as_ever() -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request in (post(b"abc", NOT), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            writer.write(request)
            assert (await answered(reader))[1].startswith(b"as a task")
        writer.write(post(b"", b"Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await answered(reader))[1] == b"as a task 0"
        writer.write(post(b"ab", b"Connection: close"))
        head, body = await answered(reader)
        assert (b"connection: close" in head, body, await reader.read()) == (True, b"as a task 2", b"")

    talk(conversation)


def test_requests_sent_ahead_are_answered_in_order() -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(post(b"a", SLOW) + post(b"ab") + post(b"abc", NOT) + post(b"abcd"))
        await asyncio.sleep(0.05)
        app.leave.set()
        assert [(await answered(reader))[1][-1:] for _ in range(4)] == [b"1", b"2", b"3", b"4"]

    talk(conversation)


def test_a_request_that_comes_before_the_last_answer_is_answered_after_it() -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for request in (post(b"a", SLOW), post(b"ab"), post(b"abc", NOT)):
            writer.write(request)
            await asyncio.sleep(0.05)
        app.leave.set()
        assert [(await answered(reader))[1][-1:] for _ in range(3)] == [b"1", b"2", b"3"]

    talk(conversation)


def test_a_client_that_has_said_all_still_gets_its_answer() -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(post(b"a", SLOW))
        writer.write_eof()
        await asyncio.sleep(0.05)
        app.leave.set()
        head, body = await answered(reader)
        assert (b"connection: close" in head, body, await reader.read()) == (True, b"at once 1", b"")

    talk(conversation)


def test_an_answer_to_a_client_that_went_away_disturbs_nobody() -> None:
    async def conversation(app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, other = await asyncio.open_connection(*writer.get_extra_info("peername"))
        other.write(post(b"a", SLOW))
        await asyncio.sleep(0.05)
        other.transport.abort()
        await asyncio.sleep(0.05)
        app.leave.set()
        await app.task
        writer.write(post(b"ab"))
        assert (await answered(reader))[1] == b"at once 2"

    talk(conversation)
