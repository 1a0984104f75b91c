"""Format 3 of a block of events: what a record of the log holds.

A head of fixed size, from whom the events came (JSON), and the parts below, compressed together. There is little to do
for a block, however small: a record costs its writer and its reader the same again and again.
Event names and payload keys are kept once and numbered. Sizes stand where Arrow has offsets, and times are relative,
because neither offsets nor absolute times can be compressed. Unsigned numbers are as wide as the writer chose.

    timestamp                   4 bytes: milliseconds after `base_ms` of the head, 2**32 - 1: none; or 8 bytes: as is
    name                        of each event, which of the different event names
    form, ids, texts            of each identifier its form (`packed_identifiers.py`); those of 16 bytes; the others
    key                         of each entry of the payloads, which of the different payload keys
    value_size, values          how many bytes each entry's value has; the bytes
    payload_size                how many entries each event's payload has
    names_size, names           sizes of the different event names, and the names one after the other
    keys_size, keys             the different payload keys in the same way
    run_origin, run_events      events that follow each other and come from one origin: which, and how many
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.meter_event import ABSENT_MS
from streamgauge.domain.packed_identifiers import FORM_HEX, packed_bytes

# Eight bytes; the last one is the format.
MAGIC: Final = b"EVENTS\x00\x03"

# Numbers first, then bytes; native/parts.c has the same order.
(
    TIMESTAMP,
    NAME,
    FORM,
    KEY,
    VALUE_SIZE,
    PAYLOAD_SIZE,
    NAMES_SIZE,
    KEYS_SIZE,
    RUN_ORIGIN,
    RUN_EVENTS,
    IDS,
    NAMES,
    KEYS,
    TEXTS,
    VALUES,
) = PARTS = range(15)
NUMBERS: Final = 10  # how many of them are numbers
_TEXTS: Final = ((NAMES_SIZE, NAMES), (KEYS_SIZE, KEYS), (FORM, TEXTS), (VALUE_SIZE, VALUES))

_KIND: Final = {1: "|u1", 2: "<u2", 4: "<u4", 8: "<i8"}
_NARROWEST: Final = ((np.iinfo(np.uint8).max, 1), (np.iinfo(np.uint16).max, 2), (np.iinfo(np.uint32).max, 4))
ABSENT: Final = 2**32 - 1

# How long the origins are, `base_ms`, how wide the numbers are, how long each part is.
_HEAD: Final = struct.Struct(f"<{len(MAGIC)}sIq{NUMBERS}s{len(PARTS)}I")
# LZ4 because the log is written on the path of the acknowledgement; docs/adr/0002 has the figures.
_CODEC: Final = pa.Codec("lz4_raw")
# The codec does not say when there is less than was asked for.
_END: Final = MAGIC

Bytes: TypeAlias = bytes | memoryview
Numbers: TypeAlias = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class StoredParts:
    """The parts as bytes, in the order of PARTS; `widths` are those of the numbers, in bytes."""

    data: tuple[Bytes, ...]
    widths: bytes
    base_ms: int

    def __len__(self) -> int:
        return len(self.data[NAME]) // self.widths[NAME]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.data))

    def numbers(self, part: int) -> Numbers:
        return np.frombuffer(self.data[part], _KIND[self.widths[part]])


@dataclass(frozen=True, slots=True)
class EventParts:
    """Parts to compute with, of one block or of several in order: times are absolute (ms since the epoch, UTC), and
    words are listed once."""

    names: Sequence[bytes]
    keys: Sequence[bytes]
    name: NDArray[Any]
    key: NDArray[Any]
    timestamp_ms: NDArray[np.int64]
    form: Numbers
    ids: bytes
    texts: bytes
    payload_size: Numbers
    value_size: Numbers
    values: bytes


# --- from and to bytes


def written(parts: StoredParts, origins: bytes) -> bytes:
    head = _HEAD.pack(MAGIC, len(origins), parts.base_ms, parts.widths, *map(len, parts.data))
    return b"".join((head, origins, _CODEC.compress(b"".join((*parts.data, _END)), asbytes=True)))


def read(data: bytes) -> tuple[StoredParts, bytes]:
    """The inverse: parts, which may not fit together, and origins. Raises ValueError, or an error of Arrow's, when the
    bytes are not those of this format."""
    try:
        magic, origins_size, base_ms, widths, *sizes = _HEAD.unpack_from(data)
    except struct.error as error:
        raise ValueError("a block is shorter than its head") from error
    body = _HEAD.size + origins_size
    whole = sum(sizes) + len(_END)
    if magic != MAGIC or body > len(data) or whole >= 2**31:
        raise ValueError("a block has another head than its format says")
    unpacked = _CODEC.decompress(memoryview(data)[body:], decompressed_size=whole, asbytes=True)
    if not unpacked.endswith(_END):
        raise ValueError("a block ends before its parts do")
    ends = [0, *np.cumsum(sizes).tolist()]
    view = memoryview(unpacked)
    return StoredParts(tuple(view[at:end] for at, end in pairwise(ends)), widths, base_ms), data[_HEAD.size : body]


def check(parts: StoredParts, origins: int) -> None:
    """Raises ValueError, or an error of Arrow's, when the parts do not fit together, or come from more origins."""
    fits = _fit_here if native.compiled is None else native.compiled.parts_fit
    if not fits(parts.data, parts.widths, origins):
        raise ValueError("a block has parts that do not fit together")
    if all(bytes(parts.data[texts]).isascii() for _, texts in _TEXTS):
        return
    for sizes, texts in _TEXTS:
        size = parts.numbers(sizes)
        _check_texts(size[size < FORM_HEX] if sizes == FORM else size, bytes(parts.data[texts]))


