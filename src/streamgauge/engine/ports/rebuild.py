"""What a rebuild needs of the world: rollups that can be made anew, and a mark that outlives a crash."""

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol, TypeAlias

# How much is done, of how much.
OnProgress: TypeAlias = Callable[[int, int], None]


class Rollups(Protocol):
    def rebuild(self, on_progress: OnProgress | None = None) -> None:
        """Delete all rollups and make them from the stored events and cancellations; durable on return.

        Cut short anywhere, they are incomplete until it is called again. Nothing may be inserted meanwhile.
        Raises like the store.
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

    def delete(self) -> None:
        """Delete store and progress; neither is open. What is not there is no fault. Durable on return."""
