"""Blocks of events: what is decoded is what was encoded, and nothing else is taken for a block."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.event_block import (
    BLOCK_SCHEMA,
    FORMAT_VERSION,
    EventBlock,
    LoggedBlock,
    block_of,
    decode,
    encode,
    received,
)
from streamgauge.domain.meter_event import ABSENT_MS
from streamgauge.domain.tally import Tally
from tests.support.world import START_MS, TENANT, Event, request

LIVE = Tenant(TENANT.account_id, livemode=True)

texts = st.text(max_size=10)
events = st.builds(
    Event,
    identifier=texts,
    event_name=texts,
    timestamp_ms=st.none() | st.integers(-(2**45), 2**45),
    payload=st.dictionaries(texts, texts, max_size=4),
)
requests = st.lists(
    st.tuples(
        st.sampled_from([TENANT, LIVE, Tenant("acct_ü", livemode=False)]), st.lists(events, min_size=1, max_size=5)
    ),
    min_size=1,
    max_size=5,
)


def rows_of(block: EventBlock) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = block.events.to_pylist()
    return rows


@given(requests)
def test_a_block_survives_the_way_through_the_log(sent: list[tuple[Tenant, list[Event]]]) -> None:
    block = block_of([request(group, tenant) for tenant, group in sent])
    restored = decode(encode(block))
    assert restored.origins == block.origins
    assert restored.events.equals(block.events)
    flat = [(tenant, event) for tenant, group in sent for event in group]
    assert [restored.origins[row["origin"]].tenant for row in rows_of(restored)] == [tenant for tenant, _ in flat]
    for row, (_, event) in zip(rows_of(restored), flat, strict=True):
        assert (row["identifier"], row["event_name"]) == (event.identifier, event.event_name)
        assert row["timestamp_ms"] == (ABSENT_MS if event.timestamp_ms is None else event.timestamp_ms)
        assert row["payload"] == list(event.sent_payload.items())


@given(requests)
def test_events_are_counted_for_each_tenant_apart(sent: list[tuple[Tenant, list[Event]]]) -> None:
    expected: dict[Tenant, Tally] = {}
    for tenant, group in sent:
        expected[tenant] = expected.get(tenant, Tally()) + Tally(events=len(group))
    assert block_of([request(group, tenant) for tenant, group in sent]).tallies == expected


def test_an_origin_tells_account_mode_key_and_session() -> None:
    origins = [Principal(TENANT, 'key "1"', None), Principal(LIVE, "key_1", "mes_1"), Principal(LIVE, "key_1", "mes_2")]
    columns = [request([Event("a")]) for _ in origins]
    sent = [type(each)(**{**_fields(each), "origin": origin}) for each, origin in zip(columns, origins, strict=True)]
    assert decode(encode(block_of([*sent, *sent]))).origins == tuple(origins)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


@given(requests, st.integers(0, 2**40))
def test_records_that_follow_each_other_become_one_table_in_log_order(
    sent: list[tuple[Tenant, list[Event]]], first_offset: int
) -> None:
    blocks = [decode(encode(block_of([request(group, tenant)]))) for tenant, group in sent]
    at_ms = [START_MS + 10 * number for number in range(len(blocks))]
    sizes = [len(group) for _, group in sent]
    offsets = [first_offset + sum(sizes[:number]) for number in range(len(sizes))]
    joined = received([LoggedBlock(*each) for each in zip(blocks, offsets, at_ms, strict=True)])
    flat = [(tenant, event, at) for (tenant, group), at in zip(sent, at_ms, strict=True) for event in group]
    assert len(joined) == len(flat)
    assert joined.offset.tolist() == list(range(first_offset, first_offset + len(flat)))
    assert [joined.tenants[number] for number in joined.tenant] == [tenant for tenant, _, _ in flat]
    assert joined.received_at_ms.tolist() == [at for _, _, at in flat]
    assert joined.timestamp_given.tolist() == [event.timestamp_ms is not None for _, event, _ in flat]
    # An event without a timestamp happened when it was received.
    assert joined.timestamp_ms.tolist() == [
        at if event.timestamp_ms is None else event.timestamp_ms for _, event, at in flat
    ]
    assert joined.identifier.to_pylist() == [event.identifier for _, event, _ in flat]
    assert joined.event_name.to_pylist() == [event.event_name for _, event, _ in flat]
    assert [dict(each) for each in joined.payload.to_pylist()] == [event.sent_payload for _, event, _ in flat]


def _stream(schema: pa.Schema, metadata: Mapping[str, str], *, batches: int = 1) -> bytes:
    """An Arrow stream that somebody else could have written."""
    sink = pa.BufferOutputStream()
    schema = schema.with_metadata(dict(metadata))
    with pa.ipc.new_stream(sink, schema) as writer:
        for _ in range(batches):
            writer.write_batch(pa.RecordBatch.from_pylist([], schema=schema))
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _good() -> bytes:
    return encode(block_of([request([Event(f"e{number}") for number in range(50)])]))


ORIGINS = json.dumps([["acct_1", False, "key", None]])
GOOD_METADATA = {"format": FORMAT_VERSION, "origins": ORIGINS}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: b"", id="nothing"),
        pytest.param(lambda: b"not a block", id="text"),
        pytest.param(lambda: b"\0" * 1_000, id="zeros"),
        pytest.param(lambda: b"\xff" * 1_000, id="ones"),
        pytest.param(lambda: _good()[:-200], id="cut short"),
        pytest.param(lambda: _good()[: len(_good()) // 2], id="half"),
        pytest.param(lambda: _good()[8:], id="without its head"),
        pytest.param(lambda: _stream(BLOCK_SCHEMA, {}), id="no format"),
        pytest.param(lambda: _stream(BLOCK_SCHEMA, {**GOOD_METADATA, "format": "2"}), id="a newer format"),
        pytest.param(lambda: _stream(BLOCK_SCHEMA, GOOD_METADATA, batches=0), id="no batch"),
        pytest.param(lambda: _stream(BLOCK_SCHEMA, {"format": FORMAT_VERSION}), id="no origins"),
        pytest.param(lambda: _stream(BLOCK_SCHEMA, {**GOOD_METADATA, "origins": "[["}), id="origins that are not JSON"),
        pytest.param(
            lambda: _stream(BLOCK_SCHEMA, {**GOOD_METADATA, "origins": "[[1]]"}), id="origins of another form"
        ),
        pytest.param(lambda: _stream(pa.schema([("a", pa.int32())]), GOOD_METADATA), id="other columns"),
    ],
)
def test_what_is_no_block_of_this_format_is_refused(data: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError):
        decode(data())


def test_an_event_of_an_origin_that_is_not_listed_is_refused() -> None:
    block = block_of([request([Event("a")])])
    origin = pa.array(np.array([5], np.int32))
    forged = block.events.set_column(0, BLOCK_SCHEMA.field("origin"), origin)
    with pytest.raises(ValueError):
        decode(encode(EventBlock(block.origins, forged)))
