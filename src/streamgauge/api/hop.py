"""What an edge and the engine say to each other: requests and answers as numbered messages on one connection.

Not HTTP a second time: parsing it again and keeping a pool of connections cost more than all the rest of a small
request. Any number of requests may be under way; answers come in whatever order they are ready.
"""

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

# Above the largest body, its headers, and what is around them; more is not one of our messages.
MESSAGE_BYTES_MAX: Final = 2**26
_LENGTH: Final = struct.Struct(">I")

Headers = list[tuple[bytes, bytes]]


class HandedRequest(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A complete request; `number` comes back with its answer."""

    number: int
    method: str
    path: str
    raw_path: bytes
    query: bytes
    headers: Headers
    body: bytes


class HandedAnswer(msgspec.Struct, array_like=True, frozen=True, gc=False):
    number: int
    status: int
    headers: Headers
    body: bytes


def framed(message: HandedRequest | HandedAnswer) -> bytes:
    encoded = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(encoded)) + encoded


class Frames:
    """Cuts what arrives on a connection into messages."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete with this. Raises ValueError for what cannot be one."""
        self._received += data
        at = 0
        while len(self._received) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received, at)
            if length > MESSAGE_BYTES_MAX:
                raise ValueError(f"a message of {length} bytes")
            end = at + _LENGTH.size + length
            if len(self._received) < end:
                break
            yield bytes(self._received[at + _LENGTH.size : end])
            at = end
        del self._received[:at]
