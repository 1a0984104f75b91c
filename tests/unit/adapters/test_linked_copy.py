"""A folder linked while somebody else changes it."""

import os
from pathlib import Path

import pytest

from streamgauge.adapters.system.linked_copy import link_copy
from streamgauge.domain.errors import Unavailable


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a/part/data", "b/part/data", "tmp/half", "status"):
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "source" / "link").symlink_to("a/part")
    return tmp_path / "source"


def test_files_are_the_same_ones_and_what_is_left_out_is_not_there(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    link_copy(source, target, without=("status", "tmp"))
    assert sorted(each.name for each in target.iterdir()) == ["a", "b", "link"]
    assert (target / "a/part/data").samefile(source / "a/part/data")
    assert (target / "link").is_symlink() and os.readlink(target / "link") == "a/part"


def test_it_begins_again_when_a_file_vanishes_under_it(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, calls = os.link, list[Path]()

    def linked(old: str, new: str, **more: bool) -> None:
        calls.append(Path(old))
        if len(calls) == 2:  # as a merge does with the parts that it replaced
            Path(old).unlink()
        link(old, new, **more)

    monkeypatch.setattr(os, "link", linked)
    link_copy(source, tmp_path / "target", without=("status", "tmp"))
    assert len(list((tmp_path / "target").rglob("data"))) == 1
    assert len(calls) > 2


def test_a_folder_that_cannot_be_linked_is_refused_and_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(old: str, new: str, **more: bool) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(Unavailable, match="could not link"):
        link_copy(source, tmp_path / "target", without=())
    assert not (tmp_path / "target").exists()
