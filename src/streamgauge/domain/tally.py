"""Tallies: how many entries of each kind the log holds of a tenant."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Each event, each cancellation, and each time that an event is redriven takes one offset of the log."""

    events: int = 0
    cancellations: int = 0
    redriven: int = 0

    @property
    def entries(self) -> int:
        return self.events + self.cancellations + self.redriven

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.events + other.events, self.cancellations + other.cancellations, self.redriven + other.redriven
        )

    def __sub__(self, other: "Tally") -> "Tally":
        return Tally(
            self.events - other.events, self.cancellations - other.cancellations, self.redriven - other.redriven
        )


NOTHING = Tally()
