"""Tallies: how many entries of each kind the log holds of a tenant."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Each event and each cancellation takes one offset of the log."""

    events: int = 0
    cancellations: int = 0

    @property
    def entries(self) -> int:
        return self.events + self.cancellations

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.events + other.events, self.cancellations + other.cancellations)

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(self.events - other.events, self.cancellations - other.cancellations)


NOTHING = Tally()
