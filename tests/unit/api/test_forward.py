"""The way from the edge to the engine and back: requests are handed on whole or not at all, many at a time."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from streamgauge.api import forward as forward_module
from streamgauge.api.forward import ForwardToEngine
from streamgauge.api.hop import MESSAGE_BYTES_MAX, Frames, HandedAnswer, framed
from streamgauge.api.inner_server import InnerServer
from streamgauge.domain.errors import Unauthenticated


class Engine:
    """Serves where the engine would, and keeps what reaches it. `app` answers in place of the control application."""

    def __init__(self, folder: Path, app: ASGIApp | None = None) -> None:
        self.path = str(folder / "engine.sock")
        self.received: list[tuple[Scope, bytes]] = []
        self._server = InnerServer(app or self._created)

    async def __aenter__(self) -> "Engine":
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(self.path)
        listening.listen()
        await self._server.start(listening)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(grace_seconds=5)
        Path(self.path).unlink()

    async def _created(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.received.append((scope, (await receive())["body"]))
        headers = [(b"x-own", b"yes"), (b"server", b"inner")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        await send({"type": "http.response.body", "body": b"k"})


def forward(engine_socket: str) -> ForwardToEngine:
    """One that knows the secret `sk_known` alone."""

    def authenticate(secret: str) -> None:
        if secret != "sk_known":
            raise Unauthenticated("Invalid API Key provided")

    return ForwardToEngine(engine_socket, authenticate)


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

    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_request_and_its_answer_pass_as_they_are(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            app = forward(engine.path)
            given = [
                (b"authorization", b"Bearer x"),
                (b"connection", b"close"),
                (b"x-streamgauge-request-id", b"req_forged"),
            ]
            status, headers, body = await call(app, part(b"name=A", more=True), part(b"da"), headers=given)
            await app.close()
        assert (status, body, headers[b"x-own"]) == (201, b"ok", b"yes")
        assert b"server" not in headers
        ((scope, sent),) = engine.received
        assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"], sent) == (
            "POST",
            "/v1/customers/a b",
            b"/v1/customers/a%20b",
            b"expand[]=x",
            b"name=Ada",
        )
        handed = [tuple(each) for each in scope["headers"]]
        assert (b"authorization", b"Bearer x") in handed
        names = [name for name, _ in handed]
        assert names.count(b"x-streamgauge-request-id") == 1
        assert (b"x-streamgauge-request-id", b"req_forged") not in handed
        assert b"connection" not in names

    asyncio.run(scenario())


def test_requests_that_take_longer_do_not_hold_up_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        release = asyncio.Event()

        async def in_turn(scope: Scope, receive: Receive, send: Send) -> None:
            body = (await receive())["body"]
            await (release.wait() if body == b"slow" else asyncio.sleep(0))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

        async with Engine(tmp_path, in_turn) as engine:
            app = forward(engine.path)
            slow = asyncio.create_task(call(app, part(b"slow")))
            answers = await asyncio.gather(*(call(app, part(str(number).encode())) for number in range(50)))
            assert [body for _, _, body in answers] == [str(number).encode() for number in range(50)]
            assert not slow.done()
            release.set()
            assert (await slow)[2] == b"slow"
            await app.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("messages", [[], [part(b"name=A", more=True)]])
def test_a_request_whose_client_left_before_its_end_never_reaches_the_engine(
    tmp_path: Path, messages: list[dict[str, Any]]
) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            await call(forward(engine.path), *messages)
        assert engine.received == []

    asyncio.run(scenario())


def test_a_body_over_a_mebibyte_is_refused_at_the_edge(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            half = part(b"x" * 2**19, more=True)
            known = [(b"authorization", b"Bearer sk_known")]
            status, _, body = await call(forward(engine.path), half, half, part(b"x"), headers=known)
        assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_large")
        assert engine.received == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer sk_stranger")],
        [(b"authorization", b"Bearer sk_stranger"), (b"content-length", b"65537")],
        [(b"authorization", b"Bearer sk_stranger"), (b"authorization", b"Bearer sk_known")],
        [(b"content-length", b"65537")],
        [(b"x-nothing", b"")],
    ],
)
def test_of_whom_nobody_knows_no_large_body_is_read(tmp_path: Path, headers: list[tuple[bytes, bytes]]) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            begin = [part(b"x" * forward_module.UNKNOWN_BYTES_MAX, more=True), part(b"x", more=True)]
            status, _, body = await call(forward(engine.path), *begin, headers=headers)
        assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_credentials")
        assert engine.received == []

    asyncio.run(scenario())


@pytest.mark.parametrize("key", [b"Bearer sk_known", b"Basic c2tfa25vd246"])
def test_of_who_has_a_key_it_is(tmp_path: Path, key: bytes) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            app = forward(engine.path)
            status, *_ = await call(app, part(b"x" * 2**20), headers=[(b"authorization", key)])
            await app.close()
        assert status == 201
        assert len(engine.received[0][1]) == 2**20

    asyncio.run(scenario())


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"gzip, identity"])
def test_packed_bodies_are_refused(tmp_path: Path, encoding: bytes) -> None:
    async def scenario() -> None:
        async with Engine(tmp_path) as engine:
            app = forward(engine.path)
            status, _, body = await call(app, part(b"x"), headers=[(b"content-encoding", encoding)])
            assert (status, json.loads(body)["error"]["code"]) == (415, "unsupported_media_type")
            for plain in ((b"content-encoding", b"identity"), (b"content-encoding", b"")):
                assert (await call(app, part(b"x"), headers=[plain]))[0] == 201
            assert (await call(app, part(b""), headers=[(b"content-encoding", encoding)]))[0] == 201  # there is none
            await app.close()

    asyncio.run(scenario())


def refused(answer: tuple[int, dict[bytes, bytes], bytes]) -> str:
    status, headers, body = answer
    assert (status, headers[b"stripe-should-retry"]) == (503, b"true")
    assert headers[b"request-id"].startswith(b"req_")
    return str(json.loads(body)["error"]["code"])


def test_without_the_engine_it_is_503_with_an_id_and_when_to_come_again(tmp_path: Path) -> None:
    async def nobody_listens() -> tuple[int, dict[bytes, bytes], bytes]:
        return await call(forward(str(tmp_path / "engine.sock")), part(b""))

    assert refused(asyncio.run(nobody_listens())) == "service_unavailable"


def test_an_engine_that_goes_away_in_the_middle_is_503_and_one_that_comes_back_is_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def never(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(60)

        engine = Engine(tmp_path, never)
        async with engine:
            app = forward(engine.path)
            waiting = asyncio.create_task(call(app, part(b"")))
            while not engine._server._tasks:
                await asyncio.sleep(0)
            engine._server._tasks.clear()  # as if it was killed: nothing is finished
        assert refused(await waiting) == "service_unavailable"
        async with Engine(tmp_path):
            assert (await call(app, part(b"")))[0] == 201
            await app.close()

    asyncio.run(scenario())


def test_more_than_may_be_under_way_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_module, "_UNDER_WAY_MAX", 3)

    async def scenario() -> list[int]:
        async with Engine(tmp_path) as engine:
            app = forward(engine.path)
            answers = await asyncio.gather(*(call(app, part(b"")) for _ in range(5)))
            await app.close()
        assert {refused(each) for each in answers if each[0] == 503} == {"backlog_full"}
        return sorted(status for status, _, _ in answers)

    assert asyncio.run(scenario()) == [201, 201, 201, 503, 503]


def test_a_mistake_of_the_application_is_a_bare_500_and_not_a_client_left_waiting(tmp_path: Path) -> None:
    async def mistaken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("secret")

    async def scenario() -> None:
        async with Engine(tmp_path, mistaken) as engine:
            app = forward(engine.path)
            status, _, body = await call(app, part(b""))
            await app.close()
        assert status == 500
        assert b"secret" not in body

    asyncio.run(scenario())


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1_000])
def test_messages_are_whole_however_the_connection_cuts_them(step: int) -> None:
    answers = [HandedAnswer(number, 200, [(b"a", b"b")], b"x" * 50 * number) for number in range(4)]
    stream = b"".join(map(framed, answers))
    frames = Frames()
    messages = [each for at in range(0, len(stream), step) for each in frames.feed(stream[at : at + step])]
    assert messages == [framed(each)[4:] for each in answers]


def test_what_cannot_be_a_message_ends_the_connection() -> None:
    with pytest.raises(ValueError, match="a message of"):
        list(Frames().feed((MESSAGE_BYTES_MAX + 1).to_bytes(4, "big")))
