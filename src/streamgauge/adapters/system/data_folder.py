"""The data folder: its layout, its format, and the lock that keeps a second server out."""

import fcntl
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Final

from streamgauge import __version__
from streamgauge.adapters.system.durable_files import make_folder, write
from streamgauge.domain.errors import StartRefused

FORMAT: Final = 1

_FORMAT_FILE: Final = "format.json"
_LOCK_FILE: Final = "lock"
# What a first start leaves behind that was cut short, also one of an older version, and what file systems bring along.
_TOLERATED: Final = {_LOCK_FILE, "format.json.new", "format.new", "lost+found"}
# What fits into the address of a Unix socket on all systems we run on.
_SOCKET_PATH_BYTES_MAX: Final = 100
# Of the process, by number; on Linux.
_OPEN_FILES: Final = Path("/proc/self/fd")


class DataFolder:
    """A folder that only its owner can read, made on first use.

    Raises StartRefused, saying what to do, when the path is not such a folder, not writable, of a newer format,
    or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None
        self._opened: int | None = None
        try:
            make_folder(self.path, mode=0o700)
            self._check_format()
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise StartRefused(f"{path}: cannot be used as a data folder: {error.strerror}") from error
        except OSError as error:
            raise StartRefused(f"{path}: cannot be prepared as a data folder: {error}") from error

    @property
    def control(self) -> Path:
        return self.path / "control.db"

    @property
    def log(self) -> Path:
        return self.path / "log.db"

    @property
    def progress(self) -> Path:
        return self.path / "progress.db"

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def filter(self) -> Path:
        return self.path / "filter"

    @property
    def scratch(self) -> Path:
        """For files that need not outlive the process; emptied by `lock`."""
        return self.path / "tmp"

    @property
    def engine_socket(self) -> str:
        """Where the engine listens for its edges."""
        return self._socket_path("engine.sock")

    @property
    def upkeep_socket(self) -> str:
        """The same for the folder's owner."""
        return self._socket_path(f"{self.scratch.name}/upkeep.sock")

    def lock(self) -> None:
        """Hold the folder until the process and all that inherit the lock have ended, however they end."""
        path = self.path / _LOCK_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartRefused(f"{self.path}: is not writable: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise StartRefused(f"{self.path}: is in use by {holder}; stop it, or choose another --data-dir") from error
        try:
            os.set_inheritable(descriptor, True)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            shutil.rmtree(self.scratch, ignore_errors=True)
            self.scratch.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:  # a full disk: nothing else of the folder has been touched
            os.close(descriptor)
            raise StartRefused(f"{self.path}: cannot be prepared as a data folder: {error}") from error
        self._lock = descriptor

    @property
    def lock_descriptor(self) -> int:
        if self._lock is None:
            raise AssertionError("the folder is not locked")
        return self._lock

    def _check_format(self) -> None:
        path = self.path / _FORMAT_FILE
        if not path.exists():
            strangers = sorted(each.name for each in self.path.iterdir() if each.name not in _TOLERATED)
            if strangers:
                raise StartRefused(
                    f"{self.path}: is not empty and not a Streamgauge data folder (it has {strangers[0]!r}); "
                    "choose another --data-dir"
                )
            write(path, json.dumps({"format": FORMAT, "written_by": __version__}) + "\n")
            return
        try:
            found = json.loads(path.read_text())["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise StartRefused(f"{path}: is damaged: {error!r}; restore it from a backup") from error
        if not isinstance(found, int) or found > FORMAT:
            raise StartRefused(
                f"{self.path}: has format {found}, and this program ({__version__}) knows up to {FORMAT}; "
                "start the version that wrote it, or a newer one"
            )

    def _socket_path(self, name: str) -> str:
        """A path that is too long for a socket's address leads through a descriptor of the folder, which stays open."""
        path = str(self.path / name)
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
            return path
        if self._opened is None:
            if not _OPEN_FILES.is_dir():
                raise StartRefused(
                    f"{path}: is longer than the {_SOCKET_PATH_BYTES_MAX} bytes that a socket's path may have; "
                    "choose a shorter --data-dir"
                )
            self._opened = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        return f"{_OPEN_FILES}/{self._opened}/{name}"
