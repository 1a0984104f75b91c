"""The stream at its edge: strict about structure, silent about meaning, and nothing stored of what is refused.

The bare ASGI callable over a real group commit on a memory log; no server, no network.
"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.adapters.system.clock import SystemEntropy
from streamgauge.api.errors import Rendered
from streamgauge.api.v2.meter_event_stream import PATH, MeterEventStream
from streamgauge.api.v2.stream_body import columns_of
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import StorageFull
from streamgauge.domain.event_block import decode
from streamgauge.domain.meter_event import ABSENT_MS
from streamgauge.domain.tally import Tally
from streamgauge.engine import backlog as backlog_module
from streamgauge.engine.backlog import Backlog, BacklogBeside
from streamgauge.engine.ingest import GroupCommit
from streamgauge.engine.keys import Keys
from streamgauge.engine.ports.event_log import KeyedEntry, LogRecord
from streamgauge.engine.session_cache import SessionCache
from streamgauge.engine.sessions import Sessions
from tests.support.world import TENANT, SettableClock

from .contract import faults_of_response

pytestmark = pytest.mark.usefixtures("both_ways")

LIVE = Tenant(TENANT.account_id, livemode=True)
MEBIBYTE = 2**20
BACKLOG_EVENTS_MAX = 1_000
GOOD: dict[str, Any] = {"event_name": "calls", "payload": {"stripe_customer_id": "cus_1", "value": "1"}}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        document = json.loads(self.body)
        assert list(document) == ["error"]
        return dict(document["error"])


class Log(MemoryEventLog):
    """Fails when told to, and can be made to hold its appends."""

    def __init__(self, clock: SettableClock) -> None:
        super().__init__(clock)
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def append(self, block: bytes, tallies: Mapping[Tenant, Tally], keys: Sequence[KeyedEntry] = ()) -> LogRecord:
        assert self.open.wait(10)
        if self.failure is not None:
            raise self.failure
        return super().append(block, tallies, keys)


@dataclass
class Edge:
    clock: SettableClock = field(default_factory=SettableClock)
    pending_bytes_max: int = 4 * MEBIBYTE
    at_once: bool = False  # whether whole requests go the short way, as far as they may

    def __post_init__(self) -> None:
        store = MemoryControlStore()
        store.add_account(Account(id=TENANT.account_id, name="", created_ms=0))
        self.keys = Keys(store, self.clock, SystemEntropy())
        self.sessions = Sessions(store, self.clock, SystemEntropy(), lifetime_seconds=900)
        self.key, self.secret = self.keys.create(TENANT)
        self.token = self.sessions.open(Principal(TENANT, self.key.id), self.secret)[1]
        self.log = Log(self.clock)
        self.progress = MemoryProgress()
        self.fatal: list[BaseException] = []
        self.unread = 0  # messages of the last request that the edge did not ask for
        self.commit = GroupCommit(
            self.log, pending_bytes_max=self.pending_bytes_max, on_fatal=self.fatal.append, pause=lambda: 0.0
        )
        self.backlog = BacklogBeside(Backlog(self.log, self.progress, events_max=BACKLOG_EVENTS_MAX))
        self.stream = MeterEventStream(SessionCache(self.sessions, self.clock), self.backlog, self.commit)

    def post(self, events: object, **options: Any) -> Answer:
        return self.send(json.dumps({"events": events}).encode(), **options)

    def send(self, body: bytes | Sequence[bytes], **options: Any) -> Answer:
        """A request, and then time for the look at the backlog that it began beside itself."""

        async def sent() -> Answer:
            try:
                return await self.sent(body, **options)
            finally:
                while self.backlog._next_look is not None:
                    await asyncio.sleep(0)

        return asyncio.run(sent())

    async def sent(
        self,
        body: bytes | Sequence[bytes],
        *,
        method: str = "POST",
        authorization: str | None = None,
        headers: Mapping[str, str] | None = None,
        leaves: bool = False,
    ) -> Answer:
        """One request, its body in as many messages as there are parts; `leaves`: the client goes before the last."""
        parts = [body] if isinstance(body, bytes) else list(body)
        given = {"authorization": authorization or f"Bearer {self.token}", **(headers or {})}
        fields = [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value]
        scope = {
            "type": "http",
            "method": method,
            "path": PATH,
            "query_string": b"",
            "headers": fields,
        }
        answered: list[dict[str, Any]] = []
        if self.at_once and method == "POST" and len(parts) == 1 and not leaves:
            settled: asyncio.Future[Rendered] = asyncio.get_running_loop().create_future()
            if self.stream.at_once(fields, bytearray(parts[0]), settled.set_result):
                status, answer_fields, content = await settled
                answered = [{"status": status, "headers": answer_fields}, {"body": content}]
        messages = [
            {"type": "http.request", "body": part, "more_body": leaves or at + 1 < len(parts)}
            for at, part in enumerate(parts)
        ]
        messages.append({"type": "http.disconnect"})

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: Any) -> None:
            answered.append(message)

        if not answered:
            await self.stream(scope, receive, send)
        self.unread = len(messages)
        start, end = answered
        answer_headers = {name.decode(): value.decode() for name, value in start["headers"]}
        assert answer_headers["request-id"].startswith("req_")
        assert int(answer_headers.get("content-length", len(end["body"]))) == len(end["body"])
        assert answer_headers["content-type"] == "application/json"
        assert faults_of_response(method, PATH, start["status"], end["body"]) == []
        return Answer(start["status"], answer_headers, end["body"])

    def stored(self) -> list[dict[str, Any]]:
        """Every stored event, with whom it came from."""
        rows: list[dict[str, Any]] = []
        for record in self.log.read(0, events_max=10**6):
            block = decode(record.block)
            rows += [{**row, "origin": block.origins[row["origin"]]} for row in block.events.to_pylist()]
        return rows


@pytest.fixture(params=["as a task", "at once"])
def edge(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Edge]:
    monkeypatch.setattr(backlog_module, "_LOOK_SECONDS", -1.0)
    monkeypatch.setattr(backlog_module, "_AFTER_SECONDS", 0.0)
    made = Edge(at_once=request.param == "at once")
    yield made
    made.log.open.set()
    asyncio.run(made.commit.close())


# --- what is accepted


def test_accepted_events_are_in_the_log_as_they_were_sent_before_the_answer(edge: Edge) -> None:
    payload = {"b": "", "a": "x" * 5_000, "value": "1"}
    event = {
        "event_name": "calls",
        "identifier": "a-1 🪣",
        "timestamp": "2026-06-01T12:00:00.123Z",
        "payload": payload,
    }
    answer = edge.post([event, GOOD])
    assert (answer.status, answer.body) == (200, b"{}")
    first, second = edge.stored()
    assert (first["event_name"], first["identifier"], first["timestamp_ms"]) == ("calls", "a-1 🪣", 1_780_315_200_123)
    assert first["payload"] == list(payload.items())
    assert second["timestamp_ms"] == ABSENT_MS
    assert first["origin"].tenant == TENANT and first["origin"].key_id == edge.key.id
    assert edge.log.accepted() == {TENANT: Tally(events=2)}


@pytest.mark.parametrize(
    ("timestamp", "expected_ms"),
    [
        ("2026-06-01T12:00:00Z", 1_780_315_200_000),
        ("2026-06-01T14:00:00+02:00", 1_780_315_200_000),
        (1_780_315_200, 1_780_315_200_000),  # what official clients send for native dates
        ("1780315200", 1_780_315_200_000),
        (None, ABSENT_MS),
    ],
)
def test_every_form_of_a_timestamp_is_accepted(edge: Edge, timestamp: object, expected_ms: int) -> None:
    assert edge.post([{**GOOD, "timestamp": timestamp}]).status == 200
    assert [row["timestamp_ms"] for row in edge.stored()] == [expected_ms]


def test_an_event_without_an_identifier_gets_one_of_its_own(edge: Edge) -> None:
    assert edge.post([GOOD, {**GOOD, "identifier": None}, {**GOOD, "identifier": "given"}, GOOD]).status == 200
    made = [row["identifier"] for row in edge.stored()]
    assert made[2] == "given"
    assert len(set(made)) == 4
    assert all(len(each) == 32 for each in (made[0], made[1], made[3]))


def test_a_request_that_is_repeated_under_its_key_makes_the_same_identifiers(edge: Edge) -> None:
    """What an official client does by itself when it got no answer."""
    key, other = {"idempotency-key": "k"}, {"idempotency-key": "other"}
    for headers in (key, key, other, None):
        assert edge.post([GOOD, GOOD], headers=headers).status == 200
    assert edge.post([GOOD, {**GOOD, "timestamp": 0}], headers=key).status == 200
    body = json.dumps({"events": [GOOD]}).encode()
    empty = [columns_of(Principal(TENANT, "key_1"), body, name).identifiers for name in ("", "")]
    assert empty[0] != empty[1]  # an empty header names nothing
    made = [row["identifier"] for row in edge.stored()]
    assert made[0:2] == made[2:4]
    assert len(set(made)) == len(made) - 2  # all others are events of their own
    assert all(len(each) == 32 for each in made)


@pytest.mark.parametrize(
    "event",
    [
        {**GOOD, "event_name": "x" * 100},
        {**GOOD, "event_name": "é" * 100},  # characters, not bytes
        {**GOOD, "identifier": "🪣" * 100},
        {**GOOD, "identifier": "\0"},
        {**GOOD, "payload": {}},
        {**GOOD, "payload": {"k" * 100: "v" * 5_000}},
        {**GOOD, "payload": {f"k{at}": "" for at in range(100)}},
        {**GOOD, "event_name": "no such meter"},  # meaning is judged later
        {**GOOD, "payload": {"value": "not a number"}},
        {**GOOD, "timestamp": "1999-01-01T00:00:00Z"},
    ],
)
def test_what_is_within_the_bounds_is_accepted_whatever_it_means(edge: Edge, event: dict[str, Any]) -> None:
    assert edge.post([event]).status == 200
    assert len(edge.stored()) == 1


def test_a_request_may_have_a_hundred_events_and_a_mebibyte(edge: Edge) -> None:
    assert edge.post([GOOD] * 100).status == 200
    body = json.dumps({"events": [GOOD]}).encode()
    full = body + b" " * (MEBIBYTE - len(body))
    assert edge.send(full, headers={"content-length": str(MEBIBYTE)}).status == 200
    assert edge.send([full[:1_000], full[1_000:], b""]).status == 200
    assert len(edge.stored()) == 102


# --- structure that is refused


def _events(at: int, event: object) -> bytes:
    """A request whose event number `at` is this one."""
    return json.dumps({"events": [*[GOOD] * at, event]}).encode()


REFUSED = [
    (_events(3, {**GOOD, "payload": {"a": "1", "value": 5}}), "events[3].payload.value"),
    (_events(0, {**GOOD, "payload": {"value": None}}), "events[0].payload.value"),
    (_events(0, {**GOOD, "payload": {"value": {"deep": 1}}}), "events[0].payload.value"),
    (_events(99, {**GOOD, "payload": {"value": "v" * 5_001}}), "events[99].payload.value"),
    (_events(2, {**GOOD, "payload": {"k" * 101: "1"}}), "events[2].payload"),
    (_events(2, {**GOOD, "payload": {"": "1"}}), "events[2].payload"),
    (_events(2, {**GOOD, "payload": {f"k{at}": "" for at in range(101)}}), "events[2].payload"),
    (_events(2, {**GOOD, "payload": None}), "events[2].payload"),
    (_events(2, {**GOOD, "payload": [["value", "1"]]}), "events[2].payload"),
    (_events(2, {**GOOD, "payload": "value=1"}), "events[2].payload"),
    (_events(1, {**GOOD, "timestamp": "yesterday"}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": "2026-02-30T00:00:00.000Z"}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": "2026-06-01T12:00:00.000Z\0"}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": ""}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": "1" * 5_000}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": 1.5}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": True}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": 10**30}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": 1_780_315_200_000}), "events[1].timestamp"),
    (_events(1, {**GOOD, "timestamp": {}}), "events[1].timestamp"),
    (_events(0, {**GOOD, "event_name": "x" * 101}), "events[0].event_name"),
    (_events(0, {**GOOD, "event_name": ""}), "events[0].event_name"),
    (_events(0, {**GOOD, "event_name": None}), "events[0].event_name"),
    (_events(0, {**GOOD, "event_name": 5}), "events[0].event_name"),
    (_events(0, {"event_name": "calls"}), "events[0]"),  # no payload
    (_events(0, {"payload": {}}), "events[0]"),  # no event name
    (_events(0, {**GOOD, "customer": "cus_1"}), "events[0].customer"),  # unknown field
    (_events(0, {**GOOD, "identifier": ""}), "events[0].identifier"),
    (_events(0, {**GOOD, "identifier": "x" * 101}), "events[0].identifier"),
    (_events(0, {**GOOD, "identifier": 7}), "events[0].identifier"),
    (_events(1, None), "events[1]"),
    (_events(1, [GOOD]), "events[1]"),
    (_events(1, "event"), "events[1]"),
    (b'{"events": []}', "events"),
    (json.dumps({"events": [GOOD] * 101}).encode(), "events"),
    (b'{"events": {}}', "events"),
    (b'{"events": null}', "events"),
    (b'{"events": "x"}', "events"),
    (b"{}", None),
    (b'{"event": []}', "event"),
    (json.dumps({"events": [GOOD], "account": "acct_1"}).encode(), "account"),
    (b"[]", None),
    (b"null", None),
    (b'"events"', None),
    (b"", None),
    (b" ", None),
    (b"events=1", None),
    (b'{"events": [', None),
    (json.dumps({"events": [GOOD]}).encode() + b"x", None),
    (json.dumps({"events": [GOOD]}).encode() * 2, None),
    (b"\xef\xbb\xbf" + json.dumps({"events": [GOOD]}).encode(), None),
    (json.dumps({"events": [GOOD]}).encode("utf-16"), None),
    (b'{"events": [{"event_name": "\xff", "payload": {}}]}', None),
    (b'{"events": [{"event_name": "a", "payload": {"value": "\xed\xa0\x80"}}]}', None),  # a surrogate in UTF-8
    (b'{"events": [{"event_name": "\\ud800", "payload": {}}]}', None),
    (b'{"events": [{"event_name": "a", "identifier": "\\udfff", "payload": {}}]}', None),
    (b'{"events": [{"event_name": "a", "payload": {"\\ud83e": "1"}}]}', None),
    (b'{"events": [{"event_name": "a", "payload": {"value": "\\ud83e\\u0041"}}]}', None),
    (b'{"events": [{"event_name": "a\nb", "payload": {}}]}', None),  # a line break that is not escaped
    (b'{"events": NaN}', None),
]


@pytest.mark.parametrize(("body", "path"), REFUSED)
def test_a_fault_of_structure_is_refused_with_its_path_and_nothing_is_stored(
    edge: Edge, body: bytes, path: str | None
) -> None:
    answer = edge.send(body)
    assert answer.status == 400
    assert answer.error["code"] == "invalid_fields"
    assert answer.error.get("param") == path
    if path is not None:
        assert path in answer.error["message"]  # clients print only that
    assert edge.stored() == []
    # One body more in the same process: a refusal leaves nothing behind.
    assert edge.post([GOOD]).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"events":' + b"[" * 500_000,
        b'{"events":[{"event_name":"a","payload":' + b'{"a":' * 100_000,
        b'{"events":[{"event_name":"a","payload":{"a":1,"b":' + b"[" * 500_000,
        b'{"events":[{"event_name":"a","payload":{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}}]}",
        b'{"x":' * 1_000 + b"1" + b"}" * 1_000,
    ],
    ids=["arrays", "events", "payloads", "beside a fault", "closed", "unknown"],
)
def test_deep_nesting_is_refused_not_stumbled_over(edge: Edge, body: bytes) -> None:
    assert edge.send(body).status == 400
    assert edge.stored() == []


@pytest.mark.parametrize(
    "name",
    [
        "x - at `$.events[9].payload[...]",
        "x - at `$.events[99999999999999999999].payload[...]",
        "x` - at `$.events[0].payload[...]",
        "x` - at `$.a[",
        "`" * 1_000,
        "$",
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_names_that_look_like_our_own_messages_do_no_harm(edge: Edge, name: str, inside: bool) -> None:
    document: dict[str, Any] = {"events": [{**GOOD, name: 1}]} if inside else {"events": [GOOD], name: 1}
    assert edge.send(json.dumps(document).encode()).status == 400
    assert edge.stored() == []


def test_a_body_over_a_mebibyte_is_too_large_by_its_announced_length(edge: Edge) -> None:
    # Known before anything of it was read, and before the credential is looked at.
    answer = edge.send(b"", headers={"content-length": str(MEBIBYTE + 1)})
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert edge.stored() == []


@pytest.mark.parametrize("parts", [1, 2, 17])
@pytest.mark.parametrize("announced", [None, "10", "x"])
def test_a_body_over_a_mebibyte_is_too_large_also_without_an_honest_length(
    edge: Edge, parts: int, announced: str | None
) -> None:
    body = json.dumps({"events": [GOOD]}).encode()
    body += b" " * (MEBIBYTE + 1 - len(body))
    size = -(-len(body) // parts)
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    answer = edge.send(chunks, headers={} if announced is None else {"content-length": announced})
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert edge.stored() == []


def test_a_body_without_an_end_is_not_read_further_than_its_bound(edge: Edge) -> None:
    assert edge.send([b" " * 2**16] * 1_000).status == 413
    assert edge.unread > 980


def test_a_client_that_leaves_before_the_end_of_its_body_stores_nothing(edge: Edge) -> None:
    body = json.dumps({"events": [GOOD]}).encode()
    for parts in ([body], [body[:10], body[10:]], [b""]):
        edge.send(parts, leaves=True)
    assert edge.stored() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_post_is_allowed(edge: Edge, method: str) -> None:
    answer = edge.send(json.dumps({"events": [GOOD]}).encode(), method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert edge.stored() == []


# --- credentials


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        (" ", "meter_event_session"),
        ("Bearer", "meter_event_session"),
        ("Bearer ", "meter_event_session"),
        ("{token}", "meter_event_session"),
        ("Basic {token}", "meter_event_session"),
        ("Token {token}", "meter_event_session"),
        ("Bearer {secret}", "API key"),
        ("Bearer rk_test_0123456789", "API key"),
        ("Bearer mest_test_unknown", "Unknown"),
        ("Bearer {token}x", "Unknown"),
        ("Bearer {token} {token}", "Unknown"),
        ("Bearer \xff\xfe", "Unknown"),
    ],
)
def test_without_the_token_of_a_session_it_is_401_that_says_what_to_use(
    edge: Edge, authorization: str, says: str
) -> None:
    given = authorization.format(token=edge.token, secret=edge.secret)
    answer = edge.post([GOOD], authorization=given)
    assert answer.status == 401
    assert says in answer.error["message"]
    assert (answer.error["code"], answer.error.get("type")) == ("invalid_credentials", None)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert edge.token not in answer.body.decode() and edge.secret not in answer.body.decode()
    assert edge.stored() == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  ", "  Bearer"])
def test_the_scheme_is_read_in_any_case(edge: Edge, scheme: str) -> None:
    assert edge.post([GOOD], authorization=f"{scheme} {edge.token} ").status == 200


def test_a_bad_credential_is_told_before_a_bad_body(edge: Edge) -> None:
    assert edge.send(b"nonsense", authorization="Bearer mest_test_unknown").status == 401


def test_an_expired_session_is_401_by_the_type_that_official_clients_look_for(edge: Edge) -> None:
    edge.clock.at_ms += 900_000 - 1
    assert edge.post([GOOD]).status == 200
    edge.clock.at_ms += 1
    for _ in range(2):
        answer = edge.post([GOOD])
        assert answer.status == 401
        assert answer.error["type"] == "temporary_session_expired"
        assert answer.error["code"] == "billing_meter_event_session_expired"
    assert len(edge.stored()) == 1


def test_a_session_dies_with_its_key(edge: Edge) -> None:
    assert edge.post([GOOD]).status == 200
    edge.keys.revoke(edge.key.id)
    edge.clock.at_ms += 5_000
    assert edge.post([GOOD]).status == 401
    assert len(edge.stored()) == 1


def test_events_belong_to_the_account_and_mode_of_the_session(edge: Edge) -> None:
    live_key, _ = edge.keys.create(LIVE)
    _, live_token = edge.sessions.open(Principal(LIVE, live_key.id), "sk_live_any")
    edge.post([GOOD])
    edge.post([GOOD, GOOD], authorization=f"Bearer {live_token}")
    assert edge.log.accepted() == {TENANT: Tally(events=1), LIVE: Tally(events=2)}


@pytest.mark.parametrize("header", ["stripe-account", "stripe-context"])
def test_events_for_another_account_are_refused_because_they_would_be_counted_here(edge: Edge, header: str) -> None:
    answer = edge.post([GOOD], headers={header: "acct_other"})
    assert (answer.status, answer.error["code"]) == (403, "account_invalid")
    assert "acct_other" in answer.error["message"] and TENANT.account_id in answer.error["message"]
    assert edge.stored() == []
    assert edge.post([GOOD], headers={header: TENANT.account_id}).status == 200


def test_an_account_is_only_told_to_whoever_has_a_token_of_it(edge: Edge) -> None:
    answer = edge.post([GOOD], authorization="Bearer mest_test_unknown", headers={"stripe-account": "acct_other"})
    assert answer.status == 401 and TENANT.account_id not in answer.body.decode()


# --- content types


@pytest.mark.parametrize("given", ["application/json", "application/json; charset=utf-8", "Application/JSON", ""])
def test_json_is_taken_under_its_type_or_none(edge: Edge, given: str) -> None:
    assert edge.post([GOOD], headers={"content-type": given}).status == 200


@pytest.mark.parametrize(
    "given",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "application/jsonl", "\xff"],
)
def test_any_other_type_is_refused_before_the_body_is_read(edge: Edge, given: str) -> None:
    answer = edge.post([GOOD], headers={"content-type": given})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert "application/json" in answer.error["message"]
    assert edge.unread == 2  # the body, and that the client has gone
    assert edge.stored() == []


@pytest.mark.parametrize("given", ["gzip", "br", "GZIP", "identity, gzip"])
def test_a_packed_body_is_refused_before_it_is_read(edge: Edge, given: str) -> None:
    answer = edge.post([GOOD], headers={"content-encoding": given})
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")
    assert edge.unread == 2
    assert edge.stored() == []


def test_a_body_that_is_said_to_be_as_it_is_is_taken(edge: Edge) -> None:
    assert edge.post([GOOD], headers={"content-encoding": "identity"}).status == 200


# --- overload and failure


def assert_come_again(answer: Answer, code: str) -> None:
    assert (answer.status, answer.error["code"]) == (503, code)
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["stripe-should-retry"] == "true"


def test_a_full_backlog_is_503_that_says_when_to_come_again_and_stores_nothing(edge: Edge) -> None:
    for _ in range(BACKLOG_EVENTS_MAX // 100):
        assert edge.post([GOOD] * 100).status == 200
    edge.backlog._look()  # the one that was due may have been made before the last were appended
    assert_come_again(edge.post([GOOD]), "backlog_full")
    assert len(edge.stored()) == BACKLOG_EVENTS_MAX


def test_requests_over_the_bound_of_waiting_bytes_are_refused_while_the_others_wait(edge: Edge) -> None:
    body = json.dumps({"events": [GOOD]}).encode()
    edge.commit._pending_bytes_max = len(body)

    async def scenario() -> tuple[list[Answer], list[Answer]]:
        edge.log.open.clear()
        answered = [asyncio.create_task(edge.sent(body))]
        while edge.commit._appending is None or edge.commit._pending:  # until it is being appended
            await asyncio.sleep(0.001)
        answered.append(asyncio.create_task(edge.sent(body)))
        while not edge.commit._pending:
            await asyncio.sleep(0.001)
        refused = [await edge.sent(body) for _ in range(2)]
        edge.log.open.set()
        return await asyncio.gather(*answered), refused

    answered, refused = asyncio.run(scenario())
    assert [answer.status for answer in answered] == [200, 200]
    for answer in refused:
        assert_come_again(answer, "backlog_full")
    assert len(edge.stored()) == 2


def test_a_full_disk_is_503_and_passes(edge: Edge) -> None:
    edge.log.failure = StorageFull("the disk is full")
    assert_come_again(edge.post([GOOD]), "storage_full")
    edge.log.failure = None
    assert edge.post([GOOD]).status == 200
    assert (len(edge.stored()), edge.fatal) == (1, [])


def test_a_failure_that_nobody_foresaw_is_a_bare_500_and_never_an_acknowledgement(edge: Edge) -> None:
    edge.log.failure = RuntimeError("something with a path in it")
    answer = edge.post([GOOD])
    assert answer.status == 500
    assert b"path" not in answer.body
    assert edge.stored() == []
    assert edge.fatal == [edge.log.failure]


def test_requests_that_arrive_together_are_all_answered(edge: Edge) -> None:
    async def scenario() -> list[Answer]:
        bodies = [json.dumps({"events": [{**GOOD, "identifier": f"e{at}"}]}).encode() for at in range(50)]
        bodies[20] = b"nonsense"
        return await asyncio.gather(*(edge.sent(body) for body in bodies))

    statuses = [answer.status for answer in asyncio.run(scenario())]
    assert statuses == [200] * 20 + [400] + [200] * 29
    assert {row["identifier"] for row in edge.stored()} == {f"e{at}" for at in range(50) if at != 20}


def test_ids_of_answers_differ_and_what_clients_expect_back_is_echoed(edge: Edge) -> None:
    sent = {"idempotency-key": "abc", "stripe-version": "2026-01-01"}
    answers = [edge.post([GOOD], headers=sent), edge.send(b"x", headers=sent)]
    assert answers[0].headers["request-id"] != answers[1].headers["request-id"]
    for answer in answers:
        assert {name: answer.headers[name] for name in sent} == sent


def test_the_answer_of_success_is_an_empty_json_object(edge: Edge) -> None:
    assert msgspec.json.decode(edge.post([GOOD]).body) == {}
