"""What a rebuild needs of the world: rollups that can be made anew, and a mark that outlives a crash."""

from collections.abc import Callable, Generator
from enum import StrEnum
from typing import Protocol, TypeAlias

# How much is done, of how much.
OnProgress: TypeAlias = Callable[[int, int], None]


class Rollups(Protocol):
    def rebuild(self, sync: Callable[[], None], on_progress: OnProgress | None = None) -> None:
        """Delete all rollups and make them from the stored events and cancellations; durable on return.

        Cut short anywhere, they are incomplete until it is called again. Nothing may be inserted meanwhile. `sync`
        makes the names of the store's files durable. Raises like the store.
        """

    def renew(self, sync: Callable[[], None]) -> Generator[tuple[int, int], None, None]:
        """The same while they are read and added to: made anew beside those that are there, portion by portion, and at
        the end put into their place. Yields (events done, events in all) after each portion but the last.

        Steps may be inserted between portions, and not within one. Left in the middle, at whatever moment, the
        rollups are those from before.
        """


class Stage(StrEnum):
    """What a rebuild is at, and begins with again after a crash."""

    EMPTYING = "emptying"  # store and progress are being deleted
    APPLYING = "applying"  # they were, or have not been there; the log is applied from the checkpoint on
    ROLLUPS = "rollups"  # the rollups are being made from the stored events


class DerivedState(Protocol):
    """Store and progress as a whole, and the mark that says that they are being rebuilt."""

    def stage(self) -> Stage | None:
        """None: nothing is being rebuilt. Raises Corrupt when the mark cannot be read."""

    def mark(self, stage: Stage) -> None:
        """Durable on return."""

    def unmark(self) -> None:
        """What was rebuilt is complete. Durable on return."""

    def store_format(self) -> int | None:
        """The format that was noted of the store; 1 where none was, None without a store."""

    def note_store_format(self, number: int) -> None:
        """The store is complete in this format. Durable on return; `delete` forgets it."""

    def sync_store(self) -> None:
        """What the files of the store are called is durable on return. It may be in use."""

    def delete(self) -> None:
        """Delete store and progress; neither is open. What is not there is no fault. Durable on return."""
