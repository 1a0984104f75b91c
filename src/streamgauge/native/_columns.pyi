"""What the compiled module takes and gives; numbers in bytes are in the machine's order."""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias, final

VERSION: Final[int]

# Anything contiguous with the buffer protocol; those named `out` are written. All raise ValueError when columns do not
# fit together, and then what `out` holds means nothing.
Column: TypeAlias = Any

@final
class Request:
    """The events of one body, as columns that only `join` reads."""

    @property
    def missing(self) -> int:
        """How many events have no identifier yet."""

    def identify(self, made: bytes, /) -> None:
        """Give each of those 16 bytes of `made`, in order: its identifier is their 32 hexadecimal digits.

        Raises ValueError when there are not just as many.
        """

    def __len__(self) -> int: ...

def parse(body: bytes | bytearray, /) -> Request | None:
    """The request in a body; None where the decoder in Python must decide, whether it will accept or refuse."""

def join(
    requests: Sequence[Request], /
) -> tuple[list[bytes], list[bytes], bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes] | None:
    """The parts of a block (domain/stored_block.py, `Parts`) of all events of these requests, in order.

    Numbers are uint16; timestamps int64; payload sizes uint8. None: more different words than a uint16 can number.
    Raises TypeError for what is no request, or has events without an identifier.
    """

def identifiers(forms: bytes, ids: bytes, texts: bytes, /) -> tuple[bytes, bytes]:
    """Offsets (int32, one more than identifiers) and texts of identifiers in their stored form.

    Raises ValueError when the three do not fit together, or the texts have 2 GiB or more.
    """

def uuids(offsets: bytes | memoryview, data: bytes | memoryview, /) -> tuple[bytes, bytes]:
    """Of texts (int32 offsets, one more than texts): whether each is a UUID in lower case (a byte, 1 or 0), and its 16
    bytes, zeros where it is none.

    Raises ValueError when offsets fall, or lie outside of the data.
    """

def parts_fit(parts: tuple[Column, ...], widths: bytes, origins: int, /) -> bool:
    """Whether the parts of a stored block (domain/stored_block.py, `PARTS`) fit together, its numbers as wide as
    `widths` says in bytes, its events from so many origins. That texts are UTF-8 is not looked at.

    Raises TypeError when there are more or fewer parts or widths.
    """

def plain_request(data: bytes, line: bytes, /) -> tuple[list[tuple[bytes, bytes]], bytes] | None:
    """Headers, names in lower case, and body of the one request with this line that is all of the data; None: it is
    written in an unusual way."""

def hash_texts(offsets: Column, data: Column, tenant: Column, seeds: Column, out: Column, /) -> None:
    """Hashes (uint64) of texts (int32 offsets), each from the seed (uint64) that its `tenant` (int32) names."""

def hash_order(hashes: Column, out: Column, /) -> None:
    """The rows (int64) in the order of their hashes (uint64); equal ones stay in order."""

def filter_add(blocks: Column, hashes: Column, /) -> None:
    """Set the bits of these hashes (uint64) in blocks of 8 uint64."""

def filter_test(blocks: Column, hashes: Column, out: Column, /) -> None:
    """Set to 1 each byte of `out` whose hash has all of its bits set; the others are left as they are."""

def settle(order: Column, group_starts: Column, code: Column, claimed: Column, out: Column, /) -> None:
    """The fate (uint8) of each event, of groups of `order` (int64), within which rows are in log order."""

def entries(offsets: Column, keys: Column, meters: Column, key_of_meter: Column, out: Column, /) -> None:
    """For each event the entry (int64) of its payload (int32 offsets into `keys`) with the key (int32) of its meter
    (int32); -1 where there is none, or the meter or its key is negative."""

def distinct_texts(offsets: Column, data: Column, places: Column, out: Column, /) -> bytes:
    """Number (int32) the texts at these places (int64) by their first occurrence, -1 where a place is negative.

    Returns the places (int64) of the distinct ones, in the order of their numbers.
    """

def distinct_numbers(numbers: Column, out: Column, /) -> bytes:
    """Number (int32) these numbers (int64) by their first occurrence. Returns the rows (int64) of those."""

def parse_decimals(
    offsets: Column, data: Column, places: Column, codes: Column, values: Column, code: Column, canonical: Column, /
) -> None:
    """Decimals at these places (int64) as numbers of 10**-15 (128 bits), 0 where they are none; `code` (uint8): 0 or
    the one of `codes` (3 bytes) for what is no decimal, has too many digits, is absent; `canonical`: 1 or 0."""

def sum_by_group(groups: Column, values: Column, counts: Column, sums: Column, /) -> None:
    """How many values (128 bits) each group (int32) has (int64), and their sum (256 bits)."""

def latest_by_group(groups: Column, times: Column, latest: Column, last: Column, /) -> None:
    """Of each group (int32) the row (int64) with the greatest time (int64), of several the last, and its last row; -1
    of one without rows."""
