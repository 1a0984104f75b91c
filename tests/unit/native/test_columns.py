"""The compiled part reads what programs usually send, just as the decoder in Python does; all else it leaves alone."""

import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge import native
from streamgauge.api.v2.stream_body import columns_of, request_of
from streamgauge.domain.credential import Principal
from streamgauge.domain.event_block import PackedRequest, RequestColumns, block_of, decode, encoded
from streamgauge.domain.meter import EVENT_NAME_LENGTH_MAX, PAYLOAD_KEY_LENGTH_MAX
from streamgauge.domain.meter_event import IDENTIFIER_LENGTH_MAX, PAYLOAD_VALUE_LENGTH_MAX, REQUEST_EVENTS_MAX
from tests.support.world import TENANT

if native.compiled is None:
    pytest.skip("the compiled part is not built here", allow_module_level=True)

CALLER = Principal(TENANT, "key_1", "mes_1")
GOOD: dict[str, Any] = {"event_name": "calls", "payload": {"stripe_customer_id": "cus_1", "value": "1"}}
IDENTIFIED = {**GOOD, "identifier": str(uuid4()), "timestamp": "2026-06-01T12:00:00.123Z"}
LATEST_SECONDS = 99_999_999_999  # of as many digits as are taken


def body_of(*events: dict[str, Any], **options: Any) -> bytes:
    return json.dumps({"events": events}, **options).encode()


def is_read(body: bytes) -> bool:
    """Whether the compiled part reads it; then it must be what the decoder in Python makes of it."""
    packed = request_of(CALLER, body, "key") if native.compiled.parse(body) is not None else None  # type: ignore[union-attr]
    if packed is None:
        return False
    assert isinstance(packed, PackedRequest)
    expected = columns_of(CALLER, body, "key")
    assert len(packed) == len(expected) and packed.size_bytes == expected.size_bytes
    assert block_of([packed]).events.equals(block_of([expected]).events)
    return True


LETTERS = {"ensure_ascii": False}
COMMON = {
    "all members": body_of(IDENTIFIED),
    "a full request": body_of(*[IDENTIFIED] * REQUEST_EVENTS_MAX),
    "as Python writes it": body_of(GOOD, IDENTIFIED),
    "without spaces": body_of(GOOD, separators=(",", ":")),
    "indented": b" \r\n\t" + body_of(GOOD, indent=3) + b" \r\n\t",
    "no identifier": body_of(GOOD, {**GOOD, "identifier": None}),
    "a text for an identifier": body_of({**GOOD, "identifier": "order-1"}),
    "a UUID in capitals": body_of({**GOOD, "identifier": str(uuid4()).upper()}),
    "hexadecimal digits": body_of({**GOOD, "identifier": uuid4().hex}),
    "nearly a UUID": body_of(
        *[{**GOOD, "identifier": str(uuid4())[:at] + "g" + str(uuid4())[at + 1 :]} for at in range(36)]
    ),
    "an empty payload": body_of({**GOOD, "payload": {}}),
    "an empty value": body_of({**GOOD, "payload": {"value": ""}}),
    "other letters": body_of({**GOOD, "identifier": "é🪣", "payload": {"ключ": "\x7f ߿ࠀ퟿𐀀"}}, **LETTERS),
    "no timestamp": body_of({**GOOD, "timestamp": None}),
    "the longest names": body_of(
        {
            "event_name": "é" * EVENT_NAME_LENGTH_MAX,
            "identifier": "🪣" * IDENTIFIER_LENGTH_MAX,
            "payload": {"é" * PAYLOAD_KEY_LENGTH_MAX: "🪣" * PAYLOAD_VALUE_LENGTH_MAX},
        },
        **LETTERS,
    ),
    "sixty-four keys": body_of({**GOOD, "payload": {str(each): "" for each in range(64)}}),
    "the same keys in each payload": body_of(*[{**GOOD, "payload": {str(each): "" for each in range(64)}}] * 100),
}


@pytest.mark.parametrize("name", COMMON)
def test_what_programs_send_is_read(name: str) -> None:
    assert is_read(COMMON[name])


