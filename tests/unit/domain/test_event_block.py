"""Blocks of events: what is decoded is what was encoded, and nothing else is taken for a block."""

import json
import struct
import tracemalloc
from base64 import b85decode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgauge import native
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.event_block import EventBlock, block_of, decode, encode
from streamgauge.domain.meter_event import ABSENT_MS
from streamgauge.domain.older_blocks import FIRST_FORMAT, FIRST_SCHEMA, PART_NAMES, SECOND_FORMAT, SECOND_SCHEMA
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.stored_block import StoredParts, written
from streamgauge.domain.tally import Tally
from tests.support.world import START_MS, TENANT, Event, request

LIVE = Tenant(TENANT.account_id, livemode=True)

pytestmark = pytest.mark.usefixtures("both_ways")

texts = st.text(max_size=10)
# What is kept as 16 bytes, and what only looks like it.
identifiers = st.one_of(
    texts,
    st.uuids().map(str),
    st.uuids().map(lambda each: each.hex),
    st.uuids().map(lambda each: str(each).upper()),
    st.sampled_from(["-" * 36, "g" * 32, "0" * 32 + "\n", "٣" * 32, "0" * 35 + "é", "é" * 18, "é" * 16]),
)
events = st.builds(
    Event,
    identifier=identifiers,
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


@settings(deadline=None)  # the first example waits for imports
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


@settings(deadline=None)
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


@settings(deadline=None)
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


def _of_the_second_format(block: EventBlock, part: str = "", instead: dict[str, Any] | None = None) -> bytes:
    """As versions before format 3 wrote it; `instead` of one part's row there is another."""
    listed = [[each.tenant.account_id, each.tenant.livemode, each.key_id, each.session_id] for each in block.origins]
    kinds = [{1: "|u1", 2: "<u2", 4: "<u4", 8: "<i8"}[width] for width in block.parts.widths]
    kinds += [""] * (len(PART_NAMES) - len(kinds))
    parts = zip(PART_NAMES, kinds, block.parts.data, strict=True)
    rows = [{"part": name, "type": kind, "data": bytes(data)} for name, kind, data in parts]
    rows = [instead if instead is not None and row["part"] == part else row for row in rows]
    metadata = {"format": SECOND_FORMAT, "origins": json.dumps(listed), "base_ms": str(block.parts.base_ms)}
    sink = pa.BufferOutputStream()
    schema = SECOND_SCHEMA.with_metadata(metadata)
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _with(part: str, kind: str, values: Any, name: str | None = None) -> bytes:
    """A block of three events, with one name, two keys and one identifier of 16 bytes, and with another part."""
    data = np.array(values, kind).tobytes() if isinstance(values, list) else values
    return _of_the_second_format(_three(), part, {"part": name or part, "type": kind, "data": data})


def _three() -> EventBlock:
    return block_of([request([Event("a"), Event("b"), Event(str(UUID(int=1)))])])


def _now_with(part: str, kind: str, values: Any) -> bytes:
    """The same in the format of now."""
    at, parts = PART_NAMES.index(part), _three().parts
    data, widths = list(parts.data), bytearray(parts.widths)
    data[at] = np.array(values, kind).tobytes() if isinstance(values, list) else values
    if at < len(widths):
        widths[at] = np.dtype(kind).itemsize
    return written(StoredParts(tuple(data), bytes(widths), parts.base_ms), ORIGINS.encode())


HEAD_BYTES: Final = 90


def _longer(by: int) -> bytes:
    """The bytes of a block of which the head says that the last part is longer."""
    data = bytearray(_good())
    (size,) = struct.unpack_from("<I", data, HEAD_BYTES - 4)
    struct.pack_into("<I", data, HEAD_BYTES - 4, min(size + by, 2**32 - 1))
    return bytes(data)


def _ending_early() -> bytes:
    """A block whose parts fit together, and whose last values were not written."""
    parts = _three().parts
    whole = written(parts, ORIGINS.encode())
    body: bytes = pa.Codec("lz4_raw").compress(b"".join(parts.data)[:-5], asbytes=True)
    return whole[: HEAD_BYTES + len(ORIGINS.encode())] + body


OTHER_PARTS: list[tuple[Any, ...]] = [
    ("run_events", "|u1", [2]),
    ("run_events", "|u1", [3, 1]),
    ("run_events", "|i1", [-3]),
    ("run_origin", "|u1", [1]),
    ("run_origin", "|u1", []),
    ("names", "", b""),
    ("names", "", b"\xff" * 12),
    ("names_size", "|u1", []),
    ("names_size", "|u1", [3]),
    ("names_size", "O", b"12345678"),
    ("name", "|u1", [0, 0]),
    ("name", "|u1", [0, 0, 1]),
    ("name", "<u2", b"\0\0\0"),
    ("name", "<f4", [0, 0, 0]),
    ("name", "|u1", [0, 0, 0], "nobody"),
    ("timestamp", "<u4", [1]),
    ("timestamp", "<f8", [1, 2, 3]),
    ("form", "<u2", [1, 1, 0xFFFE, 0]),
    ("form", "<u2", [1, 2, 0xFFFF]),
    ("form", "<u2", [1, 0xFFFF, 0xFFFF]),
    ("form", "<u4", [1, 1, 2**32 - 1]),
    ("ids", "", b"1"),
    ("ids", "", None),
    ("texts", "", b"abc"),
    ("texts", "", b"\xffb"),
    ("payload_size", "|u1", [2, 2, 3]),
    ("payload_size", "|u1", [2, 4]),
    ("keys_size", "|u1", [23]),
    ("key", "|u1", [0, 1, 0, 1, 0, 2]),
    ("key", "|u1", [0, 1, 0, 1, 0]),
    ("value_size", "<u4", [2**32 - 1] * 6),
    ("value_size", "<u4", [0] * 6),
    ("value_size", "|u1", [5, 1, 5, 1, 5, 1, 0]),
    ("key", "<u2", b"\0\0\1\0" * 3 + b"\0"),
    ("values", "", b"\xff" * 18),
]


NAMED_OTHERWISE = [
    each for each in OTHER_PARTS if len(each) > 3 or each[2] is None or each[1] in ("|i1", "O", "<f4", "<f8")
]


def test_a_part_of_another_width_is_the_same_part() -> None:
    assert len(decode(_with("name", "<u4", [0, 0, 0]))) == 3
    assert len(decode(_now_with("name", "<u4", [0, 0, 0]))) == 3


ORIGINS = json.dumps([["acct_1", False, "key", None]])
GOOD_METADATA = {"format": FIRST_FORMAT, "origins": ORIGINS}


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
        pytest.param(lambda: _stream(FIRST_SCHEMA, {}), id="no format"),
        pytest.param(lambda: _stream(FIRST_SCHEMA, {**GOOD_METADATA, "format": "3"}), id="a newer format"),
        pytest.param(lambda: _stream(FIRST_SCHEMA, {**GOOD_METADATA, "format": "2"}), id="columns of another format"),
        *(pytest.param(partial(_with, *part), id=f"another {part[0]}") for part in OTHER_PARTS),
        *(
            pytest.param(partial(_now_with, *part), id=f"another {part[0]} now")
            for part in OTHER_PARTS
            if part not in NAMED_OTHERWISE
        ),
        pytest.param(lambda: _good()[:8], id="a word alone"),
        pytest.param(lambda: _good()[:50], id="half a head"),
        pytest.param(lambda: _now_with("values", "", b"x" * 2**10) + b"x", id="something behind"),
        pytest.param(lambda: _longer(1), id="sizes that are too large"),
        pytest.param(_ending_early, id="less than its sizes say"),
        pytest.param(lambda: _longer(2**32 - 1), id="sizes beyond what fits into memory"),
        pytest.param(lambda: _stream(FIRST_SCHEMA, GOOD_METADATA, batches=0), id="no batch"),
        pytest.param(lambda: _stream(FIRST_SCHEMA, {"format": FIRST_FORMAT}), id="no origins"),
        pytest.param(lambda: _stream(FIRST_SCHEMA, {**GOOD_METADATA, "origins": "[["}), id="origins that are not JSON"),
        pytest.param(
            lambda: _stream(FIRST_SCHEMA, {**GOOD_METADATA, "origins": "[[1]]"}), id="origins of another form"
        ),
        pytest.param(lambda: _stream(pa.schema([("a", pa.int32())]), GOOD_METADATA), id="other columns"),
    ],
)
def test_what_is_no_block_of_this_format_is_refused(data: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError):
        decode(data())


