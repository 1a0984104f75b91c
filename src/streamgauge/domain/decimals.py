"""Values of meter events: exact decimals, from strings, for whole columns."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.fate import CODE_NUMBER, NO_REJECTION, RejectionCode

VALUE_DIGITS_MAX: Final = 15
VALUE_TYPE: Final = pa.decimal128(38, VALUE_DIGITS_MAX)  # 15 digits, wherever their point stands, always fit

_DECIMAL: Final = r"^-?[0-9]+(\.[0-9]+)?$"
_DIGITS_THAT_COUNT: Final = (r"^-?0*([0-9]*)\.?([0-9]*)$", r"\1\2")


def parse_values(texts: pa.StringArray) -> tuple[pa.Decimal128Array, NDArray[np.uint8]]:
    """(values, codes) of a column of decimal strings; null text is `meter_event_value_not_found`.

    A value is digits with an optional sign and point, no exponent, no blank, and at most 15 digits: leading zeros
    do not count, decimals do. Where the code is not NO_REJECTION the value is null.
    """
    # Usage repeats its values (1, 25, ...), so each distinct text is looked at once.
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary
    decimal = pc.match_substring_regex(distinct, _DECIMAL)
    digits = pc.utf8_length(pc.replace_substring_regex(distinct, *_DIGITS_THAT_COUNT))
    short = pc.less_equal(digits, VALUE_DIGITS_MAX)
    good = pc.and_(decimal, short)
    values = pc.cast(pc.if_else(good, distinct, pa.scalar(None, pa.string())), VALUE_TYPE)
    codes = np.full(len(distinct), CODE_NUMBER[RejectionCode.INVALID_VALUE], np.uint8)
    codes[decimal.to_numpy(zero_copy_only=False)] = CODE_NUMBER[RejectionCode.VALUE_TOO_MANY_DIGITS]
    codes[good.to_numpy(zero_copy_only=False)] = NO_REJECTION
    # One entry more, for null texts.
    codes = np.append(codes, np.uint8(CODE_NUMBER[RejectionCode.VALUE_NOT_FOUND]))
    at = encoded.indices.fill_null(len(distinct)).to_numpy()
    return values.take(encoded.indices), codes[at]
