"""Payloads as text: a column of maps becomes a column of JSON objects, which every tool can read in the store."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_SPACE, _QUOTE, _BACKSLASH = 0x20, ord('"'), ord("\\")


def json_objects(payloads: pa.MapArray) -> pa.StringArray:
    """One JSON object of strings per payload, members in the order in which they were sent.

    `payloads` is not a slice of a longer array.
    """
    keys, values = payloads.keys, payloads.items
    if _needs_escapes(keys) or _needs_escapes(values):
        return pa.array([json.dumps(dict(each), ensure_ascii=False) for each in payloads.to_pylist()], pa.string())
    members = pc.binary_join_element_wise('"', keys, '":"', values, '"', "")
    joined = pc.binary_join(pa.ListArray.from_arrays(payloads.offsets, members), ",")
    return pc.binary_join_element_wise("{", joined, "}", "")


def payload_of(text: str) -> dict[str, str]:
    """The inverse, for one payload."""
    payload: dict[str, str] = json.loads(text)
    return payload


def _needs_escapes(texts: pa.StringArray) -> bool:
    data: NDArray[np.uint8] = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    return bool(((data < _SPACE) | (data == _QUOTE) | (data == _BACKSLASH)).any())
