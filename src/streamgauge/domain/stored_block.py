"""Format 2 of a block of events: what a record of the log holds.

One Arrow record batch with a row for each of the parts below: its name, its type as NumPy writes it (none: bytes), its
data. So parts may have lengths of their own, and there is little to do for each block, however small.
Event names and payload keys are kept once and numbered. An identifier that is a UUID in lower case, or 32 hexadecimal
digits, is 16 bytes. Sizes stand where Arrow has offsets, and times are relative, because neither offsets nor absolute
times can be compressed. Unsigned numbers are as wide as the writer chose.

    run_origin, run_events      events that follow each other and come from one origin: which, and how many
    names, names_size, name     the different event names, one after the other, and their sizes; of each event, which
    timestamp                   <u4: milliseconds after `base_ms` of the metadata, 2**32 - 1: not given; or <i8: as is
    form, ids, texts            of each identifier its form (below); those of 16 bytes; the bytes of the others
    payload_size                how many entries each event's payload has
    keys, keys_size, key        the different payload keys in the same way; of each entry, which
    value_size, values          how many bytes each entry's value has; the bytes
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.meter_event import ABSENT_MS

FORMAT_VERSION: Final = "2"
BASE_KEY: Final = b"base_ms"

# An identifier's form: how many bytes its text has, or one of these. native/request.h has the same.
FORM_HEX: Final = 0xFFFE
FORM_UUID: Final = 0xFFFF
_ID_BYTES: Final = 16
_UUID_CHARACTERS: Final = 36
_HEX_DIGITS: Final = 32
_HEX_TEXT: Final = r"^[0-9a-f]{32}$"
_UUID_TEXT: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_UUID_DIGITS: Final = np.array([place for place in range(_UUID_CHARACTERS) if place not in (8, 13, 18, 23)])
_ABSENT: Final = 2**32 - 1
_NUMBER_TYPES: Final = tuple((np.iinfo(each).max, each) for each in (np.uint8, np.uint16, np.uint32))
_NUMBER_KINDS: Final = ("|u1", "<u2", "<u4")
_BYTES: Final = ""
_SCHEMA: Final = pa.schema({"part": pa.string(), "type": pa.string(), "data": pa.large_binary()})

Numbers: TypeAlias = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Parts:
    """The columns above without the runs: what is the same whoever the events come from."""

    names: pa.StringArray
    keys: pa.StringArray
    name: Numbers
    timestamp_ms: NDArray[np.int64]
    form: Numbers
    ids: bytes | pa.Buffer
    texts: bytes | pa.Buffer
    payload_size: Numbers
    key: Numbers
    value_size: Numbers
    values: bytes | pa.Buffer

    def __len__(self) -> int:
        return len(self.name)


def joined(requests: list[Any]) -> Parts | None:
    """The events of requests that the compiled parser has read; None when that must be done in Python."""
    assert native.compiled is not None, "nothing else makes such requests"
    found = native.compiled.join(requests)
    if found is None:
        return None
    names, keys, name, timestamp, form, ids, texts, payload_size, key, value_size, values = found
    return Parts(
        names=_joined_texts(names),
        keys=_joined_texts(keys),
        name=np.frombuffer(name, np.uint16),
        timestamp_ms=np.frombuffer(timestamp, np.int64),
        form=np.frombuffer(form, np.uint16),
        ids=ids,
        texts=texts,
        payload_size=np.frombuffer(payload_size, np.uint8),
        key=np.frombuffer(key, np.uint16),
        value_size=np.frombuffer(value_size, np.uint16),
        values=values,
    )


# --- from and to columns of text


def parts_of(
    name: pa.DictionaryArray, identifiers: pa.StringArray, timestamp_ms: NDArray[np.int64], payload: Any
) -> Parts:
    """The parts of columns; `payload` is a map column, its keys words like `name`. None of them is a slice of a longer
    one."""
    key = payload.keys
    form, ids, texts = packed_identifiers(identifiers)
    return Parts(
        names=name.dictionary,
        keys=key.dictionary,
        name=_narrow(name.indices.to_numpy()),
        timestamp_ms=timestamp_ms,
        form=form,
        ids=ids,
        texts=texts,
        payload_size=_narrow(np.diff(payload.offsets.to_numpy())),
        key=_narrow(key.indices.to_numpy()),
        value_size=_narrow(np.diff(_offsets(payload.items))),
        values=payload.items.buffers()[2] or b"",
    )


def columns_of(parts: Parts) -> tuple[pa.DictionaryArray, pa.StringArray, pa.MapArray]:
    """Event names, identifiers and payloads. Raises ValueError or an error of Arrow's when parts do not fit together.

    Words are taken to be whole: of what was read, Arrow has checked them.
    """
    names, identifiers, keys = _words(parts.names, parts.name), _unpacked(parts), _words(parts.keys, parts.key)
    values = _texts(_cumulated(parts.value_size), parts.values)
    offsets = _cumulated(parts.payload_size)
    if not len(names) == len(parts.timestamp_ms) == len(parts.form) == len(parts.payload_size):
        raise ValueError("a block has columns of several lengths")
    if not offsets[-1] == len(keys) == len(values):
        raise ValueError("a block has other payloads than its sizes say")
    # That they are UTF-8; all else is so by the way in which it was made here.
    values.validate(full=True)
    if len(parts.texts):
        identifiers.validate(full=True)
    return names, identifiers, pa.MapArray.from_arrays(pa.array(offsets), keys, values)


def _words(words: pa.StringArray, number: Numbers) -> pa.DictionaryArray:
    if int(number.max(initial=0)) >= len(words) and len(number):
        raise ValueError("a block has words that it does not list")
    numbered = pa.DictionaryArray.from_arrays(pa.array(number.astype(np.int32)), words)
    # Whoever reads a dictionary takes different numbers for different words.
    return numbered if len(set(words.to_pylist())) == len(words) else numbered.dictionary_decode().dictionary_encode()


def _texts(offsets: NDArray[np.int32], data: bytes | pa.Buffer) -> pa.StringArray:
    """Raises ValueError when the texts are not just as long as the data."""
    if offsets[-1] != len(data):
        raise ValueError("a block has other texts than their sizes say")
    buffer = data if isinstance(data, pa.Buffer) else pa.py_buffer(data)
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), buffer)


def _offsets(texts: pa.StringArray) -> NDArray[np.int32]:
    return np.frombuffer(texts.buffers()[1], np.int32)[: len(texts) + 1]


def _cumulated(sizes: Numbers) -> NDArray[np.int32]:
    """Offsets. Raises ValueError beyond what an offset can say."""
    if int(sizes.sum(dtype=np.int64)) >= 2**31:
        raise ValueError("a block has texts of 2 GiB")
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    return offsets


def _narrow(numbers: NDArray[Any]) -> Numbers:
    """The same in the narrowest type, which is what takes the least room."""
    most = int(numbers.max(initial=0))
    return numbers.astype(next(each for limit, each in _NUMBER_TYPES if most <= limit))


# --- identifiers


def packed_identifiers(identifiers: pa.StringArray) -> tuple[NDArray[np.uint16], bytes, bytes]:
    """Forms, identifiers of 16 bytes, and the bytes of all others. No text has 65,534 bytes or more."""
    offsets = _offsets(identifiers).astype(np.int64)
    data = np.frombuffer(identifiers.buffers()[2] or b"", np.uint8)[: offsets[-1]]
    form = np.diff(offsets).astype(np.uint16)
    ids = np.zeros((len(form), _ID_BYTES), np.uint8)
    is_text = np.ones(len(data), np.bool_)
    for size, pattern, packed_form in ((_UUID_CHARACTERS, _UUID_TEXT, FORM_UUID), (_HEX_DIGITS, _HEX_TEXT, FORM_HEX)):
        if not (form == size).any():
            continue
        rows = np.flatnonzero((form == size) & pc.match_substring_regex(identifiers, pattern).to_numpy(False))
        places = offsets[rows][:, None] + np.arange(size)
        letters = data[places][:, _UUID_DIGITS] if size == _UUID_CHARACTERS else data[places]
        digits = np.where(letters > ord("9"), letters - (ord("a") - 10), letters - ord("0")).astype(np.uint8)
        ids[rows] = digits[:, ::2] << 4 | digits[:, 1::2]
        form[rows] = packed_form
        is_text[places] = False
    return form, ids[form >= FORM_HEX].tobytes(), data[is_text].tobytes()


def _unpacked(parts: Parts) -> pa.StringArray:
    """Raises ValueError when forms and bytes do not fit together."""
    if native.compiled is None:
        return _unpacked_here(parts)
    forms = np.ascontiguousarray(parts.form, np.uint16)
    offsets, data = native.compiled.identifiers(forms.data, parts.ids, parts.texts)
    return _texts(np.frombuffer(offsets, np.int32), data)


def _unpacked_here(parts: Parts) -> pa.StringArray:
    form, texts = parts.form, np.frombuffer(parts.texts, np.uint8)
    if len(parts.ids) != _ID_BYTES * int((form >= FORM_HEX).sum()):
        raise ValueError("a block has other identifiers than their forms say")
    sizes = np.where(form == FORM_UUID, _UUID_CHARACTERS, np.where(form == FORM_HEX, _HEX_DIGITS, form))
    offsets = _cumulated(sizes.astype(np.uint32))
    data = np.full(offsets[-1], ord("-"), np.uint8)
    is_text = np.ones(len(data), np.bool_)
    ids = np.frombuffer(parts.ids, np.uint8).reshape(-1, _ID_BYTES)
    digits = np.stack((ids >> 4, ids & 15), axis=-1).reshape(-1, _HEX_DIGITS)
    letters = (digits + np.where(digits > 9, ord("a") - 10, ord("0"))).astype(np.uint8)
    packed = form[form >= FORM_HEX]
    for size, packed_form, at in (
        (_UUID_CHARACTERS, FORM_UUID, _UUID_DIGITS),
        (_HEX_DIGITS, FORM_HEX, np.arange(_HEX_DIGITS)),
    ):
        starts = offsets[:-1][form == packed_form][:, None]
        data[starts + at] = letters[packed == packed_form]
        is_text[starts + np.arange(size)] = False
    if int(is_text.sum()) != len(texts):
        raise ValueError("a block has other identifiers than their forms say")
    data[is_text] = texts
    return _texts(offsets, data.tobytes())


# --- as a table


def table_of(
    run_origin: NDArray[Any], run_events: NDArray[Any], parts: Parts, metadata: Mapping[str, str]
) -> pa.RecordBatch:
    """The batch that is written, with this metadata and its `base_ms`."""
    timestamp, base_ms = _relative(parts.timestamp_ms)
    numbers: dict[str, NDArray[Any]] = {
        "run_origin": _narrow(run_origin),
        "run_events": _narrow(run_events),
        "names_size": _narrow(np.diff(_offsets(parts.names))),
        "name": parts.name,
        "timestamp": timestamp,
        "form": parts.form,
        "payload_size": parts.payload_size,
        "keys_size": _narrow(np.diff(_offsets(parts.keys))),
        "key": parts.key,
        "value_size": parts.value_size,
    }
    texts = {
        "names": parts.names.buffers()[2] or b"",
        "keys": parts.keys.buffers()[2] or b"",
        "ids": parts.ids,
        "texts": parts.texts,
        "values": parts.values,
    }
    # The widest first: then each stands where a processor can read it.
    ordered = sorted(numbers.items(), key=lambda each: -each[1].itemsize)
    names = (*(name for name, _ in ordered), *texts)
    kinds = (*(each.dtype.str for _, each in ordered), *(_BYTES for _ in texts))
    data: list[bytes | memoryview] = [
        *(each.tobytes() for _, each in ordered),
        *(memoryview(each).cast("B") for each in texts.values()),
    ]
    columns = [_strings(names), _strings(kinds), _binaries(data)]
    schema = _SCHEMA.with_metadata({**metadata, BASE_KEY.decode(): str(base_ms)})
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def parts_of_table(batch: pa.RecordBatch, base_ms: int) -> tuple[Numbers, Numbers, Parts]:
    """The inverse: origins and sizes of runs, and the parts. Raises ValueError or an error of Arrow's if it is none."""
    if not batch.schema.equals(_SCHEMA):
        raise ValueError("a block has other columns than its format says")
    found: dict[str, tuple[str, Any]] = {
        name.as_py(): (kind.as_py(), data.as_buffer() or b"") for name, kind, data in zip(*batch.columns, strict=True)
    }
    if found["timestamp"][0] == "<u4":
        relative = _numbers(found["timestamp"])
        timestamp_ms = np.where(relative == _ABSENT, ABSENT_MS, relative.astype(np.int64) + base_ms)
    elif found["timestamp"][0] == "<i8":
        timestamp_ms = _array_of(found["timestamp"][1], np.int64)
    else:
        raise ValueError("a block has times of another type than its format says")
    if found["form"][0] == "<u4":
        raise ValueError("a block has forms of another type than its format says")
    parts = Parts(
        names=_read_words(found["names_size"], found["names"][1]),
        keys=_read_words(found["keys_size"], found["keys"][1]),
        name=_numbers(found["name"]),
        timestamp_ms=timestamp_ms,
        form=_numbers(found["form"]),
        ids=found["ids"][1],
        texts=found["texts"][1],
        payload_size=_numbers(found["payload_size"]),
        key=_numbers(found["key"]),
        value_size=_numbers(found["value_size"]),
        values=found["values"][1],
    )
    return _numbers(found["run_origin"]), _numbers(found["run_events"]), parts


