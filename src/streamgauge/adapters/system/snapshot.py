"""A snapshot of usage store and progress, as files of a backup, and the store back from its file.

That one is a tar archive, since folders and links between them belong to a store.
"""

import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Final, Protocol, cast

from streamgauge.adapters.system.durable_files import sync_folders

STORE: Final = "store.tar"
_PROGRESS: Final = "progress.db"


class Snapshot:
    """A folder with a `store` whose files do not change any more and the `progress.db` that belongs to it."""

    names: Sequence[str] = (STORE, _PROGRESS)

    def __init__(self, folder: Path, next_offset: int) -> None:
        self._store = folder / "store"
        self._progress = folder / _PROGRESS
        self.next_offset = next_offset

    def size_bytes(self, name: str) -> int:
        if name == _PROGRESS:
            return self._progress.stat().st_size
        block = tarfile.BLOCKSIZE
        return sum(block + -(-path.lstat().st_size // block) * block for path in self._store.rglob("*"))

    def copy(self, name: str, to: Path, on_bytes: Callable[[int], None]) -> None:
        with open(to, "xb", opener=lambda path, how: os.open(path, how, 0o600)) as file:
            if name == _PROGRESS:
                with open(self._progress, "rb") as progress:
                    shutil.copyfileobj(progress, file)
                return

            def told(member: tarfile.TarInfo) -> tarfile.TarInfo:
                on_bytes(file.tell())
                return member

            with tarfile.open(fileobj=file, mode="w") as archive:
                archive.add(self._store, arcname=".", filter=told)


class Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


def unpack(archive: Readable, store: Path) -> None:
    """Make the store from its file, durable when this returns.

    Raises OSError when it cannot be written, tarfile.TarError when this is no such file.
    """
    store.mkdir(mode=0o700)
    # A stream, of which `tarfile` asks no more than `read`.
    with tarfile.open(fileobj=cast(IO[bytes], archive), mode="r|") as opened:
        if hasattr(tarfile, "data_filter"):  # from 3.11.4 on: nothing outside of the folder, and no owners
            opened.extraction_filter = tarfile.data_filter
        opened.extractall(store)
    for parent, _, names in os.walk(store):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
    sync_folders(store)
