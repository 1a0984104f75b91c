"""The contract of `FilterFiles`, run on every adapter."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamgauge.adapters.memory.filter_files import MemoryFilterFiles
from streamgauge.adapters.system.filter_folder import FilterFolder
from streamgauge.engine.dedup_filter import FilterImage, SegmentImage
from streamgauge.engine.ports.filter_files import FilterFiles


@pytest.fixture(params=["memory", "folder"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FilterFiles:
    return MemoryFilterFiles() if request.param == "memory" else FilterFolder(tmp_path / "filter", "a")


def segment(number: int, count: int, bits: int) -> SegmentImage:
    blocks = np.full((2, 8), bits, np.uint64)
    return SegmentImage(number, 64, count, 1_000 + number, 0, count, blocks)


def image(*segments: SegmentImage, next_offset: int = 7) -> FilterImage:
    return FilterImage(next_offset, 70, -5, segments)


def told(found: FilterImage | None) -> object:
    """With blocks as lists, which can be compared."""
    if found is None:
        return None
    segments = [replace(each, blocks=each.blocks.tolist()) for each in found.segments]
    return replace(found, segments=segments)


def test_there_is_nothing_before_something_was_saved(files: FilterFiles) -> None:
    assert files.load() is None
    files.discard()
    assert files.load() is None


def test_what_was_saved_last_is_given_back(files: FilterFiles) -> None:
    first = image(segment(0, 64, 2**32 - 1), segment(1, 3, 5))
    second = image(segment(0, 64, 2**32 - 1), segment(1, 9, 7), segment(2, 1, 1), next_offset=2**60)
    for saved in (first, second):
        files.save(saved)
        assert told(files.load()) == told(saved)


def test_what_is_given_back_may_be_changed(files: FilterFiles) -> None:
    files.save(image(segment(0, 1, 1)))
    found = files.load()
    assert found is not None
    found.segments[0].blocks[:] = 9
    assert told(files.load()) == told(image(segment(0, 1, 1)))


def test_segments_that_are_dropped_are_gone(files: FilterFiles) -> None:
    files.save(image(segment(0, 64, 1), segment(1, 64, 2)))
    files.save(image(segment(1, 64, 2)))
    assert told(files.load()) == told(image(segment(1, 64, 2)))
    files.save(image())
    assert told(files.load()) == told(image())


def test_segments_of_which_number_and_count_were_saved_are_not_written_again(files: FilterFiles) -> None:
    files.save(image(segment(0, 64, 1)))
    files.save(image(segment(0, 64, 2), segment(1, 1, 2)))
    assert told(files.load()) == told(image(segment(0, 64, 1), segment(1, 1, 2)))


def test_after_discarding_numbers_begin_again(files: FilterFiles) -> None:
    files.save(image(segment(0, 64, 1)))
    files.discard()
    assert files.load() is None
    files.save(image(segment(0, 64, 2)))
    assert told(files.load()) == told(image(segment(0, 64, 2)))