def _relative(timestamp_ms: NDArray[np.int64]) -> tuple[NDArray[Any], int]:
    given = timestamp_ms != ABSENT_MS
    if not given.any():
        return np.full(len(timestamp_ms), _ABSENT, np.uint32), 0
    base_ms = int(timestamp_ms.min(where=given, initial=np.iinfo(np.int64).max))
    if int(timestamp_ms.max()) - base_ms >= _ABSENT:
        return timestamp_ms, 0
    return np.where(given, timestamp_ms - base_ms, _ABSENT).astype(np.uint32), base_ms


# By buffers, not by pa.array, which imports pandas in processes that do not leave it out (bootstrap/lean.py).
@cache
def _strings(texts: tuple[str, ...]) -> pa.StringArray:
    """Names and types of parts: there are as many as parts have widths."""
    return _joined_texts([text.encode() for text in texts])


def _joined_texts(texts: Sequence[bytes]) -> pa.StringArray:
    return _texts(_offsets_of(texts, np.int32), b"".join(texts))


def _binaries(data: Sequence[bytes | memoryview]) -> pa.LargeBinaryArray:
    offsets = pa.py_buffer(_offsets_of(data, np.int64))
    return pa.Array.from_buffers(pa.large_binary(), len(data), [None, offsets, pa.py_buffer(b"".join(data))])


def _offsets_of(data: Sequence[bytes | memoryview], kind: Any) -> NDArray[Any]:
    """Of a few pieces, for which Python is quicker than NumPy."""
    return np.array([0, *accumulate(map(len, data))], kind)


def _array_of(data: bytes | pa.Buffer, kind: Any) -> NDArray[Any]:
    """Raises ValueError when it is no whole number of them."""
    return np.require(np.frombuffer(data, kind), requirements="A") if len(data) else np.empty(0, kind)


def _numbers(read: tuple[str, Any]) -> Numbers:
    kind, data = read
    if kind not in _NUMBER_KINDS:
        raise ValueError(f"a block has numbers of type {kind!r}")
    return _array_of(data, kind)


def _read_words(sizes: tuple[str, Any], data: bytes | pa.Buffer) -> pa.StringArray:
    words = _texts(_cumulated(_numbers(sizes)), data)
    words.validate(full=True)
    return words
