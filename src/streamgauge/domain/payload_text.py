"""Payloads as text: a column of maps becomes a column of JSON objects, which every tool can read in the store.

Most payloads say nothing but customer and value, which have columns of their own. Of those a form is enough: the JSON
object with a mark where each of the two stands.
"""

import json
from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.texts import decoded

# They stand in no JSON text, which has escapes for them.
CUSTOMER_MARK: Final = "\x01"
VALUE_MARK: Final = "\x02"

_SPACE, _QUOTE, _BACKSLASH = 0x20, ord('"'), ord("\\")


def json_objects(payloads: pa.MapArray) -> pa.StringArray:
    """One JSON object of strings per payload, members in the order in which they were sent.

    `payloads` is not a slice of a longer array.
    """
    keys, values = decoded(payloads.keys), payloads.items
    if needs_escapes(keys) or needs_escapes(values):
        return pa.array([json.dumps(dict(each), ensure_ascii=False) for each in payloads.to_pylist()], pa.string())
    members = pc.binary_join_element_wise('"', keys, '":"', values, '"', "")
    joined = pc.binary_join(pa.ListArray.from_arrays(payloads.offsets, members), ",")
    return pc.binary_join_element_wise("{", joined, "}", "")


def payload_of(text: str) -> dict[str, str]:
    """The inverse, for one payload."""
    payload: dict[str, str] = json.loads(text)
    return payload


def payload_forms(customer_key: str, value_key: str) -> tuple[str, str, str]:
    """With the customer alone, with the value behind it, with the value before it."""
    customer = f'{json.dumps(customer_key, ensure_ascii=False)}:"{CUSTOMER_MARK}"'
    value = f'{json.dumps(value_key, ensure_ascii=False)}:"{VALUE_MARK}"'
    return f"{{{customer}}}", f"{{{customer},{value}}}", f"{{{value},{customer}}}"


def filled(form: str, customer: str, value: Decimal) -> str:
    """The JSON object that a form stands for."""
    return form.replace(VALUE_MARK, f"{value.normalize():f}").replace(CUSTOMER_MARK, customer)


def needs_escapes(texts: pa.StringArray) -> bool:
    """Whether any of them has a character that JSON does not show as it is."""
    data: NDArray[np.uint8] = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    return bool(((data < _SPACE) | (data == _QUOTE) | (data == _BACKSLASH)).any())
