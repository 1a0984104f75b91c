"""Merged parts that are taken back before the engine sees them: those without their files, whose rows are elsewhere."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from streamgauge.adapters.system.unsynced_merges import take_back_unsynced_merges

COMPACT = ("primary.cidx", "data.bin", "data.cmrk4", "partition.dat", "count.txt", "columns.txt", "checksums.txt")
WIDE = ("primary.cidx", "value.bin", "value.cmrk2", "partition.dat", "count.txt", "columns.txt", "checksums.txt")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "store" / "92f" / "92f9270e-029e-4dc3-8810-09dc43ef6f66"
    folder.mkdir(parents=True)
    (folder / "detached").mkdir()
    (folder / "format_version.txt").write_text("1")
    return folder


def make(table: Path, part: str, names: Iterable[str] = COMPACT) -> None:
    (table / part).mkdir()
    for name in names:
        (table / part / name).write_text("x")


def left(table: Path) -> list[str]:
    take_back_unsynced_merges(table.parents[2])
    return sorted(each.name for each in table.iterdir() if each.is_dir() and each.name != "detached")


LACKING = {
    "all": (),
    "the last": COMPACT[:-1],
    "one of them": [name for name in COMPACT if name != "count.txt"],
    "its columns": [name for name in COMPACT if name != "data.bin"],
}


@pytest.mark.parametrize("names", LACKING.values(), ids=LACKING)
def test_a_merge_that_lacks_names_goes_when_its_sources_have_all_its_blocks(table: Path, names: Iterable[str]) -> None:
    for part in ("202611_1_1_0", "202611_2_2_0", "202611_3_4_1"):
        make(table, part)
    make(table, "202611_1_4_2", names)
    assert left(table) == ["202611_1_1_0", "202611_2_2_0", "202611_3_4_1"]


def test_a_merge_of_one_part_alone_goes_too(table: Path) -> None:
    make(table, "202611_1_1_1")
    make(table, "202611_1_1_2", ())
    assert left(table) == ["202611_1_1_1"]


@pytest.mark.parametrize("names", [COMPACT, WIDE])
def test_a_whole_merge_stays(table: Path, names: Iterable[str]) -> None:
    for part in ("202611_1_1_0", "202611_2_2_0"):
        make(table, part)
    make(table, "202611_1_2_1", names)
    assert left(table) == ["202611_1_1_0", "202611_1_2_1", "202611_2_2_0"]


SOURCES = {
    "none": [],
    "not the first": ["202611_2_2_0", "202611_3_3_0"],
    "not the last": ["202611_1_1_0", "202611_2_2_0"],
    "a gap": ["202611_1_1_0", "202611_3_3_0"],
    "of another partition": ["202612_1_3_0"],
    "a later one": ["202611_1_3_3"],
    "about to be deleted": ["202611_1_2_0", "delete_tmp_202611_3_3_0"],
}


@pytest.mark.parametrize("sources", SOURCES.values(), ids=SOURCES)
def test_a_part_whose_rows_are_nowhere_else_stays_for_the_engine_to_refuse(table: Path, sources: list[str]) -> None:
    for part in sources:
        make(table, part)
    make(table, "202611_1_3_2", ())
    assert left(table) == sorted([*sources, "202611_1_3_2"])


def test_what_an_unsynced_merge_was_merged_into_without_being_synced_goes_with_it(table: Path) -> None:
    for part in ("202611_1_1_0", "202611_2_2_0", "202611_3_3_0"):
        make(table, part)
    make(table, "202611_1_2_1", COMPACT[:3])
    make(table, "202611_1_3_2", ())
    assert left(table) == ["202611_1_1_0", "202611_2_2_0", "202611_3_3_0"]


def test_an_unsynced_merge_is_no_source(table: Path) -> None:
    make(table, "202611_1_2_1", ())
    make(table, "202611_1_2_2", ())
    assert left(table) == ["202611_1_2_1", "202611_1_2_2"]


def test_a_folder_without_a_store_is_left_alone(tmp_path: Path) -> None:
    take_back_unsynced_merges(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
