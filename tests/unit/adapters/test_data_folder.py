"""The data folder: made for its owner alone, refused when it is not ours, held by one server at a time."""

import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamgauge.adapters.system import data_folder
from streamgauge.adapters.system.data_folder import FORMAT, DataFolder
from streamgauge.domain.errors import StartRefused


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Modes must not depend on the umask that the operator happens to have."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def release(folder: DataFolder) -> None:
    os.close(folder.lock_descriptor)


@pytest.mark.usefixtures("open_umask")
def test_a_new_folder_and_what_is_in_it_are_for_the_owner_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    folder.lock()
    assert mode(folder.path) == 0o700
    assert {each.name: mode(each) for each in folder.path.iterdir()} == {
        "format.json": 0o600,
        "lock": 0o600,
        "tmp": 0o700,
    }
    release(folder)


def test_missing_parents_are_made(tmp_path: Path) -> None:
    assert DataFolder(tmp_path / "a" / "b" / "c").path.is_dir()


def test_a_folder_can_be_opened_again_and_keeps_its_format(tmp_path: Path) -> None:
    DataFolder(tmp_path / "data")
    written = (tmp_path / "data" / "format.json").read_text()
    DataFolder(tmp_path / "data")
    assert (tmp_path / "data" / "format.json").read_text() == written
    assert json.loads(written)["format"] == FORMAT


@pytest.mark.parametrize("leftover", [None, "lost+found", "lock", "format.new", "format.json.new"])
def test_an_empty_folder_is_taken(tmp_path: Path, leftover: str | None) -> None:
    if leftover is not None:
        (tmp_path / leftover).touch()
    assert DataFolder(tmp_path).path == tmp_path


def test_a_file_where_the_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(StartRefused, match="cannot be used as a data folder") as refusal:
            DataFolder(path)
        assert str(path) in refusal.value.message


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("important")
    with pytest.raises(StartRefused, match=r"not a Streamgauge data folder.*thesis\.txt"):
        DataFolder(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"format": FORMAT + 1}), f"has format {FORMAT + 1}.*knows up to {FORMAT}"),
        (json.dumps({"format": "1"}), "has format 1"),
        (json.dumps({"format": None}), "has format None"),
        ("", "is damaged"),
        ("{", "is damaged"),
        ("{}", "is damaged"),
        ("[]", "is damaged"),
        ("null", "is damaged"),
        ("\0\0\0\0", "is damaged"),
        ("\ufffd\udcff", "is damaged"),
    ],
)
def test_a_newer_or_damaged_format_is_refused_and_not_overwritten(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "format.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    before = path.read_bytes()
    with pytest.raises(StartRefused, match=message):
        DataFolder(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    DataFolder(tmp_path / "data")
    (tmp_path / "data").chmod(0o500)
    try:
        with pytest.raises(StartRefused, match="not writable"):
            DataFolder(tmp_path / "data").lock()
        with pytest.raises(StartRefused):
            DataFolder(tmp_path / "data" / "inside")
    finally:
        (tmp_path / "data").chmod(0o700)


def test_a_folder_in_use_is_refused_by_the_name_of_its_holder(tmp_path: Path) -> None:
    first, second = DataFolder(tmp_path), DataFolder(tmp_path)
    first.lock()
    with pytest.raises(StartRefused, match=f"in use by process {os.getpid()} on .*another --data-dir"):
        second.lock()
    release(first)
    second.lock()
    release(second)


def test_the_scratch_folder_is_emptied_by_whoever_takes_the_lock_and_by_nobody_else(tmp_path: Path) -> None:
    first = DataFolder(tmp_path)
    first.lock()
    (first.scratch / "rest").touch()
    with pytest.raises(StartRefused):
        DataFolder(tmp_path).lock()
    assert (first.scratch / "rest").exists()
    release(first)
    second = DataFolder(tmp_path)
    second.lock()
    assert list(second.scratch.iterdir()) == []
    release(second)


_HOLDER = """
import sys
from pathlib import Path
from streamgauge.adapters.system.data_folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
folder.lock()
print("locked", flush=True)
sys.stdin.read()
"""


def test_the_lock_is_released_when_its_holder_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(StartRefused, match=f"process {holder.pid}"):
            DataFolder(tmp_path).lock()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        folder = DataFolder(tmp_path)
        folder.lock()
        release(folder)


def test_the_lock_holds_as_long_as_a_child_that_inherited_it_lives(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    folder.lock()
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(folder.lock_descriptor,),
    ) as child:
        release(folder)
        with pytest.raises(StartRefused, match="in use"):
            DataFolder(tmp_path).lock()
        child.communicate()
    again = DataFolder(tmp_path)
    again.lock()
    fcntl.flock(again.lock_descriptor, fcntl.LOCK_UN)
    release(again)


def test_a_path_that_is_too_long_for_a_socket_leads_to_the_same_place(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / ("long" * 40) / "data")
    assert len(folder.engine_socket) < 100
    with closing(socket.socket(socket.AF_UNIX)) as listening, closing(socket.socket(socket.AF_UNIX)) as connection:
        listening.bind(folder.engine_socket)
        listening.listen()
        assert (folder.path / "engine.sock").is_socket()
        connection.connect(DataFolder(folder.path).engine_socket)


def test_where_that_is_not_possible_the_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "_OPEN_FILES", tmp_path / "none")
    with tempfile.TemporaryDirectory() as short:
        assert DataFolder(Path(short)).engine_socket == str(Path(short) / "engine.sock")
    with pytest.raises(StartRefused, match=r"longer than the 100 bytes .* choose a shorter --data-dir"):
        _ = DataFolder(tmp_path / ("long" * 40) / "data").engine_socket
