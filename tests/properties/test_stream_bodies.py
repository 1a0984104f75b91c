"""The decoder of the stream against a reference: a body is accepted when a plain reading of the rules accepts it.

Goal:   no crash, no other error than InvalidRequest, and no disagreement, on bodies near the border and on rubbish.
Method: Hypothesis builds documents from good and slightly wrong parts; the reference is a few lines of plain Python.
"""

import contextlib
import json
import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamgauge.api.v2.stream_body import columns_of, request_of
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.event_block import block_of

KEY = "key"  # what made identifiers are made of, so that they are the same ones
CALLER = Principal(Tenant("acct_1", False), "key_1", "mes_1")

# Any text that JSON can carry: lone surrogates have no form in UTF-8.
texts = st.text(st.characters(codec="utf-8"), max_size=12)
names = st.one_of(texts, st.sampled_from(["", "a" * 100, "a" * 101, "é" * 100, "null"]), st.integers(), st.none())
timestamps = st.one_of(
    st.none(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False),
    st.booleans(),
    st.datetimes().map(lambda at: at.isoformat() + "Z"),
    st.sampled_from(
        ["1780272000", "-5", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00.1234567890Z", "٣", ""]
    ),
    texts,
)
payloads = st.one_of(
    st.dictionaries(
        st.one_of(texts, st.sampled_from(["k" * 100, "k" * 101])), st.one_of(texts, texts, names), max_size=4
    ),
    st.none(),
    st.lists(texts, max_size=2),
)
events = st.one_of(
    st.fixed_dictionaries(
        {"event_name": st.one_of(texts.filter(bool), names), "payload": payloads},
        optional={"identifier": names, "timestamp": timestamps, "extra": st.just(1)},
    ),
    st.dictionaries(texts, names, max_size=2),
)
documents = st.one_of(
    st.fixed_dictionaries({"events": st.lists(events, max_size=4)}, optional={"more": st.just(True)}),
    st.lists(events, max_size=2),
    st.none(),
)


def is_text(value: object, least: int, most: int) -> bool:
    return isinstance(value, str) and least <= len(value) <= most


def is_timestamp(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 10**11
    if not isinstance(value, str):
        return False
    if re.fullmatch(r"-?[0-9]{1,11}", value):
        return True
    date = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
    with contextlib.suppress(ValueError):
        return re.fullmatch(date, value.upper()) is not None and datetime.fromisoformat(value.upper()) is not None
    return False


def is_event(value: Any) -> bool:
    if not isinstance(value, dict) or not {"event_name", "payload"} <= value.keys():
        return False
    if value.keys() - {"event_name", "payload", "identifier", "timestamp"}:
        return False
    return (
        is_text(value["event_name"], 1, 100)
        and isinstance(value["payload"], dict)
        and len(value["payload"]) <= 100
        and all(is_text(key, 1, 100) and is_text(each, 0, 5_000) for key, each in value["payload"].items())
        and (value.get("identifier") is None or is_text(value["identifier"], 1, 100))
        and (value.get("timestamp") is None or is_timestamp(value["timestamp"]))
    )


def is_request(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and document.keys() == {"events"}
        and isinstance(document["events"], list)
        and 1 <= len(document["events"]) <= 100
        and all(is_event(each) for each in document["events"])
    )


def accepted(body: bytes) -> bool:
    """Whether the decoder takes it; anything but InvalidRequest is a failure of the test. Both ways must agree."""
    try:
        columns = columns_of(CALLER, body, KEY)
    except InvalidRequest as refusal:
        assert refusal.message
        with pytest.raises(InvalidRequest) as again:
            request_of(CALLER, body, KEY)
        assert str(again.value) == str(refusal)
        return False
    assert block_of([request_of(CALLER, body, KEY)]).events.equals(block_of([columns]).events)
    assert len(columns) == len(columns.identifiers) == len(columns.timestamps_ms) == len(columns.payload_sizes)
    assert sum(columns.payload_sizes) == len(columns.payload_keys) == len(columns.payload_values)
    assert all(columns.identifiers)
    return True


@settings(max_examples=600, deadline=None)
@given(documents)
@example({"events": [{"event_name": "a", "payload": {}}] * 100})
@example({"events": [{"event_name": "a", "payload": {}}] * 101})
@example({"events": [{"event_name": "a", "payload": {str(n): "" for n in range(101)}}]})
@example({"events": [{"event_name": "a", "payload": {"v": "x" * 5_001}}]})
def test_a_document_is_accepted_exactly_when_the_rules_accept_it(document: Any) -> None:
    expected = is_request(document)
    assert accepted(json.dumps(document).encode()) == expected
    # Letters beyond ASCII as themselves, and no needless spaces: what other programs write.
    assert accepted(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()) == expected


@settings(max_examples=600, deadline=None)
@given(st.binary(max_size=200), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_rubbish_is_refused_and_nothing_else_happens(noise: bytes, flips: list[tuple[int, int]]) -> None:
    assert not accepted(noise)
    body = bytearray(
        json.dumps(
            {"events": [{"event_name": "a", "payload": {"v": "1"}, "timestamp": "2026-01-01T00:00:00Z"}]}
        ).encode()
    )
    for at, value in flips:
        body[at % len(body)] = value
    accepted(bytes(body))
