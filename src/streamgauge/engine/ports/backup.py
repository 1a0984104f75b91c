"""A backup: where its files come from, and the folder that they go to."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What makes a damaged copy known."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a complete backup says of itself. `next_offset` is where its log ends."""

    made_at_ms: int
    next_offset: int
    files: Mapping[str, FileFacts]


class Frozen(Protocol):
    """One moment of a data folder, which goes on meanwhile. `next_offset` is how far in the log that moment is."""

    next_offset: int

    @property
    def names(self) -> Sequence[str]:
        """Files."""

    def size_bytes(self, name: str) -> int:
        """About how large the copy of that file will be."""

    def copy(self, name: str, to: Path, on_bytes: Callable[[int], None]) -> None:
        """Write that file as it was at this moment; `on_bytes` is told how many there are so far."""


class FrozenLog(Frozen, Protocol):
    """Control store and log; what is received before `first_offset` the log has dropped."""

    first_offset: int


class BackupSource(Protocol):
    def frozen(self) -> AbstractContextManager[FrozenLog]:
        """One moment of control store and log, the same for both.

        Every change of the catalogue that was stamped before the last record of that log is in it, and no other. The
        control store's writers wait for some milliseconds; appending to the log does not.
        Raises StartRefused when there is nothing to back up, Unavailable when the control store stays locked.
        """


class BackupFolder(Protocol):
    """Only its owner can read it. Complete with its manifest, which comes last."""

    def begin(self) -> None:
        """Make it. Raises StartRefused when there is anything in it."""

    def path(self, name: str) -> Path: ...

    def seal(self, name: str) -> FileFacts:
        """The file has been written: sync it."""

    def finish(self, manifest: Manifest) -> None:
        """Durable on return, with everything that was sealed."""

    def manifest(self) -> Manifest:
        """Raises StartRefused when it is no backup, an incomplete one, or one of a later version."""
