"""Connections of clients that take their time: cut off when a request does not arrive, never while one is answered."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from streamgauge.api.connection import BoundedConnection

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\nab"
Connected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Hasty(BoundedConnection):
    seconds_max = 0.3


async def slow_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the whole body, takes longer than a request may, and says how much it read."""
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        if message["type"] == "http.disconnect":
            return
    await asyncio.sleep(2 * Hasty.seconds_max)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def talk(conversation: Connected) -> None:
    """Run a server with hasty connections for one conversation."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            config = uvicorn.Config(slow_app, http=Hasty, ws="none", lifespan="off", log_config=None, access_log=False)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                await asyncio.wait_for(conversation(reader, writer), 20)
            finally:
                writer.close()
                server.should_exit = True
                await serving

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n",
        b"POST /",
        HEAD,
        HEAD + b"Content-Length: 9\r\n\r\nab",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab",
    ],
)
def test_a_request_that_does_not_arrive_in_time_is_hung_up_on(sent: bytes) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        writer.write(sent)
        assert await reader.read() == b""
        assert Hasty.seconds_max <= time.monotonic() - began < 10

    talk(conversation)


def test_sending_one_byte_after_the_other_gains_no_time() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        writer.write(HEAD + b"X: ")
        hung_up = asyncio.create_task(reader.read())
        while not hung_up.done():
            writer.write(b"a")
            await asyncio.sleep(0.02)
        assert time.monotonic() - began < 10

    talk(conversation)


def test_an_answer_may_take_longer_and_the_time_begins_anew_after_it() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            writer.write(WHOLE)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"200 OK" in head and await reader.readexactly(1) == b"2"
        assert await reader.read() == b""  # and then nothing more was asked

    talk(conversation)


def test_requests_that_were_sent_ahead_are_all_answered() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE * 3)
        answers = await reader.read()
        assert answers.count(b"200 OK") == 3

    talk(conversation)
