"""Nothing that is kept of the filter is believed unless every bit of it is as it was saved, for this store."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from streamgauge.adapters.system import durable_files, filter_folder
from streamgauge.adapters.system.filter_folder import FilterFolder
from streamgauge.domain.errors import StorageFull, Unavailable
from streamgauge.engine.dedup_filter import FILTER_FORMAT, FilterImage, SegmentImage


def image(count: int) -> FilterImage:
    blocks = [np.full((2, 8), number + count, np.uint64) for number in range(2)]
    segments = [SegmentImage(0, 64, 64, 1, 0, 90, blocks[0]), SegmentImage(1, 64, count, 2, 80, 100, blocks[1])]
    return FilterImage(count, 70, 0, segments)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "filter"


def test_it_is_found_by_the_next_process_and_by_no_other_store(folder: Path) -> None:
    FilterFolder(folder, "a").save(image(5))
    found = FilterFolder(folder, "a").load()
    assert found is not None
    assert found.next_offset == 5
    assert [(each.first_offset, each.next_offset) for each in found.segments] == [(0, 90), (80, 100)]
    assert [each.blocks.tolist() for each in found.segments] == [each.blocks.tolist() for each in image(5).segments]
    assert [each.blocks.ctypes.data % 64 for each in found.segments] == [0, 0]  # one line of the cache for each block
    assert FilterFolder(folder, "b").load() is None


def test_a_program_with_other_bits_does_not_read_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    FilterFolder(folder, "a").save(image(5))
    monkeypatch.setattr(filter_folder, "FILTER_FORMAT", FILTER_FORMAT + 1)
    assert FilterFolder(folder, "a").load() is None


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2)


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0" * 32)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def _delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [_cut, _lengthen, _empty, _zeros, _delete])
def test_damaged_files_are_not_believed(folder: Path, damage: Callable[[Path], None]) -> None:
    FilterFolder(folder, "a").save(image(5))
    names = sorted(each.name for each in folder.iterdir())
    assert names == ["filter.json", "segment-0-64", "segment-1-5"]
    for name in names:
        FilterFolder(folder, "a").save(image(5))
        if (folder / name).exists():
            damage(folder / name)
        assert FilterFolder(folder, "a").load() is None, name


def test_no_flipped_bit_is_overlooked(folder: Path) -> None:
    FilterFolder(folder, "a").save(image(5))
    for path in folder.iterdir():
        content = path.read_bytes()
        for at in range(0, len(content) * 8, 7):
            flipped = bytearray(content)
            flipped[at // 8] ^= 1 << at % 8
            path.write_bytes(flipped)
            found = FilterFolder(folder, "a").load()
            # White space after the list, and the case of a letter in an escape, say nothing.
            assert found is None or path.name == "filter.json", (path.name, at)
            if found is not None:
                assert (found.next_offset, [each.count for each in found.segments]) == (5, [64, 5])
        path.write_bytes(content)


def test_files_are_the_owners_alone(folder: Path) -> None:
    FilterFolder(folder, "a").save(image(5))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}


def test_saving_cut_anywhere_leaves_the_former_or_the_new_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut at every sync and rename, and taken up by another process that then saves to the end."""

    class Cut(Exception):
        """The crash."""

    steps_left = 0

    def crashing(call: Callable[..., None]) -> Callable[..., None]:
        def step(*given: object, **named: object) -> None:
            nonlocal steps_left
            if not steps_left:
                raise Cut
            steps_left -= 1
            call(*given, **named)

        return step

    monkeypatch.setattr(os, "fsync", crashing(os.fsync))
    monkeypatch.setattr(Path, "rename", crashing(Path.rename))
    monkeypatch.setattr(Path, "unlink", crashing(Path.unlink))
    seen = set()
    for steps in range(20):
        steps_left = 1_000
        FilterFolder(folder, "a").discard()
        writer = FilterFolder(folder, "a")
        writer.save(image(5))
        steps_left = steps
        try:
            writer.save(image(6))
        except Cut:
            pass
        else:
            break
        found = FilterFolder(folder, "a").load()
        assert found is not None
        count = found.segments[1].count
        assert found.next_offset == count
        assert (found.segments[1].blocks == 1 + count).all()
        seen.add(count)
        steps_left = 1_000
        FilterFolder(folder, "a").save(image(7))
        assert sorted(each.name for each in folder.iterdir()) == ["filter.json", "segment-0-64", "segment-1-7"]
    else:
        raise AssertionError("saving never came to its end")
    assert seen == {5, 6}


@pytest.mark.parametrize(("number", "expected"), [(28, StorageFull), (5, Unavailable)])
def test_a_disk_that_fails_is_told_and_the_former_filter_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    files = FilterFolder(folder, "a")
    files.save(image(5))

    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as failing:
        failing.setattr(durable_files, "sync_folder", fail)
        with pytest.raises(expected):
            files.save(image(6))
    found = FilterFolder(folder, "a").load()
    assert found is not None
    assert found.next_offset == 5
    files.save(image(6))
    assert FilterFolder(folder, "a").load() is not None