@pytest.mark.parametrize(
    "timestamp",
    [
        *("2026-06-01T12:00:00Z", "2026-06-01T12:00:00.1Z", "2026-06-01T12:00:00.123456789Z"),
        *("2026-06-01T12:00:00+00:00", "2026-06-01T23:59:59.999-23:59", "2026-06-01T12:00:00.5+05:30"),
        *("2024-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "1969-12-31T23:59:59.9999Z", "0001-01-01T00:00:00Z"),
        *("9999-12-31T23:59:59.999Z", "0004-02-29T00:00:00Z", "1600-03-01T00:00:00Z", "1900-03-01T00:00:00Z"),
        *("0", "1780315200", "00000000001", str(LATEST_SECONDS)),
        *(0, 5, 1_780_315_200, LATEST_SECONDS),
    ],
)
def test_usual_times_are_read(timestamp: str | int) -> None:
    assert is_read(body_of({**GOOD, "timestamp": timestamp}))


@settings(deadline=None, max_examples=300)
@given(
    st.datetimes().map(lambda each: each.isoformat(timespec="milliseconds")), st.sampled_from(["Z", "+00:00", "-00:01"])
)
def test_any_moment_is_read_as_it_is_in_python(moment: str, zone: str) -> None:
    assert is_read(body_of({**GOOD, "timestamp": moment + zone})) or moment >= "9999-12-31T23:59"


UNUSUAL = {
    "an escape": body_of({**GOOD, "identifier": 'a"b'}),
    "an escaped letter": body_of({**GOOD, "identifier": "é"}),
    "an unknown member": body_of({**GOOD, "extra": 1}),
    "a member twice": b'{"events":[{"event_name":"a","event_name":"a","payload":{}}]}',
    "a payload twice": b'{"events":[{"event_name":"a","payload":{},"payload":{}}]}',
    "a key twice": b'{"events":[{"event_name":"a","payload":{"k":"","k":""}}]}',
    "two requests": b'{"events":[{"event_name":"a","payload":{}}],"events":[]}',
    "no name": body_of({"payload": {}}),
    "no payload": body_of({"event_name": "a"}),
    "no events": body_of(),
    "too many events": body_of(*[GOOD] * (REQUEST_EVENTS_MAX + 1)),
    "an empty name": body_of({**GOOD, "event_name": ""}),
    "a name too long": body_of({**GOOD, "event_name": "a" * (EVENT_NAME_LENGTH_MAX + 1)}),
    "an empty identifier": body_of({**GOOD, "identifier": ""}),
    "an identifier too long": body_of({**GOOD, "identifier": "a" * (IDENTIFIER_LENGTH_MAX + 1)}),
    "an empty key": body_of({**GOOD, "payload": {"": ""}}),
    "a key too long": body_of({**GOOD, "payload": {"a" * (PAYLOAD_KEY_LENGTH_MAX + 1): ""}}),
    "a value too long": body_of({**GOOD, "payload": {"a": "a" * (PAYLOAD_VALUE_LENGTH_MAX + 1)}}),
    "a number for a value": body_of({**GOOD, "payload": {"a": 1}}),
    "more keys than it can tell apart": body_of({**GOOD, "payload": {str(each): "" for each in range(65)}}),
    "a line break in a text": b'{"events":[{"event_name":"a\nb","payload":{}}]}',
    "a comma too many": b'{"events":[{"event_name":"a","payload":{}},]}',
    "a comma too many in a payload": b'{"events":[{"event_name":"a","payload":{"a":"b",}}]}',
    "something behind": body_of(GOOD) + b"x",
    "a byte-order mark": b"\xef\xbb\xbf" + body_of(GOOD),
    "nothing": b"",
    "a list": b"[]",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_is_unusual_is_left_to_the_decoder_in_python(name: str) -> None:
    assert not is_read(UNUSUAL[name])


@pytest.mark.parametrize(
    "letters",
    [
        b"\x80",
        b"\xc1\x81",
        b"\xc3",
        b"\xe0\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
    ],
)
def test_bytes_that_are_not_utf_8_are_left_to_the_decoder_in_python(letters: bytes) -> None:
    for filling in (b"", b"a" * 14, b"a" * 15, b"a" * 16):
        assert not is_read(b'{"events":[{"event_name":"' + filling + letters + b'","payload":{}}]}')


@pytest.mark.parametrize(
    "timestamp",
    [
        *("2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "0000-01-01T00:00:00Z"),
        *("2026-06-01T24:00:00Z", "2026-06-01T12:00:60Z", "2026-06-01T12:60:00Z", "2026-00-01T00:00:00Z"),
        *("2026-06-01T12:00:00", "2026-06-01 12:00:00Z", "2026-06-01T12:00:00.Z", "2026-06-01T12:00:00.1234567890Z"),
        *("2026-06-01T12:00:00+24:00", "2026-06-01T12:00:00+0200", "2026-06-01T12:00:00ZZ", "2026-06-01t12:00:00z"),
        *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59.999-00:01", "-5", "", "1" * 12, str(LATEST_SECONDS + 1)),
        *(-5, 1.5, 10**11, LATEST_SECONDS + 1, True),
    ],
)
def test_unusual_times_are_left_to_the_decoder_in_python(timestamp: object) -> None:
    assert not is_read(body_of({**GOOD, "timestamp": timestamp}))


def test_every_body_cut_short_is_left_to_the_decoder_in_python() -> None:
    whole = body_of({**IDENTIFIED, "payload": {"é": "🪣"}}, **LETTERS)
    for size in range(len(whole)):
        assert not is_read(whole[:size])
    assert is_read(whole)


changes = st.lists(st.tuples(st.integers(0, 2_000), st.binary(max_size=2), st.integers(0, 3)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=600)
@given(st.sampled_from(sorted(COMMON)), changes)
def test_what_is_read_of_a_changed_body_is_what_the_decoder_in_python_reads(
    name: str, replaced: list[tuple[int, bytes, int]]
) -> None:
    body = COMMON[name]
    for at, by, size in replaced:
        body = body[: at % len(body)] + by + body[at % len(body) + size :]
    is_read(body or b"{")


def test_requests_read_both_ways_become_one_block_with_their_origins() -> None:
    other = Principal(TENANT, "key_2", None)
    requests = [
        request_of(CALLER, body_of(IDENTIFIED, {**GOOD, "identifier": "b"})),
        request_of(other, body_of({**GOOD, "identifier": "c"})),
        request_of(CALLER, body_of({**GOOD, "event_name": "other", "identifier": "d", "payload": {"k": "v"}})),
    ]
    alone = decode(encoded(requests).data)
    assert [(row["identifier"], alone.origins[row["origin"]]) for row in alone.events.to_pylist()] == [
        (IDENTIFIED["identifier"], CALLER),
        *(("b", CALLER), ("c", other), ("d", CALLER)),
    ]
    mixed = encoded([requests[0], columns_of(other, body_of({**GOOD, "identifier": 'e"'})), *requests[1:]])
    assert isinstance(columns_of(other, body_of(GOOD)), RequestColumns)
    read = decode(mixed.data)
    assert sorted((row["identifier"], read.origins[row["origin"]].key_id) for row in read.events.to_pylist()) == sorted(
        [(IDENTIFIED["identifier"], "key_1"), ("b", "key_1"), ("c", "key_2"), ("d", "key_1"), ('e"', "key_2")]
    )
    assert sum(tally.events for tally in mixed.tallies.values()) == 5
    assert read.tallies == mixed.tallies


def test_more_different_words_than_can_be_numbered_are_joined_in_python() -> None:
    requests = [
        request_of(CALLER, body_of({**GOOD, "payload": {f"{number}.{key}": "" for key in range(60)}}), "key")
        for number in range(1_100)
    ]
    assert all(isinstance(each, PackedRequest) for each in requests)
    assert decode(encoded(requests).data).events.equals(block_of(requests).events)


def test_a_request_without_all_identifiers_is_not_joined() -> None:
    assert native.compiled is not None
    request = native.compiled.parse(body_of(GOOD, IDENTIFIED))
    assert request.missing == 1
    with pytest.raises(TypeError):
        native.compiled.join([request])
    with pytest.raises(ValueError):
        request.identify(b"\0" * 15)
    request.identify(b"\x12" * 16)
    assert request.missing == 0
    assert native.compiled.join([request])[5][:16] == b"\x12" * 16


@pytest.mark.parametrize(
    ("forms", "ids", "texts"), [(b"\1", b"", b""), (b"\1\0", b"", b""), (b"\xff\xff", b"1" * 15, b"")]
)
def test_identifiers_that_do_not_fit_their_forms_are_refused(forms: bytes, ids: bytes, texts: bytes) -> None:
    assert native.compiled is not None
    with pytest.raises(ValueError):
        native.compiled.identifiers(forms, ids, texts)
    with pytest.raises(TypeError):
        native.compiled.join([object()])


def test_parts_of_a_block_are_looked_at_in_bounds() -> None:
    parts = block_of([request_of(CALLER, COMMON["a full request"], "key")]).parts
    fit = native.compiled.parts_fit  # type: ignore[union-attr]
    assert fit(parts.data, parts.widths, 1)
    assert not fit(parts.data, parts.widths, 0)
    assert not fit(parts.data, bytes(len(parts.widths)), 1)
    wrong: list[tuple[Any, ...]] = [
        (parts.data[1:], parts.widths, 1),
        (parts.data, parts.widths[1:], 1),
        (parts.data, parts.widths, -1),
        (list(parts.data), parts.widths, 1),
        ((None, *parts.data[1:]), parts.widths, 1),
    ]
    for each in wrong:
        with pytest.raises(TypeError):
            fit(*each)