def _fit_here(data: Sequence[Bytes], widths: bytes, origins: int) -> bool:
    """As the compiled part does it."""
    for part, width in enumerate(widths):
        allowed = (4, 8) if part == TIMESTAMP else (1, 2) if part == FORM else (1, 2, 4)
        if width not in allowed or len(data[part]) % width:
            return False
    number = [np.frombuffer(data[part], _KIND[width]) for part, width in enumerate(widths)]
    count = [len(each) for each in number]
    total = [int(each.sum(dtype=np.int64)) for each in number]
    most = [max(each.tolist(), default=-1) for each in number]
    return (
        count[TIMESTAMP] == count[NAME] == count[FORM] == count[PAYLOAD_SIZE] == total[RUN_EVENTS]
        and count[RUN_ORIGIN] == count[RUN_EVENTS]
        and count[KEY] == count[VALUE_SIZE] == total[PAYLOAD_SIZE]
        and most[RUN_ORIGIN] < origins
        and most[NAME] < count[NAMES_SIZE]
        and most[KEY] < count[KEYS_SIZE]
        and total[NAMES_SIZE] == len(data[NAMES])
        and total[KEYS_SIZE] == len(data[KEYS])
        and total[VALUE_SIZE] == len(data[VALUES])
        and packed_bytes(number[FORM]) == (len(data[IDS]), len(data[TEXTS]))
    )


def _check_texts(sizes: Numbers, data: bytes) -> None:
    texts_of(sizes, data).validate(full=True)


# --- from and to columns


def stored_of(parts: EventParts, run_origin: Sequence[int], run_events: Sequence[int]) -> StoredParts:
    """Numbers are as wide as they are in `parts`, and as narrow as they can be where they are signed there."""
    relative, base_ms = _relative(parts.timestamp_ms)
    numbers = (
        relative,
        *map(_unsigned, (parts.name, parts.form, parts.key, parts.value_size, parts.payload_size)),
        *(narrow([len(each) for each in words]) for words in (parts.names, parts.keys)),
        *map(narrow, (run_origin, run_events)),
    )
    texts = (parts.ids, b"".join(parts.names), b"".join(parts.keys), parts.texts, parts.values)
    data = (*(each.tobytes() for each in numbers), *texts)
    return StoredParts(data, bytes(each.itemsize for each in numbers), base_ms)


def joined(blocks: Sequence[StoredParts]) -> EventParts:
    """Of blocks that were checked, at least one."""
    events = np.array([len(block) for block in blocks])
    names, name = _joined_words(blocks, NAMES, NAMES_SIZE, NAME)
    keys, key = _joined_words(blocks, KEYS, KEYS_SIZE, KEY)
    return EventParts(
        names=names,
        keys=keys,
        name=name,
        key=key,
        timestamp_ms=_absolute(blocks, events),
        form=_joined_numbers(blocks, FORM),
        ids=_joined_bytes(blocks, IDS),
        texts=_joined_bytes(blocks, TEXTS),
        payload_size=_joined_numbers(blocks, PAYLOAD_SIZE),
        value_size=_joined_numbers(blocks, VALUE_SIZE),
        values=_joined_bytes(blocks, VALUES),
    )


