"""Formats 1 and 2 of a block of events, as older versions wrote them: read for ever, and written no more.

Both are one Arrow record batch with `format` and `origins` in the metadata of its schema. Format 1 has a row for each
event, and words as plain text. Format 2 has a row for each part of `stored_block.py`: its name, its type as NumPy
writes it (none: bytes), its data.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from streamgauge.domain.packed_identifiers import packed_identifiers
from streamgauge.domain.stored_block import NUMBERS, EventParts, StoredParts, narrow, stored_of

FIRST_FORMAT: Final = "1"
FIRST_SCHEMA: Final = pa.schema(
    [
        pa.field("origin", pa.int32(), nullable=False),
        pa.field("event_name", pa.string(), nullable=False),
        pa.field("identifier", pa.string(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("payload", pa.map_(pa.string(), pa.string()), nullable=False),
    ]
)
SECOND_FORMAT: Final = "2"
SECOND_SCHEMA: Final = pa.schema({"part": pa.string(), "type": pa.string(), "data": pa.large_binary()})
BASE_KEY: Final = b"base_ms"
# In the order of `stored_block.PARTS`.
PART_NAMES: Final = (
    *("timestamp", "name", "form", "key", "value_size", "payload_size", "names_size", "keys_size"),
    *("run_origin", "run_events", "ids", "names", "keys", "texts", "values"),
)
_WIDTHS: Final = {"|u1": 1, "<u2": 2, "<u4": 4, "<i8": 8}
_READ_OPTIONS: Final = pa.ipc.IpcReadOptions(use_threads=False)


def read_older(data: bytes) -> tuple[StoredParts, bytes]:
    """Parts, which may not fit together, and origins. Raises ValueError, LookupError, TypeError, StopIteration or an
    error of Arrow's when the bytes are of neither format."""
    with pa.ipc.open_stream(pa.py_buffer(data), options=_READ_OPTIONS) as reader:
        metadata: Mapping[bytes, bytes] = reader.schema.metadata or {}
        written = metadata.get(b"format", b"").decode()
        batch = reader.read_next_batch()
        batch.validate(full=True)
    origins = metadata[b"origins"]
    if written == FIRST_FORMAT:
        return _first_format(batch), origins
    if written == SECOND_FORMAT:
        return _second_format(batch, int(metadata[BASE_KEY])), origins
    raise ValueError(f"block format {written!r} is not known")


def _first_format(batch: pa.RecordBatch) -> StoredParts:
    if not batch.schema.equals(FIRST_SCHEMA):
        raise ValueError("a block has other columns than its format says")
    origin, event_name, identifier, timestamp_ms, payload = batch.columns
    names, keys = event_name.dictionary_encode(), payload.keys.dictionary_encode()
    form, ids, texts = packed_identifiers(identifier)
    values = [each.encode() for each in payload.items.to_pylist()]
    came_from = origin.to_numpy()
    if len(came_from) and came_from.min() < 0:
        raise ValueError("a block has events of an origin that it does not list")
    begins = np.flatnonzero(np.diff(came_from, prepend=-1))
    parts = EventParts(
        names=_words(names),
        keys=_words(keys),
        name=names.indices.to_numpy(),
        key=keys.indices.to_numpy(),
        timestamp_ms=timestamp_ms.to_numpy(),
        form=form,
        ids=ids,
        texts=texts,
        payload_size=narrow(np.diff(payload.offsets.to_numpy())),
        value_size=narrow([len(each) for each in values]),
        values=b"".join(values),
    )
    return stored_of(parts, came_from[begins].tolist(), np.diff(begins, append=len(came_from)).tolist())


def _words(words: pa.DictionaryArray) -> list[bytes]:
    return [each.encode() for each in words.dictionary.to_pylist()]


def _second_format(batch: pa.RecordBatch, base_ms: int) -> StoredParts:
    if not batch.schema.equals(SECOND_SCHEMA):
        raise ValueError("a block has other columns than its format says")
    found: dict[str, tuple[str, Any]] = {
        name.as_py(): (kind.as_py(), data.as_buffer()) for name, kind, data in zip(*batch.columns, strict=True)
    }
    parts = [found[name] for name in PART_NAMES]
    widths = bytes(_WIDTHS[kind] for kind, _ in parts[:NUMBERS])
    # What is null has nothing in it.
    data = tuple(b"" if each is None else memoryview(each).cast("B") for _, each in parts)
    return StoredParts(data, widths, base_ms)
