"""The edge, spoken to in bytes: nothing is smuggled past it, nothing injected into its answers, nobody holds it up."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.memory import server_rss_mb
from tests.support.raw_http import ask, connection, reply, request
from tests.support.server import SECRET_KEY, Client, Server

KEY = f"Authorization: Bearer {SECRET_KEY}\r\n".encode()
POST = b"POST /v1/customers HTTP/1.1\r\nHost: x\r\n" + KEY
SMUGGLED = b"POST /v1/customers HTTP/1.1\r\nHost: x\r\n" + KEY + b"Content-Length: 13\r\n\r\nname=smuggled"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"
CLEAN = b"GET /v1/customers HTTP/1.1\r\nHost: x\r\n"


def conversation(url: str, sent: bytes, seconds: float = 10) -> bytes:
    """What the server says until it hangs up; what is asked last asks for that."""
    said = b""
    with connection(url, seconds) as opened:
        try:
            opened.sendall(sent)
            while part := opened.recv(65_536):
                said += part
        except ConnectionError:
            pass
    return said


def statuses(said: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", said)]


def names(server: Server) -> list[str]:
    with Client(server.url) as client:
        return [str(each["name"]) for each in client.get("/v1/customers", limit=100)["data"]]


AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    "one length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nabcde",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nabcde",
    "a negative length": POST + b"Content-Length: -5\r\n\r\nabcde",
    "a hexadecimal length": POST + b"Content-Length: 0x5\r\n\r\nabcde",
    "a length beyond 64 bits": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabcde",
    "a blank before the colon": POST + b"Content-Length : 5\r\n\r\nabcde",
    "an unknown encoding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked and then another": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "two encodings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a vertical tab in the encoding": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a size beyond 64 bits": CHUNKED + b"\r\nfffffffffffffffff\r\nname=a\r\n0\r\n\r\n",
    "a negative size": CHUNKED + b"\r\n-6\r\nname=a\r\n0\r\n\r\n",
    "a size with 0x": CHUNKED + b"\r\n0x6\r\nname=a\r\n0\r\n\r\n",
    "a size too small": CHUNKED + b"\r\n3\r\nname=a\r\n0\r\n\r\n",
    "a line feed in an extension": CHUNKED + b"\r\n6;a\nb\r\nname=a\r\n0\r\n\r\n",
    "a length in a trailer": CHUNKED + b"\r\n6\r\nname=a\r\n0\r\nContent-Length: 90\r\n\r\n",
    "a folded header": CLEAN + b"Authorization: Bearer\r\n " + SECRET_KEY.encode() + b"\r\n\r\n",
    "line feeds alone": CLEAN.replace(b"\r", b"") + KEY.replace(b"\r", b"") + b"\n",
    "one line feed alone": CLEAN + b"X: y\n" + KEY + b"\r\n",
    "a carriage return alone": CLEAN + b"X: y\r" + KEY + b"\r\n",
    "a carriage return in a value": CLEAN + b"Idempotency-Key: a\rSet-Cookie: b\r\n" + KEY + b"\r\n",
    "NUL in a value": CLEAN + b"X: a\0b\r\n" + KEY + b"\r\n",
    "NUL in a name": CLEAN + b"X\0: b\r\n" + KEY + b"\r\n",
    "a blank in a name": CLEAN + b"X Y: b\r\n" + KEY + b"\r\n",
    "no name": CLEAN + b": b\r\n" + KEY + b"\r\n",
    "another version": b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method that is none": b"FOO /v1/customers HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n",
    "an upgrade with a body": POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 6\r\n\r\nname=a",
    "an upgrade with chunks": CHUNKED + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused_and_what_follows_is_not_looked_at(server: Server, sent: bytes) -> None:
    said = conversation(server.url, sent + SMUGGLED)
    assert statuses(said) == [400], said[-300:]
    assert b"connection: close" in said and SECRET_KEY.encode() not in said


def test_none_of_that_made_anything(server: Server) -> None:
    assert not {"smuggled", "a"} & set(names(server))


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (CHUNKED + b'\r\n8;a=b;c="d"\r\nname=one\r\n0;x\r\n\r\n', [200, 200]),
        (CHUNKED + b"\r\n8;" + b"e" * 100_000 + b"\r\nname=one\r\n0\r\n\r\n", [200, 200]),
        (CHUNKED + b"\r\n8\r\nname=one\r\n0\r\nX-Trailer: y\r\n\r\n", [200, 200]),
        (POST + b"Content-Length: 8\r\n\r\nname=one", [200, 200]),
        # Asked to upgrade, the server goes on as it is, for this one request.
        (CLEAN + KEY + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", [200]),
        (CLEAN + KEY + CLOSE + b"\r\n", [200]),
    ],
    ids=["extensions", "a long extension", "a trailer", "a length", "an upgrade", "close"],
)
def test_what_can_be_read_in_one_way_is_served_and_ends_where_it_ends(
    server: Server, sent: bytes, answers: list[int]
) -> None:
    said = conversation(server.url, sent + CLEAN + KEY + CLOSE + b"\r\n")
    assert statuses(said) == answers, said[-300:]


@pytest.mark.parametrize("trailer", [KEY, b"Content-Type: application/json\r\n", b"Stripe-Account: acct_other\r\n"])
@pytest.mark.parametrize("path", [b"/v1/customers", b"/v2/billing/meter_event_stream"])
def test_a_trailer_is_not_a_header(server: Server, path: bytes, trailer: bytes) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" + CLOSE
    said = conversation(server.url, head + b"\r\n2\r\n{}\r\n0\r\n" + trailer + b"\r\n")
    assert statuses(said) == [401]
    assert b"No API key" in said or b"The stream needs" in said


@pytest.mark.parametrize("order", [(b"bad", SECRET_KEY.encode()), (SECRET_KEY.encode(), b"bad")], ids=["bad", "good"])
def test_of_two_credentials_the_first_counts_on_every_call(server: Server, order: tuple[bytes, bytes]) -> None:
    with Client(server.url) as client:
        token = client.session().encode()
    calls: tuple[tuple[bytes, bytes, bytes, bytes | None], ...] = (
        (b"GET", b"/v1/customers", SECRET_KEY.encode(), None),
        (b"POST", b"/v2/billing/meter_event_stream", token, b'{"events":[]}'),
    )
    for method, path, good, body in calls:
        sent = [(b"Authorization", b"Bearer " + (each if each == b"bad" else good)) for each in order]
        answer = ask(server.url, request(method, path, sent, body))
        assert (answer.status == 401) == (order[0] == b"bad"), answer.told


def test_a_stream_request_and_another_in_one_packet_are_answered_in_order(server: Server) -> None:
    with Client(server.url) as client:
        token = client.session().encode()
    event = b'{"events":[{"event_name":"nothing","payload":{"stripe_customer_id":"c","value":"1"}}]}'
    stream = request(b"POST", b"/v2/billing/meter_event_stream", [(b"Authorization", b"Bearer " + token)], event)
    listed = request(b"GET", b"/v1/customers?limit=1", [(b"Authorization", b"Bearer " + SECRET_KEY.encode())])
    with connection(server.url) as opened:
        opened.sendall((stream + listed) * 20)
        for _ in range(20):
            first, second = reply(opened), reply(opened, "GET")
            assert (first.status, first.body) == (200, b"{}")
            assert second.status == 200 and b'"object":"list"' in second.body


def test_a_client_that_has_shut_its_half_still_gets_its_answer(server: Server) -> None:
    with connection(server.url) as opened:
        opened.sendall(CLEAN + KEY + b"\r\n")
        opened.shutdown(socket.SHUT_WR)
        # Whether the answer names the close depends on which came first, the answer or the end of the client's half.
        assert reply(opened, "GET").status == 200
        assert opened.recv(1) == b""
    assert "Traceback" not in server.said()


@pytest.mark.parametrize(
    "target",
    [
        b"//v1/customers",
        b"/v1//customers",
        b"/v1/../streamgauge/status",
        b"/v1/%2e%2e/streamgauge/status",
        b"/v1/customers/",
        b"/v1/customers;a=b",
        b"/V1/customers",
        b"/v1/customers%00",
        b"/v1/customers%0d%0aSet-Cookie:%20a=b",
        b"/metrics/../v1/customers",
        b"/metrics%2f..%2fv1%2fcustomers",
        b"/healthz/../metrics",
        b"/streamgauge/meter_events/%2e%2e%2fstatus",
        b"/docs/../../etc/passwd",
        b"/docs/%2e%2e/%2e%2e/etc/passwd",
        b"/engine.sock",
        b"/control.db",
        b"/..",
        b"/%",
        b"/%zz",
        b"/%c0%ae%c0%ae/metrics",
        b"//v2/billing/meter_event_stream",
        b"/v2/billing/./meter_event_stream",
        b"http://evil.example//v1/customers",
        b"*",
        b"/v1/customers/%ff%fe",
        b"/v1/customers/%ed%a0%80",
        b"/v1/customers/%f0%9f%98%80",
        b"/v1/customers/a%0d%0ab",
    ],
)
def test_a_path_that_is_not_exactly_one_of_ours_leads_nowhere(server: Server, target: bytes) -> None:
    answer = ask(server.url, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n")
    assert answer.status == 404, answer.told
    assert answer.error["message"]
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "target", [b"/v1%2fcustomers", b"/%76%31/customers", b"http://evil.example/v1/customers", b"/v1/customers#x"]
)
def test_another_writing_of_a_path_is_the_path_and_needs_the_credential(server: Server, target: bytes) -> None:
    line = b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n"
    assert ask(server.url, line + b"\r\n").status == 401
    assert ask(server.url, line + KEY + b"\r\n").status == 200


@pytest.mark.parametrize("target", ["/v1/customers/é".encode(), b"v1/customers", b"https:///v1/customers", b"/a b"])
def test_a_target_that_is_none_is_refused(server: Server, target: bytes) -> None:
    assert statuses(conversation(server.url, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n")) == [400]


@pytest.mark.parametrize("host", [b"evil.example", b"evil.example:99999", b"<script>", b"../..", b"", b"a, b", b"[::1"])
@pytest.mark.parametrize("path", [b"/v1/customers", b"/docs", b"/openapi.json", b"/nowhere"])
def test_no_answer_depends_on_the_host_header(server: Server, host: bytes, path: bytes) -> None:
    answer = ask(server.url, b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\n" + KEY + b"\r\n")
    usual = ask(server.url, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + KEY + b"\r\n")
    assert (answer.status, answer.body) == (usual.status, usual.body)
    assert "location" not in answer.headers


@pytest.mark.parametrize("name", [b"Idempotency-Key", b"Stripe-Version"])
@pytest.mark.parametrize(
    ("value", "echoed"),
    [
        (b"plain", "plain"),
        (b"%0d%0aSet-Cookie: a=b", "%0d%0aSet-Cookie: a=b"),
        (b"a\tb", None),
        ("é".encode(), None),
        ("\u010d\u010a\u560a\u560d".encode(), None),  # what a careless narrowing makes CR and LF of
        (b"x" * 256, None),
    ],
)
@pytest.mark.parametrize("path", [b"/v1/customers", b"/v2/billing/meter_event_stream", b"/nowhere"])
def test_what_is_echoed_adds_no_header(
    server: Server, path: bytes, name: bytes, value: bytes, echoed: str | None
) -> None:
    answer = ask(server.url, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n" + name + b": " + value + b"\r\n\r\n")
    assert answer.headers.get(name.decode().lower()) == echoed
    assert "set-cookie" not in answer.headers


def test_a_request_id_is_never_the_client_s(server: Server) -> None:
    line = b"GET /v1/customers HTTP/1.1\r\nHost: x\r\nX-Streamgauge-Request-Id: req_forged\r\n"
    assert ask(server.url, line + KEY + b"\r\n").headers["request-id"] != "req_forged"


# Clients that hold on


@pytest.mark.parametrize("part", [b"X: " + b"a" * 65_536, b"X: a\r\n" * 10_000, b"X-" + b"n" * 65_536])
def test_headers_without_an_end_are_cut_off_and_take_no_memory(server: Server, part: bytes) -> None:
    before = server_rss_mb(server.process.pid)
    sent = 0
    with connection(server.url) as opened:
        try:
            opened.sendall(CLEAN)
            while sent < 64 * 2**20:
                opened.sendall(part)
                sent += len(part)
        except ConnectionError:
            pass
    assert sent < 32 * 2**20  # what the kernel's buffers took before the client learnt of it
    assert server_rss_mb(server.process.pid) - before < 48


@contextmanager
def idle_connections(server: Server, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        opened = [stack.enter_context(connection(server.url)) for _ in range(count)]
        for each in opened:
            each.sendall(said)
        yield opened


def test_others_are_served_while_1000_connections_idle_and_100_send_slowly(server: Server) -> None:
    with Client(server.url) as client:
        token = client.session()
    slow = b"POST /v1/customers HTTP/1.1\r\nHost: x\r\n" + KEY + b"Content-Length: 1000\r\n\r\nname="
    streaming = b"POST /v2/billing/meter_event_stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
    streaming += token.encode() + b"\r\nContent-Length: 1000\r\n\r\n{"
    with (
        idle_connections(server, 900, b""),
        idle_connections(server, 100, b"GET /v1/cust"),
        idle_connections(server, 50, slow) as slow_forms,
        idle_connections(server, 50, streaming) as slow_streams,
        Client(server.url) as client,
    ):
        event = {"event_name": "nothing", "payload": {"stripe_customer_id": "c", "value": "1"}}
        longest = 0.0
        for _ in range(30):
            for each in (*slow_forms, *slow_streams):
                each.sendall(b"x")
            began = time.monotonic()
            client.stream(token, [event])
            client.get("/v1/customers", limit=1)
            longest = max(longest, time.monotonic() - began)
        assert longest < 2
    assert "Traceback" not in server.said()


def test_what_is_not_http_fills_no_log(server: Server) -> None:
    before = len(server.said())
    for _ in range(50):
        assert statuses(conversation(server.url, b"FOO / HTTP/1.1\r\n\r\n")) == [400]
        conversation(server.url, CLEAN + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert len(server.said()) == before
