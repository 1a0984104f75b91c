"""What is stored of events one by one, and dropping what is old of it."""

from typing import Protocol


class RetainedEvents(Protocol):
    """Of the usage store: events with their fates, and what finds them by identifier. Raises like the store."""

    def drop(self, before_ms: int) -> int:
        """Drop what was received on days (UTC) that ended at or before this moment, whole days; how many.

        The newest day that has events stays, whatever its age: a store without events is taken for a lost one. Totals,
        cancellations and the events that totals are made anew from stay too. Cut short anywhere it dropped some days,
        or the events of a day and not yet what finds them: called again, it drops the rest.
        """
