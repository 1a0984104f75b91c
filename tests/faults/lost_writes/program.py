"""Programs that run with the shim, and a server whose power can be cut."""

import copy
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.faults.lost_writes.disk import Disk, Lost, Mood
from tests.support.server import Server

SOURCE: Final = Path(__file__).parent / "shim.c"
SYNC_US: Final = 500


def build_shim(folder: Path) -> Path:
    """Raises CalledProcessError with what the compiler said; FileNotFoundError without one."""
    shim = folder / "shim.so"
    flags = ["-O1", "-Wall", "-Wextra", "-fvisibility=hidden", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", str(shim), str(SOURCE), "-ldl", "-lpthread"], check=True, capture_output=True)
    return shim


def environment(shim: Path, folder: Path, journal: Path, sync_us: int = SYNC_US) -> dict[str, str]:
    """What a program needs to be watched on `folder`."""
    return {
        "LD_PRELOAD": str(shim),
        "LOST_WRITES_FOLDER": str(folder.resolve()),
        "LOST_WRITES_JOURNAL": str(journal),
        "LOST_WRITES_SYNC_US": str(sync_us),
    }


class PoweredServer:
    """A server on a disk that forgets. Each start is watched, the one after a power cut too: recovery can be cut.

    `spared` says of a path, which begins with /data, that the disk loses nothing of it.
    """

    def __init__(
        self,
        root: Path,
        shim: Path,
        *,
        spared: Callable[[str], bool] = lambda path: False,
        **settings: object,
    ) -> None:
        self._root = root
        self._shim = shim
        self._spared = spared
        self._number = 0
        self.watched = root / "disk"
        self.server = Server(self.watched / "data", **settings)
        self.watched.mkdir()
        self._base.mkdir()
        for folder in (self.watched, self._base):
            (folder / "data").mkdir(mode=0o700)
        self._disk: Disk

    @property
    def _base(self) -> Path:
        return self._root / f"base-{self._number}"

    @property
    def _journal(self) -> Path:
        return self._root / f"journal-{self._number}"

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        self._disk = Disk(self._base, self.watched)
        with _environment_of_children(environment(self._shim, self.watched, self._journal)):
            self.server.start()

    def forget(self, mood: Mood, rng: random.Random) -> Lost:
        """The same for a server that has ended."""
        self._disk.play(self._journal)
        base, journal = self._base, self._journal
        self._number += 1
        lost = self._disk.cut_power(self._base, mood, rng, self._spared)
        shutil.rmtree(self.server.data_dir)
        if (self._base / "data").exists():
            shutil.copytree(self._base / "data", self.server.data_dir, symlinks=True)
        shutil.rmtree(base)
        journal.unlink(missing_ok=True)
        return lost


class Recording:
    """One run of a server on a folder `base`, of which a disk may show this or that: each outcome is a folder anew."""

    def __init__(self, root: Path, shim: Path, base: Path, run: Callable[[Server], None], **settings: object) -> None:
        self.root = root
        self._settings = settings
        watched = root / "disk"
        shutil.copytree(base, watched, symlinks=True)
        self._disk = Disk(base, watched)
        self.journal = root / "journal"
        self.server = Server(watched / "data", **settings)
        with _environment_of_children(environment(shim, watched, self.journal)):
            self.server.start()
        try:
            run(self.server)
        finally:
            if self.server.process.poll() is None:
                self.server.kill()

    def shown(
        self,
        into: Path,
        mood: Mood,
        *,
        until: int | None = None,
        deaf: Callable[[str], bool] = lambda path: False,
        spared: Callable[[str], bool] = lambda path: False,
    ) -> Server:
        """The outcome in the folder `into`, which is made, and a server on it that nobody watches."""
        disk = copy.deepcopy(self._disk)
        disk.play(self.journal, until, deaf)
        disk.cut_power(into, mood, random.Random(0), spared)
        return Server(into / "data", **self._settings)


class _environment_of_children:
    """Set for programs that are started inside; this process itself loads nothing."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def __enter__(self) -> None:
        self._before = dict(os.environ)
        os.environ.update(self._variables)

    def __exit__(self, *_: object) -> None:
        for name in self._variables:
            if name in self._before:
                os.environ[name] = self._before[name]
            else:
                del os.environ[name]
