"""One function per decoder: it takes any bytes and fails when something else happens than what is documented.

The bytes are those that the decoder gets, so that a corpus can be read and written by hand; where a decoder takes more
than bytes, the first line says the rest.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
import pyarrow as pa

from streamgauge import native
from streamgauge.api.event_fields import milliseconds_of
from streamgauge.api.forms import Params, Value, decode_body
from streamgauge.api.hop import Frames, HandedAnswer, HandedRequest, framed
from streamgauge.api.operation import RawRequest
from streamgauge.api.parameters import Parameters, parse
from streamgauge.api.v1 import customers, event_summaries, lists, meter_event_adjustments, meter_events, meters
from streamgauge.api.v2.json_body import JsonBody
from streamgauge.api.v2.meter_event_adjustments import AdjustmentParameters
from streamgauge.api.v2.meter_event_session import SessionParameters
from streamgauge.api.v2.meter_events import MeterEventParameters
from streamgauge.api.v2.stream_body import columns_of, request_of
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CancelBlock, decode_cancels, encode_cancels
from streamgauge.domain.credential import Principal
from streamgauge.domain.decimals import parse_values
from streamgauge.domain.errors import InvalidRequest, UnsupportedMediaType
from streamgauge.domain.event_block import PackedRequest, RequestColumns, block_of, decode, encode
from streamgauge.domain.fate import REJECTION_CODES
from streamgauge.domain.identifier_hash import hash_identifiers, hash_names
from streamgauge.domain.log_block import decode_block
from streamgauge.domain.meter_event import ABSENT_MS, InvalidTimestamp, parse_timestamps
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.redrive import RedriveBlock, decode_redrive, encode_redrive
from tests.fuzz import references

CALLER: Final = Principal(Tenant("acct_1", False), "key_1", "mes_1")


@dataclass(frozen=True)
class Target:
    """`words` are what a mutation may put in at once: it would take long to find them letter by letter."""

    check: Callable[[bytes], None]
    words: tuple[str, ...] = field(default=())


def stream_body(data: bytes) -> None:
    """Accepted exactly when a plain reading of the rules accepts it, and then with the same content, both ways."""
    columns: RequestColumns | None = None
    try:
        columns = columns_of(CALLER, data, "key")
    except InvalidRequest as refusal:
        assert refusal.message
    if native.compiled is not None and native.compiled.parse(data) is not None:
        assert columns is not None, "the compiled part takes what is refused"
        packed = request_of(CALLER, data, "key")
        assert isinstance(packed, PackedRequest)
        assert block_of([packed]).events.equals(block_of([columns]).events)
    try:
        document = references.json_of(data)
    except (ValueError, RecursionError):
        assert columns is None
        return
    except references.Undecided:
        return
    assert (columns is not None) == references.is_stream_request(document), document
    if columns is None:
        return
    events = document["events"]
    payloads = [event["payload"] for event in events]
    assert columns.event_names == [event["event_name"] for event in events]
    assert [event.get("identifier") or made for event, made in zip(events, columns.identifiers, strict=True)] == (
        columns.identifiers
    )
    assert columns.timestamps_ms.tolist() == [_timestamp(event) for event in events]
    assert columns.payload_sizes == list(map(len, payloads))
    assert columns.payload_keys == [key for payload in payloads for key in payload]
    assert columns.payload_values == [value for payload in payloads for value in payload.values()]


def _timestamp(event: Mapping[str, Any]) -> int:
    given = event.get("timestamp")
    found = ABSENT_MS if given is None else references.milliseconds(given)
    assert found is not None
    return found


JSON_BODIES: Final[Mapping[str, tuple[type[JsonBody], Callable[[Any], bool]]]] = {
    "meter_event": (MeterEventParameters, references.is_event),
    "adjustment": (AdjustmentParameters, references.is_adjustment),
    "session": (SessionParameters, lambda document: document == {}),
}


def json_body(data: bytes) -> None:
    """The first line names the operation."""
    name, _, body = data.partition(b"\n")
    kind, is_accepted = JSON_BODIES.get(name.decode("latin-1"), JSON_BODIES["meter_event"])
    given: JsonBody | None = None
    try:
        given = kind.read(RawRequest(query=b"", body=body, content_type="application/json"))
        if isinstance(given, MeterEventParameters):
            milliseconds_of(given.timestamp)
    except InvalidRequest as refusal:
        assert refusal.message
        given = None
    try:
        document = references.json_of(body) if body.strip() else {}
    except (ValueError, RecursionError):
        assert given is None
        return
    except references.Undecided:
        return
    assert (given is not None) == is_accepted(document), document
    if given is not None:
        said = msgspec.to_builtins(given)
        assert {name: value for name, value in said.items() if value is not None} == {
            name: value for name, value in document.items() if value is not None
        }


FORMS: Final[Mapping[str, type[Parameters]]] = {
    "none": Parameters,
    "list": lists.ListParameters,
    "meter": meters.CreateParameters,
    "meter_update": meters.UpdateParameters,
    "meter_list": meters.MeterListParameters,
    "customer": customers.CustomerParameters,
    "customer_update": customers.UpdateParameters,
    "customer_list": customers.CustomerListParameters,
    "event": meter_events.MeterEventParameters,
    "adjustment": meter_event_adjustments.AdjustmentParameters,
    "summaries": event_summaries.SummaryParameters,
}


def form_body(data: bytes) -> None:
    """The first line names the operation. What is decoded holds just the pairs that the standard library reads; what
    is then taken as parameters can be written as JSON."""
    name, _, body = data.partition(b"\n")
    kind = FORMS.get(name.decode("latin-1"), meters.CreateParameters)
    try:
        params = decode_body(body, None)
    except (InvalidRequest, UnsupportedMediaType) as refusal:
        assert refusal.message
        return
    # Percent signs stand for bytes, which may stand beside other bytes of the same letter: both as one-byte letters.
    pairs = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=2_000)
    said = Counter((_utf_8(key), _utf_8(value)) for key, value in pairs)
    assert Counter(_pairs(params)) == said
    try:
        given = parse(kind, params)
        if isinstance(given, meter_events.MeterEventParameters) and given.timestamp is not msgspec.UNSET:
            milliseconds_of(given.timestamp)
    except InvalidRequest as refusal:
        assert refusal.message
        return
    assert {name.partition("[")[0] for name, _ in said} <= {each.encode_name for each in msgspec.structs.fields(kind)}
    msgspec.json.encode(given)


def _utf_8(one_byte_letters: str) -> str:
    return one_byte_letters.encode("latin-1").decode("utf-8")


def _pairs(params: Params, prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in params.items():
        found += _pairs_of(value, f"{prefix}[{name}]" if prefix else name)
    return found


def _pairs_of(value: Value, key: str) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(key, value)]
    return [(f"{key}[]", each) for each in value] if isinstance(value, list) else _pairs(value, key)


def timestamps(data: bytes) -> None:
    """Lines are the timestamps of one request: `#` before a whole number, `-` alone for none, else a text."""
    try:
        given = [_given_timestamp(line) for line in data.decode("utf-8").split("\n")]
    except ValueError:
        return
    expected = [ABSENT_MS if each is None else references.milliseconds(each) for each in given]
    try:
        found = parse_timestamps(given).tolist()
    except InvalidTimestamp as refusal:
        assert refusal.at == expected.index(None), (given, refusal.at)
        return
    assert found == expected, (given, found, expected)


def _given_timestamp(line: str) -> str | int | None:
    if line.startswith("#"):
        return int(line[1:20])
    return None if line == "-" else line


def decimals(data: bytes) -> None:
    """Values of a column, with a byte 0x1f between them; one that is only 0x00 is missing."""
    try:
        texts = [None if text == "\x00" else text for text in data.decode("utf-8").split("\x1f")]
    except ValueError:
        return
    parsed_values = parse_values(pa.array(texts, pa.string()))
    values, codes = parsed_values.value, parsed_values.code
    found = [
        REJECTION_CODES[code] if code else value for value, code in zip(values.to_pylist(), codes.tolist(), strict=True)
    ]
    assert found == [references.value_or_code(text) for text in texts], texts


def log_record(data: bytes) -> None:
    """What is read as a record can be counted, judged and written again, and then reads the same."""
    try:
        block = decode_block(data)
    except ValueError:
        return
    tallies = block.tallies
    assert sum(tally.entries for tally in tallies.values()) == len(block)
    if isinstance(block, CancelBlock):
        assert decode_cancels(encode_cancels(block)) == block
        if len(block):
            hash_names([(each.origin.tenant, each.identifier) for each in block.requests])
        return
    first = None
    if isinstance(block, RedriveBlock):
        once_more = decode_redrive(encode_redrive(block))
        first, block = once_more.first_receipt, block.events
        assert len(first) == len(block)
    again = decode(encode(block))
    assert again.origins == block.origins and again.events.equals(block.events)
    if len(block):
        events = received([LoggedBlock(block, 0, 0, first)])
        hash_identifiers(events.identifier, events.tenant, events.tenants)


def hop_frames(data: bytes) -> None:
    """The first byte says in which pieces the rest arrives; messages do not depend on it, and nothing is left over
    but the last one's beginning."""
    step, stream = (data[0] or 256) if data else 256, data[1:]
    expected, is_message, rest = _messages(stream)
    frames = Frames()
    found: list[bytes] = []
    refused = False
    try:
        for at in range(0, len(stream), step):
            found += frames.feed(stream[at : at + step])
    except ValueError:
        refused = True
    assert (found, refused) == (expected, not is_message), (step, rest)
    for message in found:
        _check_message(message, HandedRequest)
        _check_message(message, HandedAnswer)


