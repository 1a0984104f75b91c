"""Folders that are there after a power cut, and small files that are whole or as they were before."""

import contextlib
import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write beside it, sync, rename, sync the folder: at no moment is there half a file."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """The same of bytes, wherever they lie."""
    draft = path.with_name(f"{path.name}.new")
    with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def make_folder(path: Path, mode: int = 0o777) -> None:
    """The folder, if it is missing, and with the usual mode those above it; each is durable before the next is made.

    Folders that are there already may be another's, and not even readable: they are not synced.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=mode, exist_ok=True)
    sync_folder(path.parent)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """What its files are called is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(path: Path) -> None:
    """The same of every folder below it, and of the one it is in. Folders that vanish meanwhile need no sync."""
    sync_folder(path.parent)
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(FileNotFoundError):
            sync_folder(Path(folder))
