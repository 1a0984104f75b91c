"""Posting to receivers that behave well, badly, and on purpose badly. Each is a real server on loopback.

Names that resolve to what a test needs come from a resolver that is put in place of the system's: `receiver.test` is
the loopback address, as a name that its owner points inwards is.
"""

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from streamgauge.adapters.webhook import network
from streamgauge.adapters.webhook.poster import WebhookPoster
from streamgauge.engine.ports.poster import PostFailure, PostLimits, PostResult
from tests.support.scripted_receiver import Behaviour, ScriptedReceiver, answering, read_request
from tests.support.tls import certificate_in, needs_openssl

run = uvloop.run  # the loop of the server

LIMITS = PostLimits(connect_seconds=2, total_seconds=5, body_seconds=0.3)
IMPATIENT = PostLimits(connect_seconds=0.5, total_seconds=0.5, body_seconds=0.2)


async def post(url: str, *, allow_private: bool = True, limits: PostLimits = LIMITS, **poster: Any) -> PostResult:
    used = WebhookPoster(allow_private=allow_private, **poster)
    try:
        return await used.post(url, b'{"id":"evt_1"}', {"Content-Type": "application/json"}, limits)
    finally:
        await used.aclose()


def posted_to(behave: Behaviour, limits: PostLimits = LIMITS) -> PostResult:
    async def posting() -> PostResult:
        async with ScriptedReceiver(behave) as receiver:
            return await post(receiver.url, limits=limits)

    return run(posting())


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names to addresses; others are asked of the system."""
    names: dict[str, list[str]] = {"receiver.test": ["127.0.0.1"]}
    of_system = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host not in names:
            return of_system(host, port, *args, **more)
        return [each for address in names[host] for each in of_system(address, port, *args, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def test_body_and_headers_arrive_as_they_were_given() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    result = posted_to(behave)
    assert (result.status, result.detail, result.failure, result.succeeded) == (200, "ok", None, True)
    ((head, body),) = seen
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"Content-Type: application/json\r\n" in head
    assert body == b'{"id":"evt_1"}'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_leads_nowhere(status: int) -> None:
    async def posting() -> tuple[PostResult, int]:
        async with ScriptedReceiver(answering(b"")) as elsewhere:
            redirect = f"HTTP/1.1 {status} Go\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n".encode()
            async with ScriptedReceiver(answering(redirect)) as receiver:
                return await post(receiver.url), elsewhere.connections

    result, followed = run(posting())
    assert (result.status, result.succeeded, followed) == (status, False, 0)


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_another_status_is_a_failure_with_what_the_receiver_said(status: int) -> None:
    result = posted_to(answering(f"HTTP/1.1 {status} No\r\nContent-Length: 7\r\n\r\nno\x1b[2Jx".encode()))
    assert (result.status, result.succeeded) == (status, False)
    assert result.detail == "no [2Jx"


def test_a_body_that_never_ends_takes_no_more_than_its_share_of_time_and_memory() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"a" * 65_536)
            await writer.drain()

    result = posted_to(behave)
    assert (result.status, result.succeeded) == (200, True)
    assert result.detail == "a" * 500
    assert result.duration_ms < 2_000


def test_a_body_that_drips_does_not_hold_up_what_its_status_has_said() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"a")
            await asyncio.sleep(0.05)

    result = posted_to(behave)
    assert result.succeeded
    assert result.duration_ms < 2_000


def test_a_header_that_drips_is_given_up_when_the_time_is_over() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: 1\r\n")
            await asyncio.sleep(0.05)

    result = posted_to(behave, IMPATIENT)
    assert (result.status, result.failure) == (None, PostFailure.TIMED_OUT)
    assert 400 <= result.duration_ms < 3_000


def test_a_receiver_that_never_answers_is_given_up_when_the_time_is_over() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert posted_to(behave, IMPATIENT).failure is PostFailure.TIMED_OUT


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200"], ids=["nothing", "not HTTP", "half a line"]
)
def test_what_is_no_answer_is_a_lost_connection(answer: bytes) -> None:
    assert posted_to(answering(answer)).failure is PostFailure.CONNECTION_LOST


def test_headers_without_an_end_are_a_lost_connection() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X: " + b"a" * 65_536 + b"\r\n")
            await writer.drain()

    assert posted_to(behave).failure is PostFailure.CONNECTION_LOST


def test_nobody_listening_is_named() -> None:
    with socket.socket() as taken:  # bound and not listening: the port is free for nobody
        taken.bind(("127.0.0.1", 0))
        result = run(post(f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert result.failure is PostFailure.CONNECT_FAILED


@pytest.mark.parametrize(
    "url",
    [
        *["", "hook", "//receiver.test/", "ftp://receiver.test/", "file:///etc/passwd", "http://", "http:///x"],
        *[
            "http://user:secret@receiver.test/",
            "http://receiver.test:port/",
            "http://receiver.test:99999/",
            "http://[::",
        ],
    ],
)
def test_a_bad_url_is_a_failure_and_no_exception(url: str) -> None:
    assert run(post(url)).failure is PostFailure.BAD_URL


@pytest.mark.parametrize("url", ["http://no-such-name.invalid/", f"http://{'a' * 64}.test/", "http://a..b/"])
def test_a_host_without_an_address_is_named(url: str) -> None:
    assert run(post(url)).failure in (PostFailure.NAME_NOT_RESOLVED, PostFailure.BAD_URL)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "receiver.test", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
def test_a_private_address_is_refused_before_anything_connects(host: str, resolver: dict[str, list[str]]) -> None:
    async def posting() -> tuple[PostResult, int]:
        async with ScriptedReceiver(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as receiver:
            return await post(f"http://{host}:{receiver.port}/", allow_private=False), receiver.connections

    result, connections = run(posting())
    assert (result.failure, connections) == (PostFailure.ADDRESS_REFUSED, 0)
    assert "is not a public address" in result.detail


def test_a_name_with_one_private_address_among_public_ones_is_refused(resolver: dict[str, list[str]]) -> None:
    resolver["receiver.test"] = ["93.184.216.34", "127.0.0.1"]
    result = run(post("http://receiver.test/", allow_private=False))
    assert result.failure is PostFailure.ADDRESS_REFUSED


def test_a_name_is_checked_anew_on_each_attempt(
    resolver: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is public at first and private later. Here 127.0.0.2 plays the public address."""
    monkeypatch.setattr(network, "is_public", lambda address: address == "127.0.0.2")

    async def posting() -> tuple[PostResult, PostResult]:
        poster = WebhookPoster(allow_private=False)
        answer = answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        async with ScriptedReceiver(answer, host="127.0.0.2") as receiver:
            url = f"http://receiver.test:{receiver.port}/"
            resolver["receiver.test"] = ["127.0.0.2"]
            first = await poster.post(url, b"{}", {}, LIMITS)
            resolver["receiver.test"] = ["127.0.0.1"]
            second = await poster.post(url, b"{}", {}, LIMITS)
        await poster.aclose()
        return first, second

    first, second = run(posting())
    assert first.succeeded
    assert second.failure is PostFailure.ADDRESS_REFUSED


