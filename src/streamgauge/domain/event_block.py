"""Blocks: the events of a group of requests as columns, and their form as a record of the event log."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.meter_event import ABSENT_MS, MeterEvent
from streamgauge.domain.stored_block import (
    BASE_KEY,
    FORMAT_VERSION,
    Parts,
    columns_of,
    joined,
    parts_of,
    parts_of_table,
    table_of,
)
from streamgauge.domain.tally import NOTHING, Tally
from streamgauge.domain.texts import WORDS

T = TypeVar("T")

# Written until format 2 (`stored_block.py`), and read for ever: the columns below, words as plain text.
FIRST_FORMAT_VERSION: Final = "1"
FIRST_FORMAT_SCHEMA: Final = pa.schema(
    [
        pa.field("origin", pa.int32(), nullable=False),
        pa.field("event_name", pa.string(), nullable=False),
        pa.field("identifier", pa.string(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("payload", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)

BLOCK_SCHEMA: Final = pa.schema(
    [
        pa.field("origin", pa.int32(), nullable=False),  # index into the origins in the metadata
        pa.field("event_name", WORDS, nullable=False),
        pa.field("identifier", pa.string(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),  # ABSENT_MS: not given
        pa.field("payload", pa.map_(WORDS, pa.string()), nullable=False),
    ]
)

# LZ4 because the log is written on the path of the acknowledgement; docs/adr/0002 has the figures. No threads:
# handing a column to another one costs more than compressing it.
_WRITE_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ_OPTIONS: Final = pa.ipc.IpcReadOptions(use_threads=False)


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
    """Events as columns (BLOCK_SCHEMA) with whom they came from."""

    origins: tuple[Principal, ...]
    events: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.events.num_rows)

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
        origin = self.events.column("origin").to_numpy()
        return _tallies(self.origins, np.bincount(origin, minlength=len(self.origins)))


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
    """One encoded block of all events of these requests: `encode(block_of(requests))`, by the short way if it may."""
    packed = [request.packed for request in requests if isinstance(request, PackedRequest)]
    parts = joined(packed) if len(packed) == len(requests) else None
    if parts is None:
        block = block_of(requests)
        return EncodedBlock(encode(block), block.tallies)
    origins, numbers, sizes = _runs(requests)
    return EncodedBlock(_written(origins, numbers, sizes, parts), _tallies(origins, np.bincount(numbers, sizes)))


def block_of(requests: Sequence[IncomingRequest]) -> EventBlock:
    """One block of all events of these requests: those in order that were decoded here, then the packed ones."""
    decoded = [request for request in requests if isinstance(request, RequestColumns)]
    packed = [request for request in requests if isinstance(request, PackedRequest)]
    origins, numbers, sizes = _runs([*decoded, *packed])
    batches = [_batch(decoded)] if decoded else []
    parts = joined([request.packed for request in packed]) if packed else None
    if parts is not None:
        batches.append(_batch_of(parts))
    elif packed:
        batches += [_batch_of(_one(request)) for request in packed]
    events = pa.concat_batches(batches).set_column(0, BLOCK_SCHEMA.field("origin"), pa.array(np.repeat(numbers, sizes)))
    return EventBlock(origins, events)


def _one(request: PackedRequest) -> Parts:
    parts = joined([request.packed])
    assert parts is not None, "one request has fewer words than can be numbered"
    return parts


def _runs(
    requests: Sequence[IncomingRequest],
) -> tuple[tuple[Principal, ...], NDArray[np.int32], NDArray[np.int64]]:
    """The origins; of each request the number of its origin, and how many events it has."""
    numbers: dict[Principal, int] = {}
    found = [numbers.setdefault(request.origin, len(numbers)) for request in requests]
    return tuple(numbers), np.array(found, np.int32), np.array([len(request) for request in requests], np.int64)


def _batch(requests: Sequence[RequestColumns]) -> pa.RecordBatch:
    """BLOCK_SCHEMA with origin 0."""
    offsets = np.zeros(sum(map(len, requests)) + 1, np.int32)
    np.cumsum(_joined(request.payload_sizes for request in requests), out=offsets[1:])
    columns = [
        pa.array(np.zeros(len(offsets) - 1, np.int32)),
        pa.array(_joined(request.event_names for request in requests), pa.string()).dictionary_encode(),
        pa.array(_joined(request.identifiers for request in requests), pa.string()),
        pa.array(np.concatenate([request.timestamps_ms for request in requests]), pa.int64()),
        pa.MapArray.from_arrays(
            pa.array(offsets),
            pa.array(_joined(request.payload_keys for request in requests), pa.string()).dictionary_encode(),
            pa.array(_joined(request.payload_values for request in requests), pa.string()),
        ),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=BLOCK_SCHEMA)


def _batch_of(parts: Parts, origin: NDArray[np.int32] | None = None) -> pa.RecordBatch:
    """BLOCK_SCHEMA. Raises ValueError or an error of Arrow's when parts do not fit together."""
    names, identifiers, payload = columns_of(parts)
    columns = [
        pa.array(np.zeros(len(parts), np.int32) if origin is None else origin),
        names,
        identifiers,
        pa.array(parts.timestamp_ms),
        payload,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=BLOCK_SCHEMA)


