"""`FilterFiles` as a folder: a file for each segment, and a list that says which of them are the filter.

The list is written last and replaces the former one in one moment; segments that no list names are deleted after that,
or by whoever comes next. Everything is read and compared with its checksum before it is believed.
"""

import errno
import json
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamgauge.adapters.system.durable_files import make_folder, sync_folder, write, write_bytes
from streamgauge.domain.errors import StorageFull, Unavailable
from streamgauge.engine.dedup_filter import FILTER_FORMAT, FilterImage, SegmentImage, empty_blocks

logger = logging.getLogger(__name__)

_LIST: Final = "filter.json"


@dataclass(frozen=True, slots=True)
class _Written:
    """A segment's entry in the list."""

    number: int
    capacity: int
    count: int
    last_ms: int
    first_offset: int
    next_offset: int
    checksum: int

    @property
    def file_name(self) -> str:
        return f"segment-{self.number}-{self.count}"


class FilterFolder:
    """`store_identity` names the usage store whose claims these are: with another one nothing is given back."""

    def __init__(self, folder: Path, store_identity: str) -> None:
        self._folder = folder
        self._list = folder / _LIST
        self._store_identity = store_identity
        self._written: dict[tuple[int, int], _Written] = {}

    def load(self) -> FilterImage | None:
        try:
            image, written = self._read()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("kept filter not used reason=damaged: %s", error)
            return None
        self._written = {(each.number, each.count): each for each in written}
        return image

    def save(self, image: FilterImage) -> None:
        with _translated("keep the deduplication filter"):
            make_folder(self._folder, mode=0o700)
            entries = [self._write(segment) for segment in image.segments]
            body = {
                "format": FILTER_FORMAT,
                "store": self._store_identity,
                "next_offset": image.next_offset,
                "received_at_ms": image.received_at_ms,
                "since_ms": image.since_ms,
                "segments": [list(astuple(each)) for each in entries],
            }
            write(self._list, json.dumps({"filter": body, "checksum": _checksum(body)}) + "\n")
            self._written = {(each.number, each.count): each for each in entries}
            self._sweep({_LIST, *(each.file_name for each in entries)})

    def discard(self) -> None:
        with _translated("discard the kept deduplication filter"):
            self._written = {}
            if self._folder.is_dir():
                self._list.unlink(missing_ok=True)
                sync_folder(self._folder)
                self._sweep(set())

    def _write(self, segment: SegmentImage) -> _Written:
        if (known := self._written.get((segment.number, segment.count))) is not None:
            return known
        content = np.ascontiguousarray(segment.blocks, "<u8")
        checksum = zlib.crc32(content.data)
        entry = _Written(
            segment.number,
            segment.capacity,
            segment.count,
            segment.last_ms,
            segment.first_offset,
            segment.next_offset,
            checksum,
        )
        write_bytes(self._folder / entry.file_name, content.data)
        return entry

    def _sweep(self, kept: set[str]) -> None:
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _read(self) -> tuple[FilterImage, list[_Written]]:
        found = json.loads(self._list.read_text())
        body = found["filter"]
        if _checksum(body) != found["checksum"]:
            raise ValueError(f"{_LIST} does not match its checksum")
        if body["format"] != FILTER_FORMAT or body["store"] != self._store_identity:
            raise ValueError("it is of another usage store or program")
        written = [_Written(*each) for each in body["segments"]]
        segments = [self._segment(each) for each in written]
        return FilterImage(body["next_offset"], body["received_at_ms"], body["since_ms"], segments), written

    def _segment(self, entry: _Written) -> SegmentImage:
        # Read, not mapped: a disk that fails later would end the process in the middle of a test.
        content = empty_blocks(entry.capacity).view("<u8")
        with open(self._folder / entry.file_name, "rb") as file:
            is_whole = file.readinto(content.data) == content.nbytes and not file.read(1)
        if not is_whole or zlib.crc32(content.data) != entry.checksum:
            raise ValueError(f"{entry.file_name} does not match its checksum")
        blocks = content.astype(np.uint64, copy=False)
        return SegmentImage(
            entry.number, entry.capacity, entry.count, entry.last_ms, entry.first_offset, entry.next_offset, blocks
        )


def _checksum(body: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True).encode())


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    """Nothing is lost when it fails, and nothing is believed that was not synced: so it is tried again, whatever it
    was."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"could not {doing}: the disk is full") from error
        raise Unavailable(f"could not {doing}: {error}") from error
