"""Identifiers that are UUIDs as 16 bytes: most are, and as text they are the largest column by far."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.packed_identifiers import FORM_HEX, FORM_UUID, packed_identifiers

UUID_BYTES: Final = 16


def split_uuids(identifiers: pa.StringArray) -> tuple[pa.FixedSizeBinaryArray, pa.StringArray]:
    """(uuids, names), one each per identifier: the 16 bytes of a UUID in lower case and no name, or zeros and the name.

    `identifiers` is not a slice of a longer array.
    """
    is_uuid, packed = _packed(identifiers) if native.compiled is None else _packed_compiled(identifiers)
    count = len(is_uuid)
    uuids = pa.Array.from_buffers(pa.binary(UUID_BYTES), count, [None, pa.py_buffer(packed)])
    if not is_uuid.all():
        return uuids, pc.if_else(pa.array(is_uuid), "", identifiers)
    no_text = np.zeros(count + 1, np.int32)
    return uuids, pa.StringArray.from_buffers(count, pa.py_buffer(no_text), pa.py_buffer(b""))


def _packed_compiled(identifiers: pa.StringArray) -> tuple[NDArray[np.bool_], bytes]:
    assert native.compiled is not None, "the caller has looked"
    _, offsets, data = identifiers.buffers()
    is_uuid, packed = native.compiled.uuids(memoryview(offsets)[: 4 * (len(identifiers) + 1)], data or b"")
    return np.frombuffer(is_uuid, np.bool_), packed


def _packed(identifiers: pa.StringArray) -> tuple[NDArray[np.bool_], bytes]:
    form, ids, _ = packed_identifiers(identifiers)
    is_uuid = form == FORM_UUID
    packed = np.zeros((len(form), UUID_BYTES), np.uint8)
    packed[is_uuid] = np.frombuffer(ids, np.uint8).reshape(-1, UUID_BYTES)[is_uuid[form >= FORM_HEX]]
    return is_uuid, packed.tobytes()
