"""How far background readers have come: a number by name, in the control store's database."""

from typing import Protocol


class Marks(Protocol):
    """Inside of `ControlStore.transaction()` every method is part of that transaction, else one of its own."""

    def get(self, name: str) -> int | None: ...

    def put(self, name: str, value: int) -> None:
        """In place of what stood there."""
