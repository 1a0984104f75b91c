"""A filter in front of the exact look-up: it says which identifiers were certainly never counted.

A split-block Bloom filter (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom Filters", 2007; the form
that Parquet uses, with words of twice the size): each hash sets one bit in each of the 8 words of one 64-byte block, so
a test touches one line of the cache.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamgauge import native

# Raised with every change of which bits a hash sets: filters that were kept by an older program are then not read.
FILTER_FORMAT: Final = 3

# A full segment takes one new hash in 3,500 for known, and the store looks for each of these in every part. With 32 it
# is one in 1,100; with 20, one in 16,000, for 3.2 bytes a hash of the 2.5 that there are. In blocks of half the size,
# of which more are fuller than the others, 13 made one in 2,200.
HASHES_PER_BLOCK: Final = 26
# Each segment that is asked adds its own false positives, and an access to memory: so few and large ones. But the first
# one, which is all that most folders ever fill and is written whole at each end of the server.
SEGMENT_HASHES_MIN: Final = 2**22
SEGMENT_HASHES_GROWN: Final = 2**24
SEGMENT_HASHES_MAX: Final = 2**26

_WORDS: Final = 8
_WORD_BITS: Final = 64
_BLOCK_BYTES: Final = _WORDS * _WORD_BITS // 8
_SALTS: Final = np.array(
    [0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31], np.uint32
)
# A part at a time, so that what is worked on stays in the processor's cache.
_PART: Final = 8_192


@dataclass(frozen=True, slots=True)
class SegmentImage:
    """A segment as it was at a moment. Of one filter, images of one number and count are equal."""

    number: int
    capacity: int
    count: int
    last_ms: int
    first_offset: int
    next_offset: int
    blocks: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class FilterImage:
    """A filter as it was at a moment: it has all claims that were received at or after `since_ms` and stand in the log
    below `next_offset`, where the record before was received at `received_at_ms`. It may have others, too."""

    next_offset: int
    received_at_ms: int
    since_ms: int
    segments: Sequence[SegmentImage]


@dataclass(frozen=True, slots=True)
class Sought:
    """Hashes, by their places among those that were asked for, and [first_offset, next_offset) of the log, outside of
    which none of them was added by this segment."""

    places: NDArray[np.int64]
    first_offset: int
    next_offset: int


class Segment:
    """A filter for up to `capacity` hashes. `last_ms` is when the latest claim in it was received; all of them stand
    in the log at [first_offset, next_offset)."""

    def __init__(self, capacity: int, number: int = 0) -> None:
        self.number = number
        self.capacity = capacity
        self.count = 0
        self.last_ms = 0
        self.first_offset = self.next_offset = 0
        self._blocks = empty_blocks(capacity)

    @classmethod
    def of(cls, image: SegmentImage) -> "Segment":
        """Raises ValueError when the image has not the size of its capacity. Takes its blocks over."""
        segment = cls(image.capacity, image.number)
        if image.blocks.shape != segment._blocks.shape:
            raise ValueError(f"segment {image.number}: {image.blocks.shape} blocks, {segment._blocks.shape} expected")
        segment._blocks, segment.count, segment.last_ms = image.blocks, image.count, image.last_ms
        segment.first_offset, segment.next_offset = image.first_offset, image.next_offset
        return segment

    def image(self) -> SegmentImage:
        """A full segment never changes again, so its image shares the blocks."""
        blocks = self._blocks if self.room <= 0 else self._blocks.copy()
        return SegmentImage(
            self.number, self.capacity, self.count, self.last_ms, self.first_offset, self.next_offset, blocks
        )

    @property
    def room(self) -> int:
        return self.capacity - self.count

    @property
    def size_bytes(self) -> int:
        return self._blocks.nbytes

    def add(self, hashes: NDArray[np.uint64], last_ms: int, first_offset: int, next_offset: int) -> None:
        """At least one hash."""
        if native.compiled is None:
            self._add_here(hashes)
        else:
            native.compiled.filter_add(self._blocks, np.ascontiguousarray(hashes))
        self.first_offset = min(self.first_offset, first_offset) if self.count else first_offset
        self.next_offset = max(self.next_offset, next_offset)
        self.count += len(hashes)
        self.last_ms = max(self.last_ms, last_ms)

    def may_contain(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        answer = np.zeros(len(hashes), np.bool_)
        if native.compiled is None:
            self._may_contain_here(hashes, answer)
        else:
            native.compiled.filter_test(self._blocks, np.ascontiguousarray(hashes), answer)
        return answer

    def _add_here(self, hashes: NDArray[np.uint64]) -> None:
        for start in range(0, len(hashes), _PART):
            part = hashes[start : start + _PART]
            block = self._block_of(part)
            # Those of one block are joined before they are written.
            order = np.argsort(block)
            part, block = part[order], block[order]
            starts = np.flatnonzero(np.append(True, block[1:] != block[:-1]))
            self._blocks[block[starts]] |= np.bitwise_or.reduceat(_bits_of(part), starts, axis=0)

    def _may_contain_here(self, hashes: NDArray[np.uint64], answer: NDArray[np.bool_]) -> None:
        for start in range(0, len(hashes), _PART):
            part = hashes[start : start + _PART]
            bits = _bits_of(part)
            answer[start : start + _PART] = ((self._blocks[self._block_of(part)] & bits) == bits).all(axis=1)

    def _block_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """By the lower half: a store gives its hashes in ascending order, and a segment that ends among them would else
        have some of its blocks too full and others empty."""
        return ((hashes.astype(np.uint32) * np.uint64(len(self._blocks))) >> np.uint64(32)).astype(np.int64)


def empty_blocks(capacity: int) -> NDArray[np.uint64]:
    """(blocks, 8): zeros for so many hashes. Each block lies in one line of the cache, which memory as NumPy takes it
    does not see to."""
    size = max(capacity // HASHES_PER_BLOCK, 1) * _BLOCK_BYTES
    memory = np.zeros(size + _BLOCK_BYTES, np.uint8)
    start = -memory.ctypes.data % _BLOCK_BYTES
    return memory[start : start + size].view(np.uint64).reshape(-1, _WORDS)


def _bits_of(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(hashes, 8): one bit for each word of the block, from the upper half."""
    upper = (hashes >> np.uint64(32)).astype(np.uint32)
    return np.uint64(1) << ((upper[:, None] * _SALTS) >> np.uint32(32 - 6)).astype(np.uint64)


