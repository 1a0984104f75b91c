"""Redrives: rejected events that stand in the log once more, to be judged by the catalogue of that later moment.

What the caller promised with the event stays: its content, and when it was received. So the time window and an absent
timestamp go by the first receipt, and so does which of two events was received last. What changed since, meters,
customers and rules, goes by the redrive. Only a counted event claims its identifier, so of several redrives of one
event one counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.event_block import EventBlock, FirstReceipt, block_of, columns_of_event, decode, encode
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter_event import MeterEvent
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.tally import Tally

# Eight bytes, so that what follows stands where Arrow wants it. The last one is the version.
MAGIC: Final = b"REDRIVE\x01"

LETTER_ID_PREFIX: Final = "dl_"

_SCHEMA: Final = pa.schema(
    [
        pa.field("events", pa.large_binary(), nullable=False),  # a block of events, in whatever format it is encoded
        pa.field("first_offset", pa.large_list(pa.int64()), nullable=False),
        pa.field("first_received_at_ms", pa.large_list(pa.int64()), nullable=False),
    ]
)
_WRITE_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ_OPTIONS: Final = pa.ipc.IpcReadOptions(use_threads=False)
_COUNTED: Final = (Fate.COUNTED, Fate.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An acknowledged event that could not be counted, as it was sent, with what was found when it was judged last.

    `offset` and `judged_at_ms` are the place in the log and the moment of that; `first_offset` and `received_at_ms`
    those of its first receipt, from which they differ once it was redriven. `is_open`: no event with its identifier
    has counted since it was received. Times are milliseconds since the epoch, UTC; `timestamp_ms` is the first receipt
    where none was given.
    """

    tenant: Tenant
    event_name: str
    identifier: str
    timestamp_ms: int
    timestamp_given: bool
    payload: tuple[tuple[str, str], ...]
    key_id: str
    session_id: str
    code: str
    meter: str
    customer: str
    offset: int
    judged_at_ms: int
    first_offset: int
    received_at_ms: int
    is_open: bool = True

    @property
    def id(self) -> str:
        return f"{LETTER_ID_PREFIX}{self.first_offset}"


def place_of_letter(letter_id: str) -> int | None:
    """The first offset that an id names; None when it is not an id of a dead letter."""
    number = letter_id.removeprefix(LETTER_ID_PREFIX)
    is_id = letter_id.startswith(LETTER_ID_PREFIX) and number.isascii() and number.isdigit() and len(number) < 19
    return int(number) if is_id else None


@dataclass(frozen=True, slots=True)
class RedriveBlock:
    """Events that are judged once more, with where and when each of them was received first."""

    events: EventBlock
    first_receipt: FirstReceipt

    def __len__(self) -> int:
        return len(self.events)

    @property
    def size_bytes(self) -> int:
        return self.events.size_bytes

    @property
    def tallies(self) -> dict[Tenant, Tally]:
        return {tenant: Tally(redriven=tally.events) for tenant, tally in self.events.tallies.items()}


def redrive_of(letters: Sequence[DeadLetter]) -> RedriveBlock:
    """One block of these events, in this order."""
    return RedriveBlock(
        block_of([columns_of_event(_origin(each), _event(each)) for each in letters]),
        FirstReceipt(
            np.array([each.first_offset for each in letters], np.int64),
            np.array([each.received_at_ms for each in letters], np.int64),
        ),
    )


def _origin(letter: DeadLetter) -> Principal:
    return Principal(letter.tenant, letter.key_id, letter.session_id or None)


def _event(letter: DeadLetter) -> MeterEvent:
    timestamp_ms = letter.timestamp_ms if letter.timestamp_given else None
    return MeterEvent(letter.event_name, letter.identifier, timestamp_ms, dict(letter.payload))


def encode_redrive(block: RedriveBlock) -> bytes:
    """The block as a record of the log: its events as they are encoded anyway, and two columns of numbers."""
    columns = [
        pa.array([encode(block.events)], pa.large_binary()),
        pa.array([block.first_receipt.offset], pa.large_list(pa.int64())),
        pa.array([block.first_receipt.received_at_ms], pa.large_list(pa.int64())),
    ]
    sink = pa.BufferOutputStream()
    sink.write(MAGIC)
    with pa.ipc.new_stream(sink, _SCHEMA, options=_WRITE_OPTIONS) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=_SCHEMA))
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def decode_redrive(data: bytes) -> RedriveBlock:
    """The inverse. Raises ValueError when the bytes are not a block of this format."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(data).slice(len(MAGIC)), options=_READ_OPTIONS) as reader:
            if not reader.schema.equals(_SCHEMA):
                raise ValueError("a redrive has other columns than its format says")
            batch = reader.read_next_batch()
            batch.validate(full=True)
        if batch.num_rows != 1:
            raise ValueError(f"a redrive has {batch.num_rows} blocks")
        events, offset, at_ms = (batch.column(at)[0] for at in range(len(_SCHEMA)))
        block = decode(events.as_py())
        first = FirstReceipt(_numbers(offset), _numbers(at_ms))
    except (pa.ArrowException, StopIteration, OSError, LookupError, TypeError) as error:
        raise ValueError(f"not a redrive: {error!r}") from error
    if not len(block) == len(first.offset) == len(first.received_at_ms):
        raise ValueError("a redrive has other events than its first receipts say")
    return RedriveBlock(block, first)


def _numbers(listed: pa.LargeListScalar) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(listed.values.to_numpy(zero_copy_only=False), np.int64)


def acknowledged(events: Iterable[StoredEvent]) -> list[StoredEvent]:
    """Of all rows that tell of an event the one that says its fate, in the order of first receipt: the row that
    counted if there is one, else the last; it also says what the event was rejected with at first. A redrive that came
    too late is no repeat of its event."""
    fates: dict[int, StoredEvent] = {}
    firsts: dict[int, StoredEvent] = {}
    for event in sorted(events, key=lambda each: each.log_offset):
        place = event.log_offset if event.first_offset is None else event.first_offset
        if place == event.log_offset:
            firsts[place] = event
        known = fates.get(place)
        if known is None or known.status not in _COUNTED:
            fates[place] = event
    return [_with_first(fates[place], firsts.get(place)) for place in sorted(fates)]


def _with_first(event: StoredEvent, first: StoredEvent | None) -> StoredEvent:
    if first is None or first is event:
        return event
    return replace(event, first_code=first.code, first_meter=first.meter)
