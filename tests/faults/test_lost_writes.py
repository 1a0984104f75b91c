"""Power cuts: nothing acknowledged is lost and nothing is counted twice when all that was not synced may be gone.

Goal:   promises 1 and 2 of DESIGN.md where SIGKILL is not enough, since what a killed program wrote is still there.
Method: the installed program runs with a shim that writes down each change and each sync, in order. It is killed under
        load, and the folder is put into a state that POSIX allows a disk to show after the power came back: what was
        synced, and of the rest nothing, some, or torn pieces. The server starts on that (watched again, so that its
        recovery can be cut too), everything that was not answered is sent again, and it must say what the ledger says.
        First the instrument itself is tested: that it forgets, that it sees every write, that a lying disk is found.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.faults.lost_writes.disk import Disk, Mood
from tests.faults.lost_writes.journal import Kind, Record, read
from tests.faults.lost_writes.program import PoweredServer, Recording, build_shim, environment
from tests.faults.lost_writes.rounds import SETTINGS, Rounds
from tests.support.ledger import Ledger, differences, send
from tests.support.server import Client, Server

CUTS = 6

# What a small program does in its folder before the power goes; `old` was there before, with 2,000 bytes of `o`.
_OPEN = "import os; new = os.open('new', os.O_RDWR | os.O_CREAT); folder = os.open('.', os.O_RDONLY); "
_WRITE = _OPEN + "os.write(new, b'n' * 2000); "


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None or sys.platform != "linux":
        assert not (os.environ.get("CI") and shutil.which("gcc")), "this must run here"
        pytest.skip("power cuts need Linux and gcc")
    return build_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def after(shim: Path, tmp_path: Path) -> Callable[[str, Mood, int], dict[str, bytes]]:
    """Runs a program, cuts the power, and tells what the disk shows."""

    def run(program: str, mood: Mood, seed: int = 0) -> dict[str, bytes]:
        watched, base, shown = (tmp_path / f"{seed}-{name}" for name in ("watched", "base", "shown"))
        for folder in (watched, base):
            folder.mkdir()
            (folder / "old").write_bytes(b"o" * 2000)
        disk = Disk(base, watched)
        journal = tmp_path / f"{seed}-journal"
        variables = {**os.environ, **environment(shim, watched, journal, sync_us=0)}
        subprocess.run([sys.executable, "-c", program], cwd=watched, env=variables, check=True)
        disk.play(journal)
        disk.cut_power(shown, mood, random.Random(seed))
        return {each.name: each.read_bytes() for each in shown.iterdir() if each.is_file()}

    return run


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        (_WRITE, {"old": 2000}),
        (_WRITE + "os.fsync(new)", {"old": 2000}),
        (_WRITE + "os.fsync(folder)", {"old": 2000, "new": 0}),
        (_WRITE + "os.fsync(new); os.fsync(folder)", {"old": 2000, "new": 2000}),
        (_WRITE + "os.fdatasync(new); os.fsync(folder); os.write(new, b'more')", {"old": 2000, "new": 2000}),
        (_WRITE + "os.fsync(new); os.fsync(folder); os.ftruncate(new, 1)", {"old": 2000, "new": 2000}),
        (_WRITE + "os.fsync(new); os.fsync(folder); os.rename('new', 'old')", {"old": 2000, "new": 2000}),
        (_OPEN + "os.fsync(folder); os.rename('new', 'old'); os.fsync(folder)", {"old": 0}),
        (_OPEN + "os.unlink('old')", {"old": 2000}),
        (_OPEN + "os.unlink('old'); os.fsync(folder)", {"new": 0}),
        (_OPEN + "os.fsync(folder); open('old', 'w').close()", {"old": 2000, "new": 0}),
        (_OPEN + "os.fsync(folder); os.pwrite(new, b'n', 99); os.writev(new, [b'n', b'n']); os.fsync(new)",
         {"old": 2000, "new": 100}),
        (_OPEN + "os.fsync(folder); os.fork() or os._exit(os.write(new, b'n') - 1); os.wait(); os.fsync(new)",
         {"old": 2000, "new": 1}),
    ],
)  # fmt: skip
def test_a_disk_that_forgets_shows_what_was_synced_and_nothing_else(
    after: Callable[..., dict[str, bytes]], program: str, shown: dict[str, int]
) -> None:
    assert {name: len(data) for name, data in after(program, Mood.FORGETFUL).items()} == shown


def test_names_can_survive_without_the_contents(after: Callable[..., dict[str, bytes]]) -> None:
    assert after(_WRITE, Mood.HOLLOW) == {"old": b"o" * 2000, "new": b""}


def test_a_disk_that_loses_nothing_shows_every_byte(after: Callable[..., dict[str, bytes]]) -> None:
    assert after(_WRITE, Mood.KIND) == {"old": b"o" * 2000, "new": b"n" * 2000}


def test_the_last_write_that_was_not_synced_is_torn(after: Callable[..., dict[str, bytes]]) -> None:
    shown = [
        after(_WRITE + "os.fsync(new); os.fsync(folder); os.write(new, b'x' * 2000)", Mood.TEARING, seed)["new"]
        for seed in range(6)
    ]
    assert all(each.startswith(b"n" * 2000) and set(each[2000:]) <= set(b"\0x") for each in shown)
    assert len(set(shown)) > 3


@pytest.fixture(scope="module")
def first_run(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, Ledger]:
    """A server makes its folder, is sent events, applies them and is stopped by SIGTERM."""
    return _run_of_steps(shim, tmp_path_factory.mktemp("first"), steps=4)


def _run_of_steps(shim: Path, root: Path, steps: int) -> tuple[Recording, Ledger]:
    (root / "base").mkdir()
    told: list[Ledger] = []

    def run(server: Server) -> None:
        with Client(server.url) as client:
            told.append(Ledger.opened(client, 0))
            _send_steps(client, server.url, told[0], steps)
        assert server.stop() == 0

    return Recording(root, shim, root / "base", run, **SETTINGS), told[0]


@pytest.fixture(scope="module")
def second_run(
    shim: Path, first_run: tuple[Recording, Ledger], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recording, Ledger]:
    """On the folder of the first, all of which is durable by now; ended by a cut."""
    root, (first, ledger) = tmp_path_factory.mktemp("second"), first_run
    first.shown(root / "base", Mood.KIND)
    ledger = replace(ledger, sent=dict(ledger.sent), answered=set(ledger.answered), made={})

    def run(server: Server) -> None:
        with Client(server.url) as client:
            ledger.made["second"] = ("/v1/customers", client.customer(name="of the second run"))
            _send_steps(client, server.url, ledger, steps=4)

    return Recording(root, shim, root / "base", run, **SETTINGS), ledger


def _send_steps(client: Client, url: str, ledger: Ledger, steps: int) -> None:
    """Some events after the others, each lot applied before the next one is sent."""
    with httpx.Client(base_url=url, trust_env=False) as http:
        for _ in range(steps):
            assert send(http, ledger, ledger.fresh_batch(50))
            client.wait_until_applied()


def test_the_journal_has_every_byte_that_the_server_writes(first_run: tuple[Recording, Ledger], tmp_path: Path) -> None:
    first, _ = first_run
    first.shown(tmp_path / "replayed", Mood.KIND)
    replayed, real = _contents(tmp_path / "replayed" / "data"), _contents(first.server.data_dir)
    assert sorted(replayed) == sorted(real)
    assert [path for path in real if replayed[path] != real[path]] == []
    assert any(path.endswith("/checksums.txt") for path in real)


def _contents(folder: Path) -> dict[str, bytes | str]:
    return {
        str(each.relative_to(folder)): os.readlink(each) if each.is_symlink() else each.read_bytes()
        for each in folder.rglob("*")
        if each.is_symlink() or each.is_file()
    }


def _wrong(server: Server, ledger: Ledger) -> list[str]:
    """What a server says that is not as the ledger has it, also that it does not start."""
    try:
        server.start()
    except AssertionError as error:
        return [str(error)]
    try:
        with Client(server.url) as client:
            return differences(client, ledger, random.Random(0))
    except AssertionError as error:
        return [str(error)]
    finally:
        server.kill()


@pytest.mark.parametrize("lied_about", ["log.db", "control.db", "progress.db", "store"])
def test_a_disk_that_lies_about_its_syncs_is_found_out(
    second_run: tuple[Recording, Ledger], tmp_path: Path, lied_about: str
) -> None:
    """So that the tests below can fail: of any piece of the folder, writes that are lost after a sync are missed."""
    recording, ledger = second_run

    def concerns(path: str) -> bool:
        return path.startswith(f"/data/{lied_about}")

    server = recording.shown(tmp_path / "disk", Mood.HOLLOW, deaf=concerns, spared=lambda path: not concerns(path))
    assert _wrong(server, ledger) != []


def test_what_was_applied_is_counted_after_a_power_cut(second_run: tuple[Recording, Ledger], tmp_path: Path) -> None:
    recording, ledger = second_run
    assert _wrong(recording.shown(tmp_path / "disk", Mood.FORGETFUL), ledger) == []


def test_a_folder_that_the_server_made_is_there_after_a_power_cut(
    first_run: tuple[Recording, Ledger], tmp_path: Path
) -> None:
    recording, ledger = first_run
    server = recording.shown(tmp_path / "disk", Mood.FORGETFUL)
    assert _wrong(server, ledger) == []


def test_a_new_store_is_there_after_a_power_cut(first_run: tuple[Recording, Ledger], tmp_path: Path) -> None:
    recording, ledger = first_run
    server = recording.shown(tmp_path / "disk", Mood.FORGETFUL, spared=lambda path: not _in_store(path))
    assert _wrong(server, ledger) == []


def test_a_power_cut_between_insert_and_checkpoint_doubles_nothing(
    second_run: tuple[Recording, Ledger], tmp_path: Path
) -> None:
    recording, ledger = second_run
    inserted = _new_parts(recording.journal)[-1].place
    (inode,) = (
        each.inode for each in read(recording.journal) if each.kind is Kind.CREATE and each.first == b"progress.db-wal"
    )
    checkpoint = next(
        each.place
        for each in read(recording.journal)
        if each.kind is Kind.WRITE and each.inode == inode and each.place > inserted
    )
    assert _wrong(recording.shown(tmp_path / "disk", Mood.HOLLOW, until=checkpoint), ledger) == []


@pytest.mark.parametrize("table", [0, 1])
def test_a_kill_between_the_log_of_an_insert_and_its_part_loses_nothing(
    second_run: tuple[Recording, Ledger], tmp_path: Path, table: int
) -> None:
    """No power cut at all: every write survives up to the one that names the last step's part of a table."""
    recording, ledger = second_run
    parts = _new_parts(recording.journal)
    folder = list(dict.fromkeys(each.folder for each in parts))[table]
    named = [each.place for each in parts if each.folder == folder][-1]
    assert _wrong(recording.shown(tmp_path / "disk", Mood.KIND, until=named), ledger) == []


