"""Faults of the world for a real server: a disk of its own that can be filled, a C library that fails or tells
another time, a process with fewer rights."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.server import Server

WAIT_SECONDS: Final = 30.0
_SHIM: Final = Path(__file__).with_name("faults_shim.c")


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS:g} s: {what}"
        time.sleep(0.01)


def event(identifier: str, customer: str, value: str = "1", name: str = "calls") -> dict[str, Any]:
    return {"event_name": name, "identifier": identifier, "payload": {"stripe_customer_id": customer, "value": value}}


class FaultyServer(Server):
    """A server that is started under a command, such as one that takes rights away, and with more environment."""

    def __init__(
        self,
        data_dir: Path,
        *,
        under: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        **settings: object,
    ) -> None:
        super().__init__(data_dir, **settings)
        self.under = under
        self.environment = environment or {}

    def start(self) -> "FaultyServer":
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            if self.under:
                # It runs what it is given in its own place, so the process stays the one that tests signal.
                wrapper = self.data_dir.with_suffix(".sh")
                wrapper.write_text(f'#!/bin/sh\nexec {" ".join(self.under)} {sys.executable} "$@"\n')
                wrapper.chmod(0o700)
                patch.setattr(sys, "executable", str(wrapper))
            super().start()
        return self


def start_until_killed(server: FaultyServer, shim: "Shim", point: "Point") -> None:
    """Start it; at that point, before it is ready or after, all its processes are killed."""
    shim.kill_at(point)
    try:
        server.start()
    except AssertionError:  # before it was ready
        pass
    else:
        try:
            wait_until(lambda: server.process.poll() is not None, f"{point} is met")
        except AssertionError:
            server.kill()
            raise
        server.ended()
    shim.heal()
    assert server.process.returncode == -signal.SIGKILL, server.said()[-4_000:]


# --- a disk that can be full


class SmallDisk:
    """A file system of its own, mounted from a file. `fill` leaves not one free block, `free` gives them back."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filler = root / "filler"

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    def fill(self) -> None:
        with open(self._filler, "ab", buffering=0) as file:
            for size in (2**20, 2**14, 2**12):
                try:
                    while True:
                        # Allocated at once: what is only written may find its blocks taken when it is flushed.
                        end = os.fstat(file.fileno()).st_size
                        os.posix_fallocate(file.fileno(), end, size)
                except OSError:
                    continue

    def leave(self, size_bytes: int) -> None:
        """Of a disk that is full, give so much back."""
        os.truncate(self._filler, self._filler.stat().st_size - size_bytes)

    def free(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Skips the test where a file system cannot be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    image, root = folder / "disk.img", folder / "disk"
    root.mkdir()
    with open(image, "wb") as file:
        file.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", str(image)], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(root)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a loop device cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(root)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True, capture_output=True)


# --- a C library that fails, or tells another time


@dataclass(frozen=True)
class Shim:
    """What a server is started with to have faults, in `environment`; they are set while it runs."""

    folder: Path
    environment: Mapping[str, str]

    @property
    def is_armed(self) -> bool:
        return self._trigger.exists()

    def fail(self, call: str, part_of_path: str, *, number: int = 0) -> None:
        """From now on `call` (sync, write or read) on files whose path holds that part gives EIO: each, or with a
        `number` only that one, counted from 1."""
        draft = self.folder / "trigger.new"
        draft.write_text(f"{call} {part_of_path} {number}")
        draft.rename(self._trigger)

    def kill_at(self, point: "Point") -> None:
        """At that point all processes of the group are killed, by the one that reaches it."""
        draft = self.folder / "trigger.new"
        draft.write_text(f"{point.call} {point.part_of_path} {point.number} kill-{point.side}")
        draft.rename(self._trigger)

    def heal(self) -> None:
        self._trigger.unlink(missing_ok=True)

    def shift_clock(self, seconds: int) -> None:
        """So far from the true time the wall clock is from now on. Clocks that only measure go on as they are."""
        with open(self.folder / "clock", "r+b", buffering=0) as file:
            file.write(struct.pack("=q", seconds))

    @property
    def _trigger(self) -> Path:
        return self.folder / "trigger"


@dataclass(frozen=True)
class Point:
    """Before or after the call of that number on a file whose path holds the part: sync, write, read or rename."""

    call: str
    part_of_path: str
    number: int
    side: str

    def __str__(self) -> str:
        return f"{self.side} {self.call} {self.number} of {self.part_of_path}"


def built_shim(folder: Path) -> Shim:
    """Skips the test where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is installed")
    library = folder / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, _SHIM, "-ldl"], check=True)
    (folder / "clock").write_bytes(bytes(8))
    names = {"LD_PRELOAD": library, "FAULTS_TRIGGER": folder / "trigger", "FAULTS_CLOCK": folder / "clock"}
    return Shim(folder, {name: str(path) for name, path in names.items()})
