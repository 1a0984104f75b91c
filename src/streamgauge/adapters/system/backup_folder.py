"""`BackupFolder` as a folder with a manifest, and bringing one back as a data folder."""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from streamgauge import __version__
from streamgauge.adapters.system import snapshot
from streamgauge.adapters.system.durable_files import make_folder, sync_folder, write
from streamgauge.domain.errors import StartRefused
from streamgauge.engine.ports.backup import FileFacts, Manifest

# The second has the usage store with it, which a program that knows the first would leave aside.
FORMAT: Final = 2
_FORMAT_WITHOUT_STORE: Final = 1
_MANIFEST: Final = "backup.json"
_FOLDER_FORMAT: Final = "format.json"
_CHUNK_BYTES: Final = 2**20


class LocalBackupFolder:
    def __init__(self, path: Path) -> None:
        self.folder = path.absolute()

    def begin(self) -> None:
        make_empty(self.folder)

    def path(self, name: str) -> Path:
        return self.folder / name

    def seal(self, name: str) -> FileFacts:
        with open(self.folder / name, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
            return FileFacts(os.fstat(file.fileno()).st_size, digest)

    def finish(self, manifest: Manifest) -> None:
        sync_folder(self.folder)
        files = {name: {"bytes": each.size_bytes, "sha256": each.sha256} for name, each in manifest.files.items()}
        told = {
            "format": FORMAT if snapshot.STORE in files else _FORMAT_WITHOUT_STORE,
            "written_by": __version__,
            "made_at_ms": manifest.made_at_ms,
            "next_offset": manifest.next_offset,
            "files": files,
        }
        write(self.folder / _MANIFEST, json.dumps(told, indent=1) + "\n")

    def manifest(self) -> Manifest:
        path = self.folder / _MANIFEST
        try:
            told = json.loads(path.read_text())
            if told["format"] > FORMAT:
                raise StartRefused(f"{self.folder}: has format {told['format']}, this program knows up to {FORMAT}")
            files = {str(name): FileFacts(each["bytes"], each["sha256"]) for name, each in told["files"].items()}
            if not {_FOLDER_FORMAT, "control.db", "log.db"} <= set(files) or any(Path(n).name != n for n in files):
                raise StartRefused(f"{path}: does not name the files of a backup")
            return Manifest(made_at_ms=told["made_at_ms"], next_offset=told["next_offset"], files=files)
        except FileNotFoundError as error:
            raise StartRefused(
                f"{self.folder}: has no {_MANIFEST}: it is no backup, or one that was cut short"
            ) from error
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            raise StartRefused(f"{path}: cannot be read: {error!r}") from error


def make_empty(folder: Path) -> None:
    """Make a folder that only its owner can read. Raises StartRefused when there is something in it."""
    try:
        make_folder(folder, mode=0o700)
        if any(folder.iterdir()):
            raise StartRefused(f"{folder}: is not empty; choose another folder, or empty it")
        folder.chmod(0o700)
    except OSError as error:
        raise StartRefused(f"{folder}: cannot be used: {error.strerror}") from error


def bring_back(
    backup: LocalBackupFolder, folder: Path, before_last: Callable[[], None], on_bytes: Callable[[int, int], None]
) -> None:
    """Copy a backup's files into an empty folder, checked against its manifest.

    `format.json`, which makes it a data folder, comes last, after `before_last`: cut short before, nothing takes it for
    one. Raises StartRefused when the folder is not empty or the backup is incomplete or damaged.
    """
    manifest = backup.manifest()
    make_empty(folder)
    total = sum(each.size_bytes for each in manifest.files.values())
    done = 0

    def told(written: int) -> None:
        on_bytes(done + written, total)

    def bring(name: str, to: Path, put: Callable[["_Checked", Path], None]) -> None:
        nonlocal done
        _bring(backup.path(name), manifest.files[name], told, lambda read: put(read, to))
        done += manifest.files[name].size_bytes

    for name in manifest.files:
        if name == snapshot.STORE:
            bring(name, folder / "store", snapshot.unpack)
        elif name != _FOLDER_FORMAT:
            bring(name, folder / name, _write)
    before_last()
    sync_folder(folder)
    draft = folder / "format.new"
    bring(_FOLDER_FORMAT, draft, _write)
    draft.rename(folder / _FOLDER_FORMAT)
    sync_folder(folder)


class _Checked:
    """A file that is read once, from its beginning, and what it turned out to be."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], None]) -> None:
        self._file = file
        self._on_bytes = on_bytes
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def read(self, size: int = _CHUNK_BYTES) -> bytes:
        chunk = self._file.read(size)
        self._digest.update(chunk)
        self._size_bytes += len(chunk)
        self._on_bytes(self._size_bytes)
        return chunk

    def facts(self) -> FileFacts:
        while self.read():  # an archive says itself where it ends
            pass
        return FileFacts(self._size_bytes, self._digest.hexdigest())


def _bring(source: Path, facts: FileFacts, on_bytes: Callable[[int], None], put: Callable[[_Checked], None]) -> None:
    """`put` a file of a backup where it belongs. Raises StartRefused when that fails or the file is damaged."""
    damaged = f"{source}: is not what the backup's manifest says; the backup is damaged"
    try:
        with open(source, "rb") as file:
            checked = _Checked(file, on_bytes)
            put(checked)
            found = checked.facts()
    except tarfile.TarError as error:
        raise StartRefused(damaged) from error
    except OSError as error:
        raise StartRefused(f"{source}: could not be copied to the data folder: {error.strerror or error}") from error
    if found != facts:
        raise StartRefused(damaged)


def _write(read: _Checked, to: Path) -> None:
    with open(to, "xb", opener=lambda name, how: os.open(name, how, 0o600)) as written:
        shutil.copyfileobj(read, written, _CHUNK_BYTES)
        written.flush()
        os.fsync(written.fileno())
