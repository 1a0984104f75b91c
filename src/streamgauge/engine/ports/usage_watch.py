"""What watching usage asks the usage store: who was touched by a part of the log, and how much they have used."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Protocol, TypeAlias

from streamgauge.domain.meter import Meter
from streamgauge.domain.summary import Range
from streamgauge.domain.touched_usage import Touched

# Meter id, customer id, and the part of time that events lie in; None: all of it.
UsageKey: TypeAlias = tuple[str, str, Range | None]


class UsageWatch(Protocol):
    """Sees at least what lies below the checkpoint, and answers every formula exactly, as summaries would.

    Raises Unavailable when the store is away. Periods are whole days (UTC) or several of them.
    """

    def touched(
        self, meters: Collection[str], first_offset: int, next_offset: int, *, by_day: Collection[str]
    ) -> Sequence[Touched]:
        """One row for each meter and customer that [first_offset, next_offset) touched, and for each UTC day of event
        time with meters that are in `by_day`, too: late events touch very many days.

        A meter is named by its id alone, which no other tenant's has.
        """

    def usage(self, meters: Mapping[str, Meter], keys: Collection[UsageKey]) -> Mapping[UsageKey, Decimal]:
        """The total of each key; those without an event that counts are left out. `meters` by id."""

    def reaching(self, meter: Meter, period: Range | None, at_least: int) -> Mapping[str, Decimal]:
        """Every customer whose total is at least that, with the total."""