def test_sizes_that_are_not_true_take_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            decode(_longer(2**32 - 1))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_an_event_of_an_origin_that_is_not_listed_is_refused() -> None:
    block = block_of([request([Event("a")]), request([Event("b")], LIVE)])
    with pytest.raises(ValueError):
        decode(encode(EventBlock(block.origins[:1], block.parts)))


def test_a_block_of_the_first_format_is_read_for_ever() -> None:
    block = block_of([request([Event("a"), Event(str(UUID(int=1)), timestamp_ms=START_MS)])])
    schema = FIRST_SCHEMA.with_metadata({"format": "1", "origins": json.dumps([["acct_test", False, "key_1", None]])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_batch(block.events.cast(FIRST_SCHEMA).replace_schema_metadata(schema.metadata))
    restored = decode(sink.getvalue().to_pybytes())
    assert restored.events.equals(block.events)
    assert restored.origins == (Principal(TENANT, "key_1", None),)


def test_a_word_that_a_block_lists_twice_is_one_word() -> None:
    parts = block_of([request([Event("1", event_name="a"), Event("2", event_name="b")])]).parts
    data = list(parts.data)
    data[PART_NAMES.index("names")] = b"aa"
    twice = decode(written(StoredParts(tuple(data), parts.widths, parts.base_ms), ORIGINS.encode()))
    assert twice.events.column("event_name").dictionary.to_pylist() == ["a"]
    assert [row["event_name"] for row in rows_of(twice)] == ["a", "a"]


@settings(deadline=None)
@given(requests)
def test_a_block_of_the_second_format_is_read_for_ever(sent: list[tuple[Tenant, list[Event]]]) -> None:
    block = block_of([request(group, tenant) for tenant, group in sent])
    restored = decode(_of_the_second_format(block))
    assert restored.origins == block.origins
    assert restored.events.equals(block.events)


WRITTEN_IN_FORMAT_2: Final = (
    "|NsC0umJ!75C8xG000UA4gdxK1po*D3IG5A009I55C8xG000UA3;+NC1ONyC3IG5A<NyEw1ONa40{{R3xBvhEGynhq1ONa4T>t<78~^|S1ON"
    "a44FCWDF*q<VFfcGMFfcGMFaQ7m2LJ#7VqtS-Uu|;$i2wipXaE2J1ONa4TL1t6TU#PwV`Fq*bY*jNA}k<gVQh0{EFdClWqDt8Wpi{QEFdCnW"
    "piJ2Wpi{QT`VA5B4J}=bYFC3b95psAartdWh@{fYh`&~bY*jNA}k;xZDn&`bY*jNB3)eo2LJ#7Z*pm8X>M}>2mlNK1ONyC2mk;85C8xG1ONa"
    "40RR91G5`Po1^@s6W^ZzBVRQfh0{{R3YybcNFaQ7m1ONa4u>b%60003K5C8xG7ytkO1ONa4000001ONa4WMOn+00000p#T5>*#H0k000365C"
    "8xG7ytkO1ONa4000001ONa4ba`-P00000$p8QU5C9Ya2ml5E2LKEJ000mG5C8xG000365C8xG8~^|S1ONa4000001ONa4aA9(E000001ONm8"
    "1ONa400000|NsC0C;<Qf6aWAK000003;-Aa1^@*B2mlNK3;+NC00RU78~^|SFaiJo00000000003;-Me5C8-K2mlNK3;+NCxBvhE8~^|S6aW"
    "AK4*&oF00000000001ONm81ONa42><{9000000000000000000000000000000R{#J200000SO5S300000cK`qY00000&;S4c00000000000"
    "0000&;S4c00000N&o-=00000AOQdX00000DF6Tf00000Pyqk{000000000000000Pyqk{00000TmS$700000umJ!700000e*gdg000000000"
    "00{{R34*&oF0000000000000004*&oF0000000000000004*&oF000000000000000KmY&$000001R_lsU_gRE004jh000090000D0000N00"
    "00X0000h0000l0000x0000)0000-0000{0001100015000180001D0001J0000000000XaE2J000001R_lsU_gRk0002+2y|&}Wpi|4ZE$99"
    "a&2;TZeMS5X=iC}3IOl{Wp-t5baQTDZDn&`b7^{I3IK6%VR>wCVPp^hGHYdd832K6WqEdCY;|Q8001Tc5OW&<;Av!YbY*ySb9P~Db!Bq^000"
    "00KmY&$000001R_lsU_gR10002~8UO$Q00RI300sa600{s901N;C01p5F01^NI02KfL02lxO02=@R03HMYPyikP0000000000000009smFU0"
    "00001R_lsU_gQr0001-JasfYbuxT)F#`ZlbuoN(F#rGn0000000000fB*mh000001R_lsU_gRJ0000J0096K3<v-d5(oej6bJwl76<?n7YG0"
    "o8VCRr9S8suAP4{xB?tf$DhL1*HV6O{P6z-KUI+jaVF&<#ZvX%Q000000000000000ZvX%Q000001R_lsU_gRs0001h|NsC0000002mtUi0R"
    "aF10ssI30s#yF000640TKlP009620tEpD0RmxgX<u?>adl;LbaQiba%pg7Ut@K1bZ>2Ca$jj=c42IFWot?R2Lb@_0|8;fykm89UokObb#q@a"
    "F~g|<00000|NsC000000"
)
WRITTEN_IN_FORMAT_3: Final = (
    "MOH;lR8s&0TL1t608m^QqX7T_1OWm80RaI40RapE00093000I6000F5000F50009300031000930006200062000mG000aC000;O00093000"
    "gE003KCB4J}=bYFC3b95psAZB4~b7d?bB5P%NUvy=2bRsMuB5h@JUvy=2bRu0WAX_3~V`Fq*bY*jNA}k<ua&=`aAR=pJd0%v8b95psAR=vLb"
    "6<32b95qIU4#Gs|Nj60000O8Pyqn{{{ja9&;bGk0R;g90s;XH5(N(c5CJ9t2Lb@{9|2)-X<u?>adl;LbaQiba%pg7Ut@K1bZ>2Ca$jj=c42I"
    "FWou!>ykm89UokNT0HDLEMOH;lR8s&0"
)


@pytest.mark.parametrize("written_once", [WRITTEN_IN_FORMAT_2, WRITTEN_IN_FORMAT_3], ids=["format 2", "format 3"])
def test_what_a_version_wrote_is_read_for_ever(written_once: str) -> None:
    first = [Event("a"), Event(str(UUID(int=1)), timestamp_ms=START_MS)]
    block = block_of([request(first), request([Event("ü", payload={"k": "é"})], LIVE)])
    restored = decode(b85decode(written_once))
    assert restored.events.equals(block.events)
    assert restored.origins == block.origins


def test_uuids_take_sixteen_bytes_each_and_words_are_kept_once() -> None:
    sent = [Event(str(uuid4()), customer="", value="", timestamp_ms=START_MS) for _ in range(10_000)]
    assert len(encode(block_of([request(sent)]))) < 10_000 * 17


def test_times_that_lie_far_apart_are_kept_as_they_are() -> None:
    times = [None, -(2**45), 2**45, START_MS]
    block = block_of([request([Event("a", timestamp_ms=each) for each in times])])
    assert [row["timestamp_ms"] for row in rows_of(decode(encode(block)))] == [ABSENT_MS, *times[1:]]


def test_a_block_may_have_more_different_words_than_sixteen_bits_can_number() -> None:
    sent = [Event("a", payload={f"{number}.{key}": "" for key in range(100)}) for number in range(700)]
    block = block_of([request(sent)])
    assert decode(encode(block)).events.equals(block.events)


def test_the_ways_of_identifiers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    if native.compiled is None:
        pytest.skip("there is only one way")
    block = block_of([request([Event(each) for each in (str(uuid4()), uuid4().hex, "", "é", str(uuid4()), "a" * 100)])])
    data = encode(block)
    assert decode(data).events.equals(block.events)
    monkeypatch.setattr(native, "compiled", None)
    assert decode(data).events.equals(block.events)
