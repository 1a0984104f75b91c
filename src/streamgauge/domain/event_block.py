"""Blocks: the events of a group of requests, from what was decoded to a record of the event log, and to columns."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.meter_event import ABSENT_MS, MeterEvent
from streamgauge.domain.older_blocks import read_older
from streamgauge.domain.packed_identifiers import packed_identifiers, unpacked
from streamgauge.domain.stored_block import (
    MAGIC,
    RUN_EVENTS,
    RUN_ORIGIN,
    EventParts,
    StoredParts,
    check,
    joined,
    narrow,
    offsets_of,
    read,
    stored_of,
    texts_of,
    written,
)
from streamgauge.domain.tally import Tally
from streamgauge.domain.texts import WORDS

T = TypeVar("T")

BLOCK_SCHEMA: Final = pa.schema(
    [
        pa.field("origin", pa.int32(), nullable=False),  # index into the block's origins
        pa.field("event_name", WORDS, nullable=False),
        pa.field("identifier", pa.string(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),  # ABSENT_MS: not given
        pa.field("payload", pa.map_(WORDS, pa.string()), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class RequestColumns:
    """The events of one accepted request, as columns of equal length."""

    origin: Principal
    event_names: list[str]
    identifiers: list[str]
    timestamps_ms: NDArray[np.int64]
    payload_sizes: list[int]  # how many entries each event's payload has; keys and values are those of all, in order
    payload_keys: list[str]
    payload_values: list[str]
    size_bytes: int

    def __len__(self) -> int:
        return len(self.event_names)


@dataclass(frozen=True, slots=True)
class PackedRequest:
    """The same as the compiled parser leaves it: its `Request` (native/_columns.pyi), with every identifier."""

    origin: Principal
    packed: Any
    size_bytes: int

    def __len__(self) -> int:
        return len(self.packed)


IncomingRequest: TypeAlias = RequestColumns | PackedRequest


def columns_of_event(origin: Principal, event: MeterEvent) -> RequestColumns:
    """A request with this one event."""
    return RequestColumns(
        origin=origin,
        event_names=[event.event_name],
        identifiers=[event.identifier],
        timestamps_ms=np.array([ABSENT_MS if event.timestamp_ms is None else event.timestamp_ms], np.int64),
        payload_sizes=[len(event.payload)],
        payload_keys=list(event.payload),
        payload_values=list(event.payload.values()),
        size_bytes=0,
    )


@dataclass(frozen=True, slots=True)
class EventBlock:
    """Events with whom they came from, in the parts that a record of the log holds."""

    origins: tuple[Principal, ...]
    parts: StoredParts

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def size_bytes(self) -> int:
        """In memory, before it becomes columns."""
        return self.parts.size_bytes

    @property
    def origin(self) -> NDArray[np.int64]:
        """Of each event the number of its origin."""
        return np.repeat(self.parts.numbers(RUN_ORIGIN).astype(np.int64), self.parts.numbers(RUN_EVENTS))

    @property
    def events(self) -> pa.RecordBatch:
        """As columns of BLOCK_SCHEMA."""
        parts = joined([self.parts])
        names, identifiers, payload = event_columns(parts)
        origin, timestamp_ms = pa.array(self.origin.astype(np.int32)), pa.array(parts.timestamp_ms)
        return pa.RecordBatch.from_arrays([origin, names, identifiers, timestamp_ms, payload], schema=BLOCK_SCHEMA)

    def event(self, row: int) -> MeterEvent:
        """One of the events, as it was sent."""
        given = self.events.slice(row, 1).to_pylist()[0]
        timestamp_ms = given["timestamp_ms"]
        return MeterEvent(
            event_name=given["event_name"],
            identifier=given["identifier"],
            timestamp_ms=None if timestamp_ms == ABSENT_MS else timestamp_ms,
            payload=dict(given["payload"]),
        )

    @property
    def tallies(self) -> dict[Tenant, Tally]:
        numbers, sizes = self.parts.numbers(RUN_ORIGIN).tolist(), self.parts.numbers(RUN_EVENTS).tolist()
        return _tallies(self.origins, numbers, sizes)


@dataclass(frozen=True, slots=True)
class FirstReceipt:
    """Where in the log events stood that are redriven, and when they were received, the first time (ms, UTC)."""

    offset: NDArray[np.int64]
    received_at_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: NDArray[np.int64]) -> "FirstReceipt":
        return FirstReceipt(self.offset[rows], self.received_at_ms[rows])


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """A block as a record of the log holds it, and how many events of each tenant it has."""

    data: bytes
    tallies: dict[Tenant, Tally]


def encoded(requests: Sequence[IncomingRequest]) -> EncodedBlock:
    """One encoded block of all events of these requests."""
    block = block_of(requests)
    return EncodedBlock(encode(block), block.tallies)


def block_of(requests: Sequence[IncomingRequest]) -> EventBlock:
    """One block of all events of these requests: those in order that were decoded here, then the packed ones."""
    decoded = [request for request in requests if isinstance(request, RequestColumns)]
    packed = [request for request in requests if isinstance(request, PackedRequest)]
    origins, numbers, sizes = _runs([*decoded, *packed])
    groups = [_parts(decoded)] if decoded else []
    if packed:
        groups += _parts_of_packed([request.packed for request in packed])
    parts = groups[0] if len(groups) == 1 else joined([stored_of(each, [], []) for each in groups])
    return EventBlock(origins, stored_of(parts, numbers, sizes))


def _runs(requests: Sequence[IncomingRequest]) -> tuple[tuple[Principal, ...], list[int], list[int]]:
    """The origins; of each request the number of its origin, and how many events it has."""
    numbers: dict[Principal, int] = {}
    found = [numbers.setdefault(request.origin, len(numbers)) for request in requests]
    return tuple(numbers), found, [len(request) for request in requests]


def _parts(requests: Sequence[RequestColumns]) -> EventParts:
    names, name = _numbered(_joined(request.event_names for request in requests))
    keys, key = _numbered(_joined(request.payload_keys for request in requests))
    values = [value.encode() for value in _joined(request.payload_values for request in requests)]
    identifiers = pa.array(_joined(request.identifiers for request in requests), pa.string())
    form, ids, texts = packed_identifiers(identifiers)
    return EventParts(
        names=names,
        keys=keys,
        name=name,
        key=key,
        timestamp_ms=np.concatenate([request.timestamps_ms for request in requests]),
        form=form,
        ids=ids,
        texts=texts,
        payload_size=narrow(_joined(request.payload_sizes for request in requests)),
        value_size=narrow([len(value) for value in values]),
        values=b"".join(values),
    )


def _numbered(words: Sequence[str]) -> tuple[list[bytes], NDArray[Any]]:
    """The different ones, and of each which."""
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(word, len(numbers)) for word in words]
    return [word.encode() for word in numbers], narrow(found)


def _parts_of_packed(requests: list[Any]) -> list[EventParts]:
    """Of requests that the compiled parser has read: together, or each by itself when they have more different words
    than it can number."""
    assert native.compiled is not None, "nothing else makes such requests"
    found = native.compiled.join(requests)
    if found is None:
        return [each for request in requests for each in _parts_of_packed([request])]
    names, keys, name, timestamp, form, ids, texts, payload_size, key, value_size, values = found
    return [
        EventParts(
            names=names,
            keys=keys,
            name=np.frombuffer(name, np.uint16),
            key=np.frombuffer(key, np.uint16),
            timestamp_ms=np.frombuffer(timestamp, np.int64),
            form=np.frombuffer(form, np.uint16),
            ids=ids,
            texts=texts,
            payload_size=np.frombuffer(payload_size, np.uint8),
            value_size=np.frombuffer(value_size, np.uint16),
            values=values,
        )
    ]


def _joined(columns: Iterable[list[T]]) -> list[T]:
    return list(chain.from_iterable(columns))


def _tallies(origins: Sequence[Principal], numbers: Sequence[int], sizes: Sequence[int]) -> dict[Tenant, Tally]:
    events: dict[Tenant, int] = {}
    for number, size in zip(numbers, sizes, strict=True):
        tenant = origins[number].tenant
        events[tenant] = events.get(tenant, 0) + size
    return {tenant: Tally(events=count) for tenant, count in events.items()}


def event_columns(parts: EventParts) -> tuple[pa.DictionaryArray, pa.StringArray, pa.MapArray]:
    """Event names, identifiers and payloads. Raises ValueError when their texts have 2 GiB."""
    values = texts_of(parts.value_size, parts.values)
    payload = pa.MapArray.from_arrays(pa.array(offsets_of(parts.payload_size)), _words(parts.keys, parts.key), values)
    return _words(parts.names, parts.name), unpacked(parts.form, parts.ids, parts.texts), payload


def _words(words: Sequence[bytes], number: NDArray[Any]) -> pa.DictionaryArray:
    sizes = np.array([len(each) for each in words], np.uint32)
    return pa.DictionaryArray.from_arrays(pa.array(number.astype(np.int32)), texts_of(sizes, b"".join(words)))


def encode(block: EventBlock) -> bytes:
    """The block as a record of the log holds it."""
    return written(block.parts, _origins_written(block.origins))


def decode(data: bytes) -> EventBlock:
    """The inverse of `encode`. Raises ValueError when the bytes are not a block of a known format."""
    try:
        parts, listed = read(data) if data.startswith(MAGIC) else read_older(data)
        origins = _origins_read(listed)
        check(parts, len(origins))
    except (pa.ArrowException, StopIteration, OSError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"not a block of events: {error!r}") from error
    return EventBlock(origins, parts)


# Nearly all blocks come from the same few.
@lru_cache(maxsize=64)
def _origins_written(origins: tuple[Principal, ...]) -> bytes:
    return json.dumps(
        [[each.tenant.account_id, each.tenant.livemode, each.key_id, each.session_id] for each in origins]
    ).encode()


@lru_cache(maxsize=64)
def _origins_read(listed: bytes) -> tuple[Principal, ...]:
    return tuple(Principal.recorded(*each) for each in json.loads(listed))