def _check_message(message: bytes, kind: type[HandedRequest] | type[HandedAnswer]) -> None:
    try:
        handed = msgspec.msgpack.decode(message, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    (again,) = Frames().feed(framed(handed))
    assert msgspec.msgpack.decode(again, type=kind) == handed


def _messages(stream: bytes) -> tuple[list[bytes], bool, bytes]:
    found: list[bytes] = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "big")
        if length > 2**26:
            return found, False, stream
        if len(stream) < 4 + length:
            break
        found.append(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return found, True, stream


_EVENT_WORDS: Final = (
    '{"event_name":"a","payload":{"value":"1"}}',
    '"event_name":',
    '"payload":',
    '"identifier":',
    '"timestamp":',
    '"2026-06-01T12:00:00Z"',
    "1780272000",
    "null",
    '"',
    "{}",
    "[]",
    ",",
    "\\u0000",
    "\\ud800",
)
_FORM_WORDS: Final = tuple(
    sorted(
        {each.encode_name + "=" for kind in FORMS.values() for each in msgspec.structs.fields(kind)}
        | {*(f"{name}\n" for name in FORMS), "[]", "[0]", "[a]", "&", "=", "%00", "%5B", "%5D", "%C3%A9", "+", "null"}
        | {"default_aggregation[formula]=sum", "payload[value]=1", "customer_mapping[type]=by_id", "metadata[a]=b"}
        | {
            "default_aggregation[formula]=count",
            "event_time_window=day",
            "value_grouping_window=hour",
            "cancel[identifier]=",
        }
    )
)

TARGETS: Final[Mapping[str, Target]] = {
    "stream_body": Target(stream_body, ('{"events":[', "]}", "2026-06-01T12:00:00.123+02:00", *_EVENT_WORDS)),
    "json_body": Target(
        json_body,
        ("meter_event\n", "adjustment\n", "session\n", '"cancel":{"identifier":', '"type":"cancel"', *_EVENT_WORDS),
    ),
    "form_body": Target(form_body, _FORM_WORDS),
    "timestamps": Target(
        timestamps,
        (
            "2026-06-01T12:00:00.000Z",
            "2026-06-01 12:00:00 UTC",
            "2026-06-01 12:00:00 +0200",
            "+02:00",
            "-23:59",
            "\n-\n",
            "#",
        ),
    ),
    "decimals": Target(decimals, ("\x1f", "\x00", "0.5", "-1", "999999999999999", "1e5", "\n")),
    "log_record": Target(
        log_record,
        ('{"format":"cancellations 1","requests":[', '["acct_1",false,"key_1","a","b"]', "]}", "origins", "format"),
    ),
    "hop_frames": Target(hop_frames, ("\x00\x00\x00\x02", "\x00\x00\x00\x00", "\x04\x00\x00\x00", "\x97\x01\xa3GET")),
}
