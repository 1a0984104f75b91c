"""The event log: the durable order of accepted events, from which everything else can be rebuilt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamgauge.domain.account import Tenant


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One group of requests, appended together.

    `first_offset` is the offset of its first event, `next_offset` that of the first event after it.
    `received_at_ms` holds for all of its events and is strictly greater than that of the record before.
    `block` is an encoded `EventBlock`; it was checked against its checksum when it was read.
    """

    first_offset: int
    next_offset: int
    received_at_ms: int
    block: bytes


class EventLog(Protocol):
    """One partition of the log: durable, ordered, append-only. The embedded service has one, number 0.

    Offsets count events; an offset names the *next* event to read: having read the event at 41, checkpoint 42.
    The first event stands at 0.

    Several processes may append at once; each append is one atomic step in one total order.
    """

    @property
    def partition(self) -> int: ...

    def append(self, block: bytes, events: Mapping[Tenant, int]) -> LogRecord:
        """Append one record of `sum(events.values())` events and stamp it. It would survive a power cut on return.

        Raises StorageFull (the disk has no room) or Unavailable (locked too long): nothing was written.
        Raises DurabilityLost when the disk failed: whether it was written is unknown, the process must end.
        """

    def stamp(self, at_least_ms: int) -> int:
        """A time that orders after every record appended before and before every record appended afterwards.

        Never below `at_least_ms`, durable on return. It is what changes of the catalogue are valid from.
        """

    def read(self, offset: int, *, events_max: int) -> Sequence[LogRecord]:
        """Records from `offset` on, in order, at least one if there is any, then up to `events_max` events.

        `offset` is a record boundary. Empty when nothing follows. Raises Corrupt, naming the offset, when a record
        fails its checksum or the sequence has a gap.
        """

    def end_offset(self) -> int:
        """The offset that the next appended event will get."""

    def accepted(self) -> Mapping[Tenant, int]:
        """How many events of each tenant were ever appended."""

    def close(self) -> None: ...
