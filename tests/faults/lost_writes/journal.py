"""What the shim wrote down, read back: one record per change or sync, in the order in which the kernel did them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

# `struct record` of shim.c
_RECORD: Final = struct.Struct("=IIQQQQII")


class Kind(IntEnum):
    """The numbers are also in shim.c."""

    WRITE = 1
    LENGTH = 2
    CREATE = 3
    UNLINK = 4
    RENAME = 5
    SYNC = 6
    EXCHANGE = 7


@dataclass(frozen=True, slots=True)
class Record:
    """One change, or one sync that has ended.

    place   where the record begins in the journal, in bytes; grows with every record
    folder  inode of the folder that holds the name
    number  an offset (WRITE), a length (LENGTH), a mode (CREATE), or the place at which a SYNC began
    first   the name, or the data of a WRITE
    second  the new name (RENAME, EXCHANGE), or where a symbolic link leads
    """

    place: int
    kind: Kind
    inode: int
    folder: int
    second_folder: int
    number: int
    first: bytes
    second: bytes


def read(path: Path) -> Iterator[Record]:
    """All whole records. A kill may have cut the last one, which then never was."""
    data = path.read_bytes() if path.exists() else b""
    place = 0
    while place + _RECORD.size <= len(data):
        kind, first_size, inode, folder, second_folder, number, second_size, _ = _RECORD.unpack_from(data, place)
        at = place + _RECORD.size
        end = at + first_size + second_size
        if end > len(data):
            return
        first, second = data[at : at + first_size], data[at + first_size : end]
        yield Record(place, Kind(kind), inode, folder, second_folder, number, first, second)
        place = end
