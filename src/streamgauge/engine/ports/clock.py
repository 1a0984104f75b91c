"""The wall clock and the source of randomness: the two things that make a run different from another."""

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time. It may step in both directions; whoever needs order asks the event log for a stamp."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""


class Entropy(Protocol):
    """Unpredictable characters, for identifiers and secrets."""

    def token(self, length: int) -> str:
        """`length` characters of [0-9A-Za-z], each with 5.95 random bits, from a cryptographic source."""
