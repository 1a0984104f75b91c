"""The mark of a rebuild, and deleting what is rebuilt."""

from pathlib import Path

import pytest

from streamgauge.adapters.system.derived_state import FolderState
from streamgauge.domain.errors import Corrupt
from streamgauge.engine.ports.rebuild import Stage


def test_a_mark_stays_until_it_is_taken_away(tmp_path: Path) -> None:
    assert FolderState(tmp_path).stage() is None
    for stage in Stage:
        FolderState(tmp_path).mark(stage)
        assert FolderState(tmp_path).stage() is stage
    FolderState(tmp_path).unmark()
    FolderState(tmp_path).unmark()
    assert FolderState(tmp_path).stage() is None
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_reads_the_mark(tmp_path: Path) -> None:
    FolderState(tmp_path).mark(Stage.ROLLUPS)
    (mark,) = tmp_path.iterdir()
    assert mark.stat().st_mode & 0o777 == 0o600


def test_a_mark_that_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    FolderState(tmp_path).mark(Stage.ROLLUPS)
    next(tmp_path.iterdir()).write_text("rol")
    with pytest.raises(Corrupt, match="rebuild --all"):
        FolderState(tmp_path).stage()


def test_store_and_progress_are_deleted_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "store" / "data").mkdir(parents=True)
    (tmp_path / "store" / "link").symlink_to(tmp_path)
    (tmp_path / "filter").mkdir()
    (tmp_path / "filter" / "filter.json").write_text("x")
    for name in ("progress.db", "progress.db-wal", "progress.db-shm", "log.db", "control.db"):
        (tmp_path / name).write_text("x")
    FolderState(tmp_path).delete()
    FolderState(tmp_path).delete()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["control.db", "log.db"]


def test_each_store_has_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    first = FolderState(tmp_path).store_identity()
    assert FolderState(tmp_path).store_identity() == first
    FolderState(tmp_path).delete()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "identity").write_text("")
    assert FolderState(tmp_path).store_identity() not in ("", first)
