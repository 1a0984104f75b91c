"""Bodies that are made to explode: each is a clear refusal, at once, and leaves neither memory nor anything stored."""

import gzip
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.memory import server_rss_mb
from tests.support.raw_http import Header, ask, request
from tests.support.server import SECRET_KEY, Client, Server

MIB = 2**20
SECONDS_MAX = 3.0  # for one of them; a tenth of it is usual, and this machine may be busy
MEMORY_MB_MAX = 128
STREAM, SINGLE, FORM = b"/v2/billing/meter_event_stream", b"/v2/billing/meter_events", b"/v1/customers"
JSON = (b"Content-Type", b"application/json")


def event(more: bytes = b"") -> bytes:
    return b'{"events":[{"event_name":"a","payload":{"stripe_customer_id":"c","value":"1"}' + more + b"}]}"


def single(more: bytes = b"") -> bytes:
    return b'{"event_name":"a","payload":{"stripe_customer_id":"c","value":"1"}' + more + b"}"


def of_both(more: bytes) -> list[tuple[bytes, bytes]]:
    """As a member of an event on the stream, and of a single event."""
    return [(STREAM, event(more)), (SINGLE, single(more))]


REFUSED: dict[str, list[tuple[bytes, bytes]]] = {
    "lists in lists": [(STREAM, b"[" * (MIB // 2) + b"]" * (MIB // 2)), (SINGLE, b"[" * MIB)],
    "lists in events": [(STREAM, b'{"events":' + b"[" * (MIB - 10))],
    "objects in objects": [(STREAM, b'{"events":' * 100_000), (SINGLE, b'{"payload":' * 95_000)],
    "objects in a payload": of_both(b',"payload":' + b'{"a":' * 200_000),
    "a timestamp of a million digits": of_both(b',"timestamp":' + b"9" * 1_000_000),
    "a timestamp of a million digits as text": of_both(b',"timestamp":"' + b"9" * 1_000_000 + b'"'),
    "a timestamp below all": of_both(b',"timestamp":-' + b"9" * 100_000),
    "a timestamp with an exponent": of_both(b',"timestamp":1e999999999'),
    "a timestamp beyond 63 bits": of_both(b',"timestamp":%d' % 2**63),
    "a timestamp beyond 64 bits": of_both(b',"timestamp":%d' % 2**64),
    "a fraction of a second": of_both(b',"timestamp":1.5'),
    "a number of a million digits": [(STREAM, b"9" * 1_000_000), (SINGLE, b"-" + b"9" * 1_000_000)],
    "a key of a megabyte": [(path, b'{"' + b"k" * 1_000_000 + b'":1}') for path in (STREAM, SINGLE)],
    "ninety thousand keys": of_both(b"," + b",".join(b'"k%d":1' % number for number in range(90_000))),
    "ninety thousand payload keys": of_both(
        b',"payload":{' + b",".join(b'"k%d":"1"' % number for number in range(80_000)) + b"}"
    ),
    "three hundred thousand events": [(STREAM, b'{"events":[' + b"{}," * 300_000 + b"{}]}")],
    "a lone surrogate": of_both(b',"identifier":"\\ud800"'),
    "a lone low surrogate": of_both(b',"identifier":"\\udc00x"'),
    "bytes that are not UTF-8": of_both(b',"identifier":"\xff\xfe"'),
    "a surrogate in UTF-8": of_both(b',"identifier":"\xed\xa0\x80"'),
    "an overlong slash": of_both(b',"identifier":"\xc0\xaf"'),
    "escapes without an end": of_both(b',"identifier":"' + b"\\u0000" * 170_000 + b'"'),
    "a text that does not end": of_both(b',"identifier":"' + b"x" * 1_000_000)[:1],
    "a mark of byte order": [(STREAM, b"\xef\xbb\xbf" + event()), (SINGLE, b"\xef\xbb\xbf" + single())],
    "UTF-16": [(STREAM, event().decode().encode("utf-16")), (SINGLE, single().decode().encode("utf-16"))],
    "gzip": [(STREAM, gzip.compress(event())), (SINGLE, gzip.compress(single()))],
    "a bomb in gzip": [(STREAM, gzip.compress(b" " * 100 * MIB)), (SINGLE, gzip.compress(b" " * 100 * MIB))],
    "not a number": [(STREAM, b"NaN"), (SINGLE, b"-Infinity")],
    "blanks": [(STREAM, b" " * MIB), (STREAM, b"\n" * MIB)],
    "one byte too many": [(path, b" " * (MIB + 1)) for path in (STREAM, SINGLE, FORM)],
    "names in names": [(FORM, b"a" + b"[a]" * 300_000 + b"=1"), (FORM, b"metadata" + b"[" * 500_000 + b"=1")],
    "equals signs": [(FORM, b"=" * MIB)],
    "percent signs": [(FORM, b"%25" * 300_000)],
    "plus signs": [(FORM, b"+" * MIB)],
    "a value of a megabyte": [(FORM, b"name=" + b"x" * 1_000_000), (FORM, b"metadata[a]=" + b"9" * 1_000_000)],
    "a name of a megabyte": [(FORM, b"n" * 1_000_000 + b"=1")],
    "a name given twice": [(FORM, b"name=a&name=b")],
    "a hundred thousand parameters": [(FORM, b"&".join(b"k%d=1" % number for number in range(100_000)))],
    "sixty thousand in a list": [(FORM, b"&".join([b"expand[]=x"] * 60_000))],
    "a form that is not UTF-8": [(FORM, b"name=%ff"), (FORM, b"name=%ed%a0%80"), (FORM, b"name=\xff")],
    "NUL in a form": [(FORM, b"name=%00"), (FORM, b"metadata[%00]=x")],
}


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    with Client(server.url) as client:
        return client.session()


def sent(path: bytes, token: str, body: bytes, *more: Header) -> bytes:
    secret = token if path == STREAM else SECRET_KEY
    headers = [(b"Authorization", b"Bearer " + secret.encode()), *more]
    return request(b"POST", path, headers if path == FORM else [*headers, JSON], body)


def stored(server: Server) -> tuple[int, int]:
    with Client(server.url) as client:
        customers = client.get("/v1/customers", limit=100)
        return client.get("/streamgauge/status")["accepted_events"], len(customers["data"])


@pytest.mark.parametrize("bodies", REFUSED.values(), ids=REFUSED)
def test_it_is_refused_at_once_and_nothing_is_stored(
    server: Server, token: str, bodies: list[tuple[bytes, bytes]]
) -> None:
    before, memory = stored(server), server_rss_mb(server.process.pid)
    for path, body in bodies:
        began = time.monotonic()
        answer = ask(server.url, sent(path, token, body))
        assert time.monotonic() - began < SECONDS_MAX, answer.told[:200]
        assert answer.status == (413 if len(body) > MIB else 400), answer.told[:300]
        assert answer.error["message"]
        assert len(answer.body) < 1_500  # what is repeated of a body is cut
    assert stored(server) == before
    assert server_rss_mb(server.process.pid) - memory < MEMORY_MB_MAX


def test_many_of_the_worst_at_once_take_no_more_memory(server: Server, token: str) -> None:
    memory = server_rss_mb(server.process.pid)
    for _ in range(20):
        for name in (
            "objects in objects",
            "ninety thousand keys",
            "three hundred thousand events",
            "sixty thousand in a list",
        ):
            for path, body in REFUSED[name]:
                assert ask(server.url, sent(path, token, body)).status == 400
    assert server_rss_mb(server.process.pid) - memory < MEMORY_MB_MAX


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"zstd"])
def test_no_body_is_decompressed(server: Server, token: str, encoding: bytes) -> None:
    """Nor is one taken that only says so: who names an encoding means something by it."""
    for path in (STREAM, SINGLE, FORM):
        for body in (gzip.compress(event()), event()):
            answer = ask(server.url, sent(path, token, body, (b"Content-Encoding", encoding)))
            assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
            assert f"Content-Encoding: {encoding.decode()}" in answer.error["message"]


@pytest.mark.parametrize("query", [b"limit=" + b"9" * 60_000, b"limit=-" + b"9" * 5_000, b"limit=1e9", b"limit=%D9%A1"])
def test_numbers_of_any_length_in_a_query_are_refused(server: Server, query: bytes) -> None:
    answer = ask(
        server.url, request(b"GET", FORM + b"?" + query, [(b"Authorization", f"Bearer {SECRET_KEY}".encode())])
    )
    assert answer.status == 400 and answer.error["code"] == "parameter_invalid_integer"


def test_of_a_member_given_twice_the_last_counts(server: Server) -> None:
    """JSON leaves it open; here it is the same for every reader, as there is but one."""
    with Client(server.url) as client:
        meter, customer, token = client.meter("twice"), client.customer(name="Ada"), client.session()
        payload = f'{{"stripe_customer_id":"{customer}","value":"100","value":"1"}}'
        body = f'{{"events":[{{"event_name":"none","event_name":"twice","payload":{payload}}}]}}'
        client.stream(token, body.encode())
        client.wait_until_applied()
        assert client.total(meter, customer) == 1


# Names of any kind, through every field into every query

AWKWARD = [
    *("'", '"', "''", "\\", "\\'", "`", "';DROP TABLE events;--", "' OR '1'='1", "{name:String}", "%s", "%(x)s", "$1"),
    *("?", ":x", "/", "..", "../..", "a/b", "a?b", "a#b", "a b", "+", "&", "=", "[]", "%00", "{}", "<script>"),
    *("\n", "\r\n", "\t", "\0", "a\0b", "\x7f", "\x1b[31m", "\u2028", "\ufeff", "\ufffe", "\U0010ffff", "\u202e"),
    *("😀", "é", "e\u0301", "ﬀ", "İ", "ß", "x" * 100, "😀" * 100, " ", "  x  "),
    *("null", "NULL", "\\N", "0", "-1", "true"),
]
names = st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(codec="utf-8"), min_size=1, max_size=100))


