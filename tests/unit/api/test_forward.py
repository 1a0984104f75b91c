"""The way from the edge to the engine: requests are handed on whole or not at all."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from streamgauge.api.forward import ForwardToEngine


class Engine:
    """Listens where the engine would, keeps what reaches it, and answers with what it was told to."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / "engine.sock")
        self.received: list[bytes] = []
        self.answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx-own: yes\r\nserver: inner\r\n\r\nok"

    async def __aenter__(self) -> "Engine":
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        self.received.append(head + await reader.readexactly(length))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


async def call(
    app: ForwardToEngine, *messages: dict[str, Any], headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[int, dict[bytes, bytes], bytes]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/customers/a b",
        "raw_path": b"/v1/customers/a%20b",
        "query_string": b"expand[]=x",
        "headers": headers or [(b"authorization", b"Bearer x")],
    }
    waiting = [*messages, {"type": "http.disconnect"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    finally:
        await app.close()
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_request_and_its_answer_pass_as_they_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            given = [
                (b"authorization", b"Bearer x"),
                (b"connection", b"close"),
                (b"x-streamgauge-request-id", b"req_forged"),
            ]
            status, headers, body = await call(
                ForwardToEngine(engine.path), part(b"name=A", more=True), part(b"da"), headers=given
            )
        assert (status, body, headers[b"x-own"]) == (201, b"ok", b"yes")
        assert b"server" not in headers
        (request,) = engine.received
        assert request.startswith(b"POST /v1/customers/a%20b?expand[]=x HTTP/1.1\r\n")
        assert request.endswith(b"\r\n\r\nname=Ada")
        assert b"authorization: Bearer x" in request.replace(b"Authorization", b"authorization")
        assert b"req_forged" not in request

    asyncio.run(scenario())


@pytest.mark.parametrize("messages", [[], [part(b"name=A", more=True)]])
def test_a_request_whose_client_left_before_its_end_never_reaches_the_engine(
    tmp_path: Path, messages: list[dict[str, Any]]
) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            await call(ForwardToEngine(engine.path), *messages)
        assert engine.received == []

    asyncio.run(scenario())


def test_a_body_over_a_mebibyte_is_refused_at_the_edge(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            half = part(b"x" * 2**19, more=True)
            status, _, body = await call(ForwardToEngine(engine.path), half, half, part(b"x"))
        assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")
        assert engine.received == []

    asyncio.run(scenario())


@pytest.mark.parametrize("broken", ["nobody listens", "it dies in the middle"])
def test_without_the_engine_it_is_503_with_an_id_and_when_to_come_again(tmp_path: Path, broken: str) -> None:
    async def scenario() -> tuple[int, dict[bytes, bytes], bytes]:
        if broken == "nobody listens":
            return await call(ForwardToEngine(str(tmp_path / "engine.sock")), part(b""))
        async with Engine(tmp_path) as engine:
            engine.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"
            return await call(ForwardToEngine(engine.path), part(b""))

    status, headers, body = asyncio.run(scenario())
    assert (status, headers[b"stripe-should-retry"]) == (503, b"true")
    assert headers[b"request-id"].startswith(b"req_")
    assert json.loads(body)["error"]["code"] == "service_unavailable"