def _joined_bytes(blocks: Sequence[StoredParts], part: int) -> bytes:
    return b"".join([block.data[part] for block in blocks])


def _joined_numbers(blocks: Sequence[StoredParts], part: int) -> Numbers:
    widths = {block.widths[part] for block in blocks}
    if len(widths) == 1:
        return np.frombuffer(_joined_bytes(blocks, part), _KIND[widths.pop()])
    return np.concatenate([block.numbers(part) for block in blocks])


def _joined_words(
    blocks: Sequence[StoredParts], words: int, sizes: int, number: int
) -> tuple[list[bytes], NDArray[np.int32]]:
    """The different words of all blocks, and their numbers. A block may list a word twice."""
    known: dict[bytes, int] = {}
    numbers_of: dict[tuple[bytes, bytes, int], list[int]] = {}  # most blocks have the words of another
    renumbered: list[int] = []
    firsts, counts = [], []
    for block in blocks:
        listed = bytes(block.data[words]), bytes(block.data[sizes]), block.widths[sizes]
        if listed not in numbers_of:
            ends = [0, *np.cumsum(block.numbers(sizes), dtype=np.int64).tolist()]
            numbers_of[listed] = [known.setdefault(listed[0][at:end], len(known)) for at, end in pairwise(ends)]
        firsts.append(len(renumbered))
        counts.append(len(block.data[number]) // block.widths[number])
        renumbered += numbers_of[listed]
    found = _joined_numbers(blocks, number)
    if len(numbers_of) == 1 and len(renumbered) == len(known) * len(blocks):
        return list(known), found.astype(np.int32)
    return list(known), np.array(renumbered, np.int32)[found + np.repeat(np.array(firsts, np.int64), counts)]


def _relative(timestamp_ms: NDArray[np.int64]) -> tuple[NDArray[Any], int]:
    given = timestamp_ms != ABSENT_MS
    if not given.any():
        return np.full(len(timestamp_ms), ABSENT, np.uint32), 0
    base_ms = int(timestamp_ms.min(where=given, initial=np.iinfo(np.int64).max))
    if int(timestamp_ms.max()) - base_ms >= ABSENT:
        return timestamp_ms, 0
    return np.where(given, timestamp_ms - base_ms, ABSENT).astype(np.uint32), base_ms


def _absolute(blocks: Sequence[StoredParts], events: NDArray[np.int64]) -> NDArray[np.int64]:
    if all(block.widths[TIMESTAMP] == 4 for block in blocks):
        relative = _joined_numbers(blocks, TIMESTAMP)
        base_ms = np.repeat(np.array([block.base_ms for block in blocks], np.int64), events)
        return np.where(relative == ABSENT, ABSENT_MS, relative + base_ms)
    if len(blocks) == 1:
        return np.array(blocks[0].numbers(TIMESTAMP), np.int64)
    return np.concatenate([_absolute([block], np.array([len(block)])) for block in blocks])


def _unsigned(numbers: NDArray[Any]) -> Numbers:
    return numbers if numbers.dtype.kind == "u" else narrow(numbers)


def narrow(numbers: NDArray[Any] | Sequence[int]) -> Numbers:
    """In the narrowest type, which is what takes the least room."""
    most = int(np.max(numbers, initial=0))
    return np.asarray(numbers).astype(_KIND[next(width for limit, width in _NARROWEST if most <= limit)])


def texts_of(sizes: Numbers, data: bytes) -> pa.StringArray:
    """Raises ValueError beyond what an offset can say."""
    return pa.StringArray.from_buffers(len(sizes), pa.py_buffer(offsets_of(sizes)), pa.py_buffer(data))


def offsets_of(sizes: Numbers) -> NDArray[np.int32]:
    if int(sizes.sum(dtype=np.int64)) >= 2**31:
        raise ValueError("events have texts of 2 GiB")
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return offsets