@pytest.fixture(scope="module")
def accepting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Any customer is taken, so customers too can have any name."""
    with Server(tmp_path_factory.mktemp("names") / "data", unknown_customers="accept") as server:
        yield server


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(names, min_size=8, max_size=25, unique=True),
    st.lists(names, min_size=4, max_size=10, unique=True),
    names,
)
def test_events_customers_and_meters_of_any_name_are_counted_exactly(
    accepting: Server, identifiers: list[str], customers: list[str], event_name: str
) -> None:
    """Every name goes in by the stream and comes out of summaries, receipts and lists as it was."""
    run = uuid.uuid4().hex[:12]
    # A form takes no NUL, so neither can a meter's name or the customer that a summary is asked about.
    event_name = (event_name.replace("\0", "") + run)[-100:]
    customers = [each.replace("\0", "0") for each in customers if each.strip()] or ["c"]
    customers = list(dict.fromkeys((each + run)[-100:] for each in customers))
    with Client(accepting.url) as client:
        meter, token = client.meter(event_name), client.session()
        assert client.get(f"/v1/billing/meters/{meter}")["event_name"] == event_name
        sent = {
            (each + run)[-100:]: {
                "event_name": event_name,
                "identifier": (each + run)[-100:],
                "payload": {
                    "stripe_customer_id": customers[number % len(customers)],
                    "value": str(number + 1),
                    each: each,
                },
            }
            for number, each in enumerate(identifiers)
            if each not in ("stripe_customer_id", "value")
        }
        expected = dict.fromkeys(customers, 0)
        for made in sent.values():
            payload = made["payload"]
            assert isinstance(payload, dict)
            expected[payload["stripe_customer_id"]] += int(payload["value"])
        for _ in range(2):  # a repeat changes nothing, whatever the identifier
            client.stream(token, list(sent.values()))
        client.wait_until_applied()
        for customer, total in expected.items():
            assert (client.total(meter, customer) or 0) == total, repr(customer)
        for identifier in sent:
            receipt = client.http.get(
                "/streamgauge/meter_events/" + "".join(f"%{byte:02x}" for byte in identifier.encode()),
                headers={"Authorization": f"Bearer {SECRET_KEY}"},
            )
            assert receipt.status_code == 200, repr(identifier)
            assert receipt.json()["identifier"] == identifier
        form: dict[str, Any] = {"name": customers[0], "metadata[k]": customers[-1]}
        customer_id = client.customer(**form)
        shown = client.get(f"/v1/customers/{customer_id}")
        assert (shown["name"], shown["metadata"]) == (customers[0], {"k": customers[-1]})
