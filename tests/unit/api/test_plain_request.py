"""A plain request is read as the parser reads it; all else is left to the parser."""

import asyncio
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from streamgauge import native
from streamgauge.api.plain_request import _read_here, read_plain

pytestmark = pytest.mark.usefixtures("both_ways")

LINE = b"POST /stream HTTP/1.1"
# As the official clients of several languages, and curl, send them.
USUAL = [
    b"Host: 127.0.0.1:8420",
    b"Authorization: Bearer token",
    b"User-Agent: Stripe/v2 PythonBindings/16.1.0",
    b'X-Stripe-Client-User-Agent: {"lang": "python", "platform": "Linux-6.1"}',
    b"Stripe-Version: 2026-10-28.endive",
    b"Accept: */*",
    b"Accept-Encoding: gzip, deflate",
    b"Connection: keep-alive",
    b"Content-Type: application/json",
    b"Idempotency-Key: 3f0c6bd0-1b8e-4f3c-9d3f-0a3c5d3a1f10",
]
LENGTH = b"Content-Length: 14"
BODY = b'{"events":[1]}'


def request(*lines: bytes, line: bytes = LINE, body: bytes = BODY) -> bytes:
    return b"\r\n".join([line, *lines, b"", body])


class _Parsed(HttpToolsProtocol):
    """What uvicorn's parser makes of the bytes of one connection."""

    def __init__(self, data: bytes) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            """Not called: requests are only looked at."""

        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, proxy_headers=False)
        super().__init__(config, ServerState(), {}, asyncio.new_event_loop())
        self.begun: list[Any] = []
        self.refused = False
        self.connection_made(_Nowhere())
        self.data_received(data)
        self.loop.close()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self.begun.append(cycle)

    def send_400_response(self, msg: str) -> None:
        self.refused = True


class _Nowhere(asyncio.Transport):
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing more comes."""


def is_plain(data: bytes) -> bool:
    """Whether it is read here; then it must be what the parser reads, one request and nothing behind it."""
    read = read_plain(data, LINE)
    if read is None:
        return False
    headers, body = read
    parsed = _Parsed(data)
    (cycle,) = parsed.begun
    assert not parsed.refused and not parsed.pipeline
    assert (cycle.scope["method"], cycle.scope["path"], cycle.scope["query_string"]) == ("POST", "/stream", b"")
    assert list(headers) == cycle.scope["headers"]
    assert body == bytes(cycle.body)
    assert not cycle.more_body and cycle.keep_alive and not cycle.waiting_for_100_continue
    return True


def test_what_programs_send_is_read() -> None:
    assert is_plain(request(*USUAL, LENGTH))
    assert is_plain(request(LENGTH, *USUAL))
    assert is_plain(request(b"content-length: 0", body=b""))
    assert is_plain(request(*USUAL, LENGTH, b"Authorization: Bearer another"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(*USUAL), id="no length"),
        pytest.param(request(*USUAL, LENGTH)[:-1], id="less than its length"),
        pytest.param(request(*USUAL, LENGTH) + b"P", id="more than its length"),
        pytest.param(request(LENGTH, LENGTH), id="two lengths"),
        pytest.param(request(b"Content-Length: +14"), id="a signed length"),
        pytest.param(request(b"Content-Length: 14, 14"), id="a list of lengths"),
        pytest.param(request(b"Content-Length: " + b"0" * 10 + b"14"), id="a long length"),
        pytest.param(request(b"Content-Length : 14"), id="a blank before the colon"),
        pytest.param(request(b"Content-Length:14"), id="no blank behind the colon"),
        pytest.param(request(b"Content-Length:  14"), id="two blanks behind it"),
        pytest.param(request(b"Content-Length: 14 "), id="a blank at the end"),
        pytest.param(request(LENGTH, b"Transfer-Encoding: chunked"), id="chunks"),
        pytest.param(request(LENGTH, b"Expect: 100-continue"), id="an expectation"),
        pytest.param(request(LENGTH, b"Connection: close"), id="the last request"),
        pytest.param(request(LENGTH, b"Connection: upgrade", b"Upgrade: h2c"), id="an upgrade"),
        pytest.param(request(LENGTH, b"X: a\tb"), id="a tab"),
        pytest.param(request(LENGTH, b"X: \xe9"), id="a letter beyond ASCII"),
        pytest.param(request(LENGTH, b"X: "), id="an empty value"),
        pytest.param(request(LENGTH, b"X: a\r\n b"), id="a folded value"),
        pytest.param(request(LENGTH, b"X: a\nY: b"), id="a line feed"),
        pytest.param(request(LENGTH, b"X: a\rY: b"), id="a carriage return"),
        pytest.param(request(LENGTH, b"X: a\0b"), id="NUL"),
        pytest.param(request(LENGTH, b"X Y: b"), id="a blank in a name"),
        pytest.param(request(LENGTH, b": b"), id="no name"),
        pytest.param(request(LENGTH, b"X: " + b"a" * 9_000), id="a long head"),
        pytest.param(request(LENGTH, *[b"X: a"] * 64), id="many headers"),
        pytest.param(request(LENGTH, line=b"POST /stream HTTP/1.0"), id="another version"),
        pytest.param(request(LENGTH, line=b"POST /stream HTTP/1.1 "), id="a line with more"),
        pytest.param(request(LENGTH, line=b"POST /other HTTP/1.1"), id="another path"),
        pytest.param(b"\r\n" + request(LENGTH), id="an empty line before it"),
        pytest.param(request(line=LINE, body=b""), id="no headers"),
        pytest.param(LINE, id="a line alone"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_unusual_is_left_to_the_parser(data: bytes) -> None:
    assert not is_plain(data)


changes = st.lists(
    st.tuples(
        st.integers(0, 2_000),
        st.one_of(
            st.binary(max_size=2),
            st.sampled_from([b"\r\n", b"\r\n\r\n", b": ", b"\r\nTransfer-Encoding: chunked", b"\r\n" + LENGTH]),
        ),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=1_000)
@given(st.permutations([*USUAL, LENGTH]), changes)
def test_what_is_read_of_a_changed_request_is_what_the_parser_reads(
    lines: list[bytes], replaced: list[tuple[int, bytes, int]]
) -> None:
    data = request(*lines)
    for at, by, size in replaced:
        data = data[: at % len(data)] + by + data[at % len(data) + size :]
        data = data or b"P"
    is_plain(data)


def test_whatever_is_cut_short_is_left_to_the_parser() -> None:
    whole = request(*USUAL, LENGTH)
    assert is_plain(whole)
    assert not any(is_plain(whole[:size]) for size in range(len(whole)))


@settings(deadline=None, max_examples=1_000)
@given(st.permutations([*USUAL, LENGTH]), changes)
def test_the_ways_agree(lines: list[bytes], replaced: list[tuple[int, bytes, int]]) -> None:
    if native.compiled is None:
        pytest.skip("there is only one way")
    data = request(*lines)
    for at, by, size in replaced:
        data = data[: at % len(data)] + by + data[at % len(data) + size :]
        data = data or b"P"
    assert read_plain(data, LINE) == _read_here(data, LINE)
