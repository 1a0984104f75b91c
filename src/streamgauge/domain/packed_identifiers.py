"""Identifiers as a block has them: one that is a UUID in lower case, or 32 hexadecimal digits, is 16 bytes."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge import native

# An identifier's form: how many bytes its text has, or one of these. native/request.h has the same.
FORM_HEX: Final = 0xFFFE
FORM_UUID: Final = 0xFFFF
_ID_BYTES: Final = 16
_UUID_CHARACTERS: Final = 36
_HEX_DIGITS: Final = 32
_HEX_TEXT: Final = r"^[0-9a-f]{32}$"
_UUID_TEXT: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_UUID_DIGITS: Final = np.array([place for place in range(_UUID_CHARACTERS) if place not in (8, 13, 18, 23)])


def packed_identifiers(identifiers: pa.StringArray) -> tuple[NDArray[np.uint16], bytes, bytes]:
    """Forms, identifiers of 16 bytes, and the bytes of all others. No text has 65,534 bytes or more."""
    count = len(identifiers)
    offsets = np.frombuffer(identifiers.buffers()[1], np.int32)[: count + 1].astype(np.int64)
    data = np.frombuffer(identifiers.buffers()[2] or b"", np.uint8)[: offsets[-1]]
    form = np.diff(offsets).astype(np.uint16)
    ids = np.zeros((count, _ID_BYTES), np.uint8)
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


def packed_bytes(form: NDArray[np.unsignedinteger[Any]]) -> tuple[int, int]:
    """How many bytes identifiers of these forms have that are kept as 16 bytes, and how many the texts."""
    is_packed = form >= FORM_HEX
    return _ID_BYTES * int(is_packed.sum()), int(form[~is_packed].sum(dtype=np.int64))


def unpacked(form: NDArray[np.unsignedinteger[Any]], ids: bytes, texts: bytes) -> pa.StringArray:
    """The inverse, of forms and bytes that fit together. Raises ValueError when the texts would have 2 GiB."""
    if native.compiled is None:
        offsets, data = _unpacked_here(form, ids, texts)
    else:
        offsets, data = native.compiled.identifiers(np.ascontiguousarray(form, np.uint16).data, ids, texts)
    return pa.StringArray.from_buffers(len(form), pa.py_buffer(offsets), pa.py_buffer(data))


def _unpacked_here(form: NDArray[np.unsignedinteger[Any]], ids: bytes, texts: bytes) -> tuple[Any, bytes]:
    sizes = np.where(form == FORM_UUID, _UUID_CHARACTERS, np.where(form == FORM_HEX, _HEX_DIGITS, form))
    ends = np.cumsum(sizes, dtype=np.int64)
    if len(ends) and ends[-1] >= 2**31:
        raise ValueError("identifiers have 2 GiB")
    offsets = np.append(0, ends).astype(np.int32)
    data = np.full(offsets[-1], ord("-"), np.uint8)
    is_text = np.ones(len(data), np.bool_)
    packed_ids = np.frombuffer(ids, np.uint8).reshape(-1, _ID_BYTES)
    digits = np.stack((packed_ids >> 4, packed_ids & 15), axis=-1).reshape(-1, _HEX_DIGITS)
    letters = (digits + np.where(digits > 9, ord("a") - 10, ord("0"))).astype(np.uint8)
    packed = form[form >= FORM_HEX]
    for size, packed_form, at in (
        (_UUID_CHARACTERS, FORM_UUID, _UUID_DIGITS),
        (_HEX_DIGITS, FORM_HEX, np.arange(_HEX_DIGITS)),
    ):
        starts = offsets[:-1][form == packed_form][:, None]
        data[starts + at] = letters[packed == packed_form]
        is_text[starts + np.arange(size)] = False
    data[is_text] = np.frombuffer(texts, np.uint8)
    return offsets, data.tobytes()
