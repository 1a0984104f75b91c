"""Blocks: the events of a group of requests as columns, and their form as a record of the event log."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.meter_event import ABSENT_MS, MeterEvent
from streamgauge.domain.tally import NOTHING, Tally

T = TypeVar("T")

FORMAT_VERSION: Final = "1"

BLOCK_SCHEMA: Final = pa.schema(
    [
        pa.field("origin", pa.int32(), nullable=False),  # index into the origins in the metadata
        pa.field("event_name", pa.string(), nullable=False),
        pa.field("identifier", pa.string(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),  # ABSENT_MS: not given
        pa.field("payload", pa.map_(pa.string(), pa.string()), nullable=False),
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
        counts = np.bincount(self.events.column("origin").to_numpy(), minlength=len(self.origins))
        tallies: dict[Tenant, Tally] = {}
        for origin, count in zip(self.origins, counts, strict=True):
            tallies[origin.tenant] = tallies.get(origin.tenant, NOTHING) + Tally(events=int(count))
        return tallies


@dataclass(frozen=True, slots=True)
class LoggedBlock:
    """A block of events with the offset of its first one and when it was received (ms since the epoch, UTC)."""

    block: EventBlock
    first_offset: int
    received_at_ms: int


def block_of(requests: Sequence[RequestColumns]) -> EventBlock:
    """One block of all events of these requests, in order."""
    origins = tuple(dict.fromkeys(request.origin for request in requests))
    numbers = {origin: number for number, origin in enumerate(origins)}
    sizes = [len(request) for request in requests]
    offsets = np.zeros(sum(sizes) + 1, np.int32)
    np.cumsum(_joined(request.payload_sizes for request in requests), out=offsets[1:])
    columns = [
        pa.array(np.repeat([numbers[request.origin] for request in requests], sizes), pa.int32()),
        pa.array(_joined(request.event_names for request in requests), pa.string()),
        pa.array(_joined(request.identifiers for request in requests), pa.string()),
        pa.array(np.concatenate([request.timestamps_ms for request in requests]), pa.int64()),
        pa.MapArray.from_arrays(
            pa.array(offsets),
            pa.array(_joined(request.payload_keys for request in requests), pa.string()),
            pa.array(_joined(request.payload_values for request in requests), pa.string()),
        ),
    ]
    return EventBlock(origins, pa.RecordBatch.from_arrays(columns, schema=BLOCK_SCHEMA))


def _joined(columns: Iterable[list[T]]) -> list[T]:
    return list(chain.from_iterable(columns))


def encode(block: EventBlock) -> bytes:
    """The block as one Arrow IPC stream, compressed; the origins stand in the schema's metadata."""
    origins = [
        [origin.tenant.account_id, origin.tenant.livemode, origin.key_id, origin.session_id] for origin in block.origins
    ]
    schema = BLOCK_SCHEMA.with_metadata({"format": FORMAT_VERSION, "origins": json.dumps(origins)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema, options=_WRITE_OPTIONS) as writer:
        writer.write_batch(block.events.replace_schema_metadata(schema.metadata))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def decode(data: bytes) -> EventBlock:
    """The inverse of `encode`. Raises ValueError when the bytes are not a block of this format."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(data), options=_READ_OPTIONS) as reader:
            metadata: Mapping[bytes, bytes] = reader.schema.metadata or {}
            if metadata.get(b"format") != FORMAT_VERSION.encode():
                raise ValueError(f"block format {metadata.get(b'format')!r} is not {FORMAT_VERSION}")
            if not reader.schema.equals(BLOCK_SCHEMA):
                raise ValueError("a block has other columns than its format says")
            batch = reader.read_next_batch()
            batch.validate(full=True)
            origins = tuple(Principal.recorded(*each) for each in json.loads(metadata[b"origins"]))
    except (pa.ArrowException, StopIteration, OSError, LookupError, TypeError, RecursionError) as error:
        raise ValueError(f"not a block of events: {error!r}") from error
    origin = batch.column("origin").to_numpy()
    if len(origin) and not 0 <= origin.min() <= origin.max() < len(origins):
        raise ValueError("a block has events of an origin that it does not list")
    return EventBlock(origins, batch)


@dataclass(frozen=True, slots=True)
class ReceivedEvents:
    """Events of the log as columns, in log order: what is judged in one step.

    Shape:  every column has one entry per event; `tenants` and `records_at_ms` are looked up by `tenant` and `record`.
    Units:  times in milliseconds since the epoch, UTC; `timestamp_ms` is `received_at` where none was given.
    """

    tenants: tuple[Tenant, ...]
    records_at_ms: NDArray[np.int64]
    tenant: NDArray[np.int32]
    record: NDArray[np.int32]
    offset: NDArray[np.int64]
    event_name: pa.StringArray
    identifier: pa.StringArray
    timestamp_ms: NDArray[np.int64]
    timestamp_given: NDArray[np.bool_]
    payload: pa.MapArray

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def received_at_ms(self) -> NDArray[np.int64]:
        return self.records_at_ms[self.record]

    def take(self, rows: NDArray[np.int64]) -> "ReceivedEvents":
        """Only these rows; `rows` ascending."""
        at = pa.array(rows)
        return ReceivedEvents(
            tenants=self.tenants,
            records_at_ms=self.records_at_ms,
            tenant=self.tenant[rows],
            record=self.record[rows],
            offset=self.offset[rows],
            event_name=self.event_name.take(at),
            identifier=self.identifier.take(at),
            timestamp_ms=self.timestamp_ms[rows],
            timestamp_given=self.timestamp_given[rows],
            payload=self.payload.take(at),
        )


def received(logged: Sequence[LoggedBlock]) -> ReceivedEvents:
    """Join blocks, at least one, in log order."""
    blocks = [each.block for each in logged]
    tenants = tuple(dict.fromkeys(origin.tenant for block in blocks for origin in block.origins))
    numbers = {tenant: number for number, tenant in enumerate(tenants)}
    tenant_of_origin = [np.array([numbers[origin.tenant] for origin in block.origins], np.int32) for block in blocks]
    tenant = np.concatenate(
        [known[_column(block, "origin").to_numpy()] for known, block in zip(tenant_of_origin, blocks, strict=True)]
    )
    sizes = [len(block) for block in blocks]
    record = np.repeat(np.arange(len(blocks), dtype=np.int32), sizes)
    at_ms = np.array([each.received_at_ms for each in logged], np.int64)
    timestamp_ms = np.concatenate([_column(block, "timestamp_ms").to_numpy() for block in blocks])
    given = timestamp_ms != ABSENT_MS
    return ReceivedEvents(
        tenants=tenants,
        records_at_ms=at_ms,
        tenant=tenant,
        record=record,
        offset=np.concatenate(
            [
                np.arange(each.first_offset, each.first_offset + size, dtype=np.int64)
                for each, size in zip(logged, sizes, strict=True)
            ]
        ),
        event_name=pa.concat_arrays([_column(block, "event_name") for block in blocks]),
        identifier=pa.concat_arrays([_column(block, "identifier") for block in blocks]),
        timestamp_ms=np.where(given, timestamp_ms, at_ms[record]),
        timestamp_given=given,
        payload=pa.concat_arrays([_column(block, "payload") for block in blocks]),
    )


def _column(block: EventBlock, name: str) -> Any:
    return block.events.column(name)
