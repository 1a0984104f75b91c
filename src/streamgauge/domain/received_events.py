"""Events as the applier gets them: blocks of the log put together, with what their place in the log says of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.event_block import EventBlock, FirstReceipt, event_columns
from streamgauge.domain.meter_event import ABSENT_MS
from streamgauge.domain.stored_block import joined


@dataclass(frozen=True, slots=True)
class LoggedBlock:
    """A block of events with the offset of its first one and when it was received (ms since the epoch, UTC).

    `first_receipt` is None unless it is a redrive (`redrive.py`).
    """

    block: EventBlock
    first_offset: int
    received_at_ms: int
    first_receipt: FirstReceipt | None = None


@dataclass(frozen=True, slots=True)
class ReceivedEvents:
    """Events of the log as columns, in log order: what is judged in one step.

    Shape:  every column has one entry per event; `tenants`, `origins` and `records_at_ms` are looked up by `tenant`,
            `origin` and `record`.
    Units:  times in milliseconds since the epoch, UTC; `timestamp_ms` is `received_at` where none was given, of the
            first receipt if it is redriven.
    """

    tenants: tuple[Tenant, ...]
    origins: tuple[Principal, ...]
    records_at_ms: NDArray[np.int64]
    tenant: NDArray[np.int32]
    origin: NDArray[np.int32]
    record: NDArray[np.int32]
    offset: NDArray[np.int64]
    event_name: pa.DictionaryArray
    identifier: pa.StringArray
    timestamp_ms: NDArray[np.int64]
    timestamp_given: NDArray[np.bool_]
    payload: pa.MapArray  # with words as keys
    # None: nothing is redriven, so each stands where it was received first.
    first_receipt: FirstReceipt | None = None

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def received_at_ms(self) -> NDArray[np.int64]:
        return self.records_at_ms.take(self.record)

    @property
    def first_offset(self) -> NDArray[np.int64]:
        return self.offset if self.first_receipt is None else self.first_receipt.offset

    @property
    def first_received_at_ms(self) -> NDArray[np.int64]:
        return self.received_at_ms if self.first_receipt is None else self.first_receipt.received_at_ms

    def take(self, rows: NDArray[np.int64]) -> "ReceivedEvents":
        """Only these rows; `rows` ascending."""
        at = pa.array(rows)
        return ReceivedEvents(
            tenants=self.tenants,
            origins=self.origins,
            records_at_ms=self.records_at_ms,
            tenant=self.tenant[rows],
            origin=self.origin[rows],
            record=self.record[rows],
            offset=self.offset[rows],
            event_name=self.event_name.take(at),
            identifier=self.identifier.take(at),
            timestamp_ms=self.timestamp_ms[rows],
            timestamp_given=self.timestamp_given[rows],
            payload=self.payload.take(at),
            first_receipt=None if self.first_receipt is None else self.first_receipt.take(rows),
        )


def received(logged: Sequence[LoggedBlock]) -> ReceivedEvents:
    """Join blocks, at least one, in log order."""
    blocks = [each.block for each in logged]
    parts = joined([block.parts for block in blocks])
    event_name, identifier, payload = event_columns(parts)
    origins = tuple(dict.fromkeys(origin for block in blocks for origin in block.origins))
    numbers = {origin: number for number, origin in enumerate(origins)}
    origins_of = [np.array([numbers[origin] for origin in block.origins], np.int32) for block in blocks]
    origin = np.concatenate([known.take(block.origin) for known, block in zip(origins_of, blocks, strict=True)])
    tenants = tuple(dict.fromkeys(each.tenant for each in origins))
    tenant_of = np.array([tenants.index(each.tenant) for each in origins], np.int32)
    sizes = [len(block) for block in blocks]
    record = np.repeat(np.arange(len(blocks), dtype=np.int32), sizes)
    at_ms = np.array([each.received_at_ms for each in logged], np.int64)
    offset = np.concatenate(
        [
            np.arange(each.first_offset, each.first_offset + size, dtype=np.int64)
            for each, size in zip(logged, sizes, strict=True)
        ]
    )
    received_at_ms = at_ms.take(record)
    first_receipt = _first_receipt(logged, offset, received_at_ms)
    given = parts.timestamp_ms != ABSENT_MS
    absent_ms = received_at_ms if first_receipt is None else first_receipt.received_at_ms
    return ReceivedEvents(
        tenants=tenants,
        origins=origins,
        records_at_ms=at_ms,
        tenant=tenant_of.take(origin),
        origin=origin,
        record=record,
        offset=offset,
        event_name=event_name,
        identifier=identifier,
        timestamp_ms=np.where(given, parts.timestamp_ms, absent_ms),
        timestamp_given=given,
        payload=payload,
        first_receipt=first_receipt,
    )


def _first_receipt(
    logged: Sequence[LoggedBlock], offset: NDArray[np.int64], received_at_ms: NDArray[np.int64]
) -> FirstReceipt | None:
    """Of all events of these blocks; None when none is redriven."""
    if all(each.first_receipt is None for each in logged):
        return None
    first = FirstReceipt(offset.copy(), received_at_ms.copy())
    start = 0
    for each in logged:
        rows = slice(start, start + len(each.block))
        if each.first_receipt is not None:
            first.offset[rows] = each.first_receipt.offset
            first.received_at_ms[rows] = each.first_receipt.received_at_ms
        start = rows.stop
    return first
