"""`BackupFolder` as a folder with a manifest, and bringing one back as a data folder."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamgauge import __version__
from streamgauge.adapters.system.durable_files import make_folder, sync_folder, write
from streamgauge.domain.errors import StartRefused
from streamgauge.engine.ports.backup import FileFacts, Manifest

FORMAT: Final = 1
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
            "format": FORMAT,
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
    for name, facts in manifest.files.items():
        if name != _FOLDER_FORMAT:
            done = _copy(backup.path(name), folder / name, facts, lambda at: on_bytes(at, total), done)
    before_last()
    sync_folder(folder)
    draft = folder / "format.new"
    done = _copy(
        backup.path(_FOLDER_FORMAT), draft, manifest.files[_FOLDER_FORMAT], lambda at: on_bytes(at, total), done
    )
    draft.rename(folder / _FOLDER_FORMAT)
    sync_folder(folder)


def _copy(source: Path, to: Path, facts: FileFacts, on_bytes: Callable[[int], None], done: int) -> int:
    digest = hashlib.sha256()
    size_bytes = 0
    try:
        with open(source, "rb") as read, open(to, "xb", opener=lambda name, how: os.open(name, how, 0o600)) as written:
            while chunk := read.read(_CHUNK_BYTES):
                digest.update(chunk)
                written.write(chunk)
                size_bytes += len(chunk)
                on_bytes(done + size_bytes)
            written.flush()
            os.fsync(written.fileno())
    except OSError as error:
        raise StartRefused(f"{source}: could not be copied to {to}: {error.strerror}") from error
    if FileFacts(size_bytes, digest.hexdigest()) != facts:
        raise StartRefused(f"{source}: is not what the backup's manifest says; the backup is damaged")
    return done + size_bytes