@pytest.fixture(scope="module")
def run_with_merges(shim: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, Ledger]:
    """So many small steps that the engine merges their parts."""
    return _run_of_steps(shim, tmp_path_factory.mktemp("merges"), steps=24)


@pytest.mark.parametrize("at", [0, -1])
def test_a_power_cut_before_a_merge_is_synced_loses_nothing(
    run_with_merges: tuple[Recording, Ledger], tmp_path: Path, at: int
) -> None:
    """The engine names a merged part and syncs its folder afterwards: the name may survive without the files."""
    recording, ledger = run_with_merges
    merges = [
        each for each in read(recording.journal) if each.kind is Kind.RENAME and each.first.startswith(b"tmp_merge_")
    ]

    def concerns(path: str) -> bool:
        return path.endswith(f"/{merges[at].second.decode()}")

    server = recording.shown(tmp_path / "disk", Mood.FORGETFUL, deaf=concerns, spared=lambda path: not concerns(path))
    assert _wrong(server, ledger) == []
    assert "merge taken back, since it had not been synced" in server.said()


def _new_parts(journal: Path) -> list[Record]:
    """Where inserted parts get their names, in order."""
    return [each for each in read(journal) if each.kind is Kind.RENAME and each.first.startswith(b"tmp_insert_")]


@pytest.mark.timeout(300)
def test_power_cuts_under_load_lose_nothing_and_double_nothing(shim: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    rounds = Rounds(PoweredServer(tmp_path, shim, **SETTINGS), seed)
    for _ in range(CUTS):
        rounds.run()
    rounds.end()


def _in_store(path: str) -> bool:
    return path.startswith("/data/store")