def _joined(columns: Iterable[list[T]]) -> list[T]:
    return list(chain.from_iterable(columns))


def _tallies(origins: Sequence[Principal], counts: Iterable[float]) -> dict[Tenant, Tally]:
    tallies: dict[Tenant, Tally] = {}
    for origin, count in zip(origins, counts, strict=True):
        tallies[origin.tenant] = tallies.get(origin.tenant, NOTHING) + Tally(events=int(count))
    return tallies


def encode(block: EventBlock) -> bytes:
    """The block as one Arrow IPC stream, compressed; the origins stand in the schema's metadata."""
    # Copied, because a column may be a slice of a longer one.
    batch = pa.concat_batches([block.events, block.events.slice(0, 0)])
    origin = batch.column("origin").to_numpy()
    begins = np.flatnonzero(np.diff(origin, prepend=-1))
    parts = parts_of(
        batch.column("event_name"),
        batch.column("identifier"),
        batch.column("timestamp_ms").to_numpy(),
        batch.column("payload"),
    )
    return _written(block.origins, origin[begins], np.diff(begins, append=len(origin)), parts)


def _written(origins: Sequence[Principal], run_origin: NDArray[Any], run_events: NDArray[Any], parts: Parts) -> bytes:
    listed = [
        [origin.tenant.account_id, origin.tenant.livemode, origin.key_id, origin.session_id] for origin in origins
    ]
    metadata = {"format": FORMAT_VERSION, "origins": json.dumps(listed)}
    batch = table_of(run_origin, run_events, parts, metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_WRITE_OPTIONS) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def decode(data: bytes) -> EventBlock:
    """The inverse of `encode`. Raises ValueError when the bytes are not a block of a known format."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(data), options=_READ_OPTIONS) as reader:
            metadata: Mapping[bytes, bytes] = reader.schema.metadata or {}
            written = metadata.get(b"format", b"").decode()
            if written not in (FORMAT_VERSION, FIRST_FORMAT_VERSION):
                raise ValueError(f"block format {written!r} is not {FORMAT_VERSION}")
            batch = reader.read_next_batch()
            batch.validate(full=True)
            batch = _first_format(batch) if written == FIRST_FORMAT_VERSION else _second_format(batch)
            origins = tuple(Principal.recorded(*each) for each in json.loads(metadata[b"origins"]))
    except (pa.ArrowException, StopIteration, OSError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"not a block of events: {error!r}") from error
    origin = batch.column("origin").to_numpy()
    if len(origin) and not 0 <= origin.min() <= origin.max() < len(origins):
        raise ValueError("a block has events of an origin that it does not list")
    return EventBlock(origins, batch)


def _first_format(batch: pa.RecordBatch) -> pa.RecordBatch:
    if not batch.schema.equals(FIRST_FORMAT_SCHEMA):
        raise ValueError("a block has other columns than its format says")
    return with_words(batch)


def with_words(batch: pa.RecordBatch) -> pa.RecordBatch:
    """BLOCK_SCHEMA of columns of plain text; the batch is not a slice of a longer one."""
    origin, event_name, identifier, timestamp_ms, payload = batch.columns
    numbered = pa.MapArray.from_arrays(payload.offsets, payload.keys.dictionary_encode(), payload.items)
    columns = [origin, event_name.dictionary_encode(), identifier, timestamp_ms, numbered]
    return pa.RecordBatch.from_arrays(columns, schema=BLOCK_SCHEMA)


def _second_format(batch: pa.RecordBatch) -> pa.RecordBatch:
    run_origin, run_events, parts = parts_of_table(batch, int(batch.schema.metadata[BASE_KEY]))
    if int(run_events.sum(dtype=np.int64)) != len(parts):
        raise ValueError("a block has other events than its origins have")
    return _batch_of(parts, np.repeat(run_origin.astype(np.int32), run_events))
