"""The root of signing secrets: made once, kept, and missed when it is gone."""

import stat
from pathlib import Path

import pytest

from streamgauge.adapters.system.signing_root import SIGNING_ROOT_FILE, signing_root
from streamgauge.domain.errors import StartRefused


def test_a_root_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    root = signing_root(tmp_path, may_be_made=True)
    assert len(root) == 32
    assert signing_root(tmp_path, may_be_made=False) == root
    assert stat.S_IMODE((tmp_path / SIGNING_ROOT_FILE).stat().st_mode) == 0o600


def test_another_folder_has_another_root(tmp_path: Path) -> None:
    roots = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        roots.add(signing_root(tmp_path / name, may_be_made=True))
    assert len(roots) == 2


def test_one_that_was_lost_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="restore it from a backup"):
        signing_root(tmp_path, may_be_made=False)
    assert not (tmp_path / SIGNING_ROOT_FILE).exists()


@pytest.mark.parametrize("text", ["", "abcd\n", "no hex\n", "ab" * 33])
def test_one_that_is_damaged_is_not_used(tmp_path: Path, text: str) -> None:
    (tmp_path / SIGNING_ROOT_FILE).write_text(text)
    with pytest.raises(StartRefused, match="restore it from a backup"):
        signing_root(tmp_path, may_be_made=True)
