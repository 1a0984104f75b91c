"""What the compiled module takes and gives; numbers in bytes are in the machine's order."""

from collections.abc import Sequence
from typing import Final, final

VERSION: Final[int]

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