def test_the_next_address_of_a_name_is_tried_when_nobody_listens_at_the_first(resolver: dict[str, list[str]]) -> None:
    resolver["receiver.test"] = ["127.0.0.3", "127.0.0.1"]

    async def posting() -> PostResult:
        async with ScriptedReceiver(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as receiver:
            return await post(f"http://receiver.test:{receiver.port}/")

    assert run(posting()).succeeded


def test_the_host_header_names_the_host_and_not_its_address(resolver: dict[str, list[str]]) -> None:
    heads: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await read_request(reader))[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def posting() -> int:
        async with ScriptedReceiver(behave) as receiver:
            await post(f"http://receiver.test:{receiver.port}/")
            return int(receiver.port)

    port = run(posting())
    assert f"Host: receiver.test:{port}\r\n".encode() in heads[0]


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert posted_to(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).succeeded


def test_many_posts_to_one_receiver_share_a_connection() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def posting() -> int:
        poster = WebhookPoster(allow_private=True)
        async with ScriptedReceiver(behave) as receiver:
            for _ in range(20):
                assert (await poster.post(receiver.url, b"{}", {}, LIMITS)).succeeded
            await poster.aclose()
            return receiver.connections

    assert run(posting()) == 1


def test_a_kept_connection_that_the_receiver_closed_is_made_anew() -> None:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        with suppress(asyncio.IncompleteReadError):
            await reader.readexactly(1)  # takes the next request, and leaves without an answer

    async def posting() -> tuple[list[bool], int]:
        poster = WebhookPoster(allow_private=True)
        async with ScriptedReceiver(behave) as receiver:
            results = [(await poster.post(receiver.url, b"{}", {}, LIMITS)).succeeded for _ in range(3)]
            await poster.aclose()
            return results, receiver.connections

    assert run(posting()) == ([True, True, True], 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\n\r\nok",
    ],
    ids=["after 100", "after 103", "chunked", "until the end", "HTTP/1.0"],
)
def test_an_answer_may_have_any_form_that_http_knows(answer: bytes) -> None:
    result = posted_to(answering(answer))
    assert (result.status, result.detail) == (200, "ok")


def test_another_protocol_is_not_taken_up() -> None:
    result = posted_to(answering(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"))
    assert (result.status, result.failure) == (None, PostFailure.CONNECTION_LOST)


@needs_openssl
def test_a_certificate_that_does_not_verify_is_named_and_gets_nothing(tmp_path: Path) -> None:
    made = certificate_in(tmp_path)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(made.certificate, made.key)
    requests: list[bytes] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await read_request(reader))[1])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def posting() -> tuple[PostResult, PostResult]:
        async with ScriptedReceiver(behave, served) as receiver:
            url = f"https://127.0.0.1:{receiver.port}/"
            trusting = ssl.create_default_context(cafile=str(made.authority))
            return await post(url), await post(url, tls=trusting)

    unknown, known = run(posting())
    assert (unknown.failure, unknown.succeeded) == (PostFailure.TLS_FAILED, False)
    assert "certificate verify failed" in unknown.detail
    assert known.succeeded
    assert len(requests) == 1


@needs_openssl
def test_a_certificate_of_another_name_is_refused(tmp_path: Path, resolver: dict[str, list[str]]) -> None:
    made = certificate_in(tmp_path)  # of 127.0.0.1, which is where the name leads, and not its name
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(made.certificate, made.key)

    async def posting() -> PostResult:
        async with ScriptedReceiver(answering(b"HTTP/1.1 200 OK\r\n\r\n"), served) as receiver:
            trusting = ssl.create_default_context(cafile=str(made.authority))
            return await post(f"https://receiver.test:{receiver.port}/", tls=trusting)

    result = run(posting())
    assert result.failure is PostFailure.TLS_FAILED
    assert "receiver.test" in result.detail


def test_a_receiver_without_tls_behind_https_is_named() -> None:
    async def posting() -> PostResult:
        async with ScriptedReceiver(answering(b"HTTP/1.1 400 Bad\r\n\r\n")) as receiver:
            return await post(f"https://127.0.0.1:{receiver.port}/")

    assert run(posting()).failure in (PostFailure.TLS_FAILED, PostFailure.TIMED_OUT, PostFailure.CONNECT_FAILED)
