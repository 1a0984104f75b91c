"""Values of meter events: exact decimals, from strings, for whole columns."""

from dataclasses import dataclass
from decimal import Context
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge import native
from streamgauge.domain.column_groups import bools_of
from streamgauge.domain.fate import CODE_NUMBER, NO_REJECTION, RejectionCode
from streamgauge.domain.texts import buffers_of

VALUE_DIGITS_MAX: Final = 15
VALUE_TYPE: Final = pa.decimal128(38, VALUE_DIGITS_MAX)  # 15 digits, wherever their point stands, always fit
# For totals in Python: its default of 28 digits would round them.
EXACT: Final = Context(prec=100)

_DECIMAL: Final = r"^-?[0-9]+(\.[0-9]+)?$"
_DIGITS_THAT_COUNT: Final = (r"^-?0*([0-9]*)\.?([0-9]*)$", r"\1\2")
_NOBODY: Final = pa.nulls(1, pa.string())[0]  # by pa.scalar it would import pandas
_CODES: Final = bytes(
    CODE_NUMBER[each]
    for each in (RejectionCode.INVALID_VALUE, RejectionCode.VALUE_TOO_MANY_DIGITS, RejectionCode.VALUE_NOT_FOUND)
)


def numbers_of(values: pa.Decimal128Array) -> NDArray[np.uint64]:
    """(values, 2): each as a number of 10^-15, its lower half first; what a null holds is not said."""
    return np.frombuffer(values.buffers()[1], np.uint64).reshape(-1, 2)[values.offset : values.offset + len(values)]


def values_of(numbers: NDArray[np.uint64]) -> pa.Decimal128Array:
    """The inverse; the array keeps the numbers where they are."""
    return pa.Array.from_buffers(VALUE_TYPE, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(numbers))])


def floats_of(numbers: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Each value to within its 2^-50th part; a cast takes three times as long."""
    low, high = numbers[:, 0], numbers[:, 1].view(np.int64)
    values = high.astype(np.float64) * 2.0**64 + low
    negative = np.flatnonzero(high < 0)
    if len(negative):
        # By their magnitude: the halves of a small negative number are near 2^64, and their sum would be rounded.
        low, high = low[negative], high[negative]
        values[negative] = -((~high + (low == 0)) * 2.0**64 + (~low + np.uint64(1)))
    values *= 10.0**-VALUE_DIGITS_MAX
    return values


@dataclass(frozen=True, slots=True)
class ParsedValues:
    """One entry per text. Where `code` is not NO_REJECTION the value is null. `is_canonical`: the value's own text is
    the one that was sent."""

    value: pa.Decimal128Array
    code: NDArray[np.uint8]
    is_canonical: NDArray[np.bool_]


def parse_values(texts: pa.StringArray, places: NDArray[np.int64] | None = None) -> ParsedValues:
    """Read the decimal strings at these places, or all; a negative place and a null are `meter_event_value_not_found`.

    A value is digits with an optional sign and point, no exponent, no blank, and at most 15 digits: leading zeros
    do not count, decimals do.
    """
    if places is None:
        places = np.where(bools_of(texts.is_valid()), np.arange(len(texts)), -1)
    if native.compiled is None:
        return _parsed_here(texts.take(pa.array(places, mask=places < 0)))
    values, codes = np.empty((len(places), 2), np.uint64), np.empty(len(places), np.uint8)
    canonical = np.empty(len(places), np.bool_)
    native.compiled.parse_decimals(*buffers_of(texts), places, _CODES, values, codes, canonical)
    validity = None
    if codes.any():
        validity = pa.py_buffer(np.packbits(codes == NO_REJECTION, bitorder="little"))
    value = pa.Array.from_buffers(VALUE_TYPE, len(places), [validity, pa.py_buffer(values)])
    return ParsedValues(value, codes, canonical)


def _parsed_here(texts: pa.StringArray) -> ParsedValues:
    """The same of texts, with nulls."""
    # Usage repeats its values (1, 25, ...), so each distinct text is looked at once.
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary
    decimal = pc.match_substring_regex(distinct, _DECIMAL)
    # What is no longer than that many digits cannot have more, whatever they are; the rest is looked at more closely.
    good = pc.and_(decimal, pc.less_equal(pc.binary_length(distinct), VALUE_DIGITS_MAX))
    codes = np.full(len(distinct), NO_REJECTION, np.uint8)
    others = np.flatnonzero(~bools_of(good))
    if len(others):
        codes[others] = _codes(distinct.take(pa.array(others)))
        good = pa.array(codes == NO_REJECTION)
    values = pc.cast(pc.if_else(good, distinct, _NOBODY), VALUE_TYPE)
    canonical = bools_of(pc.and_(good, _is_canonical(distinct)))
    # One entry more, for null texts.
    codes = np.append(codes, np.uint8(CODE_NUMBER[RejectionCode.VALUE_NOT_FOUND]))
    at = encoded.indices.fill_null(len(distinct)).to_numpy()
    return ParsedValues(values.take(encoded.indices), codes[at], np.append(canonical, False)[at])


def _codes(texts: pa.StringArray) -> NDArray[np.uint8]:
    decimal = pc.match_substring_regex(texts, _DECIMAL)
    digits = pc.utf8_length(pc.replace_substring_regex(texts, *_DIGITS_THAT_COUNT))
    codes = np.full(len(texts), CODE_NUMBER[RejectionCode.INVALID_VALUE], np.uint8)
    codes[bools_of(decimal)] = CODE_NUMBER[RejectionCode.VALUE_TOO_MANY_DIGITS]
    codes[bools_of(pc.and_(decimal, pc.less_equal(digits, VALUE_DIGITS_MAX)))] = NO_REJECTION
    return codes


def _is_canonical(decimals: pa.StringArray) -> pa.BooleanArray:
    """Of decimals: no zero that could be left out, before or behind, and no sign of zero."""
    behind = pc.and_(pc.ends_with(decimals, "0"), pc.match_substring(decimals, "."))
    before = pc.and_not(pc.starts_with(decimals, "0"), pc.or_(pc.starts_with(decimals, "0."), pc.equal(decimals, "0")))
    return pc.invert(pc.or_(pc.or_(behind, before), pc.starts_with(decimals, "-0")))