class DedupFilter:
    """Segments in the order in which they were filled: a small one first, then each up to twice as large as the last.

    A segment is dropped when its last claim has left the deduplication window. Memory is 2.5 bytes per hash plus
    the unfilled part of the newest segment.
    """

    def __init__(self, expected: int = 0, *, since_ms: int = 0) -> None:
        """`expected` hashes, of all claims received at or after `since_ms`, will be added at once: as few and equal
        segments for them are faster to ask than many small ones, and leave no room unfilled."""
        self._segments: deque[Segment] = deque()
        self._expected = expected
        portions = max(-(-expected // SEGMENT_HASHES_MAX), 1)
        self._first_capacity = max(-(-expected // portions), SEGMENT_HASHES_MIN)
        self._since_ms = since_ms
        # Of all segments that it ever has: an image is known by the number.
        self._next_number = 0

    @classmethod
    def of(cls, image: FilterImage) -> "DedupFilter":
        """Raises ValueError when the image is not one of such a filter."""
        filter = cls(since_ms=image.since_ms)
        filter._segments.extend(map(Segment.of, image.segments))
        filter._next_number = max((each.number + 1 for each in image.segments), default=0)
        return filter

    def images(self) -> Sequence[SegmentImage]:
        return [segment.image() for segment in self._segments]

    @property
    def since_ms(self) -> int:
        """All claims received at or after this moment that were added are still there."""
        return self._since_ms

    @property
    def newest_capacity(self) -> int:
        return self._segments[-1].capacity if self._segments else self._first_capacity

    @property
    def count(self) -> int:
        return sum(segment.count for segment in self._segments)

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self._segments)

    def sought(self, hashes: NDArray[np.uint64]) -> list[Sought]:
        """What must be looked up, and where: each segment answers for itself. What none of them names was certainly
        not added, or has left the window."""
        found = []
        for segment in self._segments:
            places = np.flatnonzero(segment.may_contain(hashes))
            if len(places):
                found.append(Sought(places, segment.first_offset, segment.next_offset))
        return found

    def add(self, hashes: NDArray[np.uint64], last_ms: int, first_offset: int, next_offset: int) -> None:
        """Add claims received until `last_ms`, which stand in the log at [first_offset, next_offset). `hashes` in any
        order; claims come in the order of their receipt."""
        while len(hashes):
            room = self._segments[-1].room if self._segments else 0
            if room <= 0:
                self._segments.append(self._next_segment())
                continue
            self._segments[-1].add(hashes[:room], last_ms, first_offset, next_offset)
            hashes = hashes[room:]

    def lack(self, before_ms: int) -> None:
        """Claims that were received before then were not all added."""
        self._since_ms = max(self._since_ms, before_ms)

    def forget(self, before_ms: int) -> None:
        """Drop segments whose claims were all received before then."""
        while self._segments and self._segments[0].last_ms < before_ms:
            self._since_ms = max(self._since_ms, self._segments.popleft().last_ms + 1)

    def _next_segment(self) -> Segment:
        if not self._segments or self.count < self._expected:
            capacity = self._first_capacity
        else:
            capacity = min(max(self._segments[-1].capacity * 2, SEGMENT_HASHES_GROWN), SEGMENT_HASHES_MAX)
        segment = Segment(capacity, self._next_number)
        self._next_number += 1
        return segment
