"""Columns of text as their buffers, and the numbering of what is distinct in them."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge import native

# A word is kept once, and numbered: event names, payload keys, customers.
WORDS = pa.dictionary(pa.int32(), pa.string())


def buffers_of(texts: pa.StringArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Offsets, one more than there are texts, and the bytes that they lead into; also of a slice of a longer array."""
    _, offsets, data = texts.buffers()
    if offsets is None or not len(texts):
        return np.zeros(1, np.int32), np.empty(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return bounds, np.frombuffer(data or b"", np.uint8)


def words_of(texts: pa.StringArray, places: NDArray[np.int64]) -> pa.DictionaryArray:
    """The texts at these places, each kept once and in the order of its first occurrence; null where a place is
    negative."""
    if native.compiled is None:
        return texts.take(pa.array(places, mask=places < 0)).dictionary_encode()
    numbers = np.empty(len(places), np.int32)
    firsts = np.frombuffer(native.compiled.distinct_texts(*buffers_of(texts), places, numbers), np.int64)
    indices = pa.array(numbers, mask=numbers < 0) if (numbers < 0).any() else pa.array(numbers)
    return pa.DictionaryArray.from_arrays(indices, texts.take(pa.array(firsts)))


def decoded(words: pa.DictionaryArray | pa.StringArray) -> pa.StringArray:
    """The same as plain texts."""
    return words.dictionary_decode() if pa.types.is_dictionary(words.type) else words
