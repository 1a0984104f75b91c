"""The event log: the durable order of accepted events, from which everything else can be rebuilt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.request_key import RequestKey
from streamgauge.domain.tally import Tally


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One group of requests, appended together.

    `first_offset` is the offset of its first entry, `next_offset` that of the first entry after it.
    `received_at_ms` holds for all of its entries and is strictly greater than that of the record before.
    `block` is an encoded `LogBlock`; it was checked against its checksum when it was read.
    """

    first_offset: int
    next_offset: int
    received_at_ms: int
    block: bytes


@dataclass(frozen=True, slots=True)
class KeyedEntry:
    """The entry at `position` of a record is what the request with this key asked for."""

    tenant: Tenant
    key: RequestKey
    position: int


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request key that was used: with which fingerprint, and where the record with its entry begins."""

    fingerprint: str
    first_offset: int
    position: int
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class LogBeginning:
    """Records below `offset` were dropped; everything received at or after `received_from_ms` is there."""

    offset: int = 0
    received_from_ms: int = 0


class EventLog(Protocol):
    """One partition of the log: durable, ordered, append-only. The embedded service has one, number 0.

    Its entries are events and cancel requests. Offsets count entries; an offset names the *next* entry to read:
    having read the one at 41, checkpoint 42. The first stands at 0.

    Several processes may append at once; each append is one atomic step in one total order.
    """

    @property
    def partition(self) -> int: ...

    def append(self, block: bytes, tallies: Mapping[Tenant, Tally], keys: Sequence[KeyedEntry] = ()) -> LogRecord:
        """Append one record with as many entries as `tallies` say, and stamp it. It would survive a power cut on
        return, and so would `keys`: both or neither. A key that is known already now stands for the new entry.

        Raises StorageFull (the disk has no room) or Unavailable (locked too long): nothing was written.
        Raises DurabilityLost when the disk failed: whether it was written is unknown, the process must end.
        """

    def stamp(self, at_least_ms: int) -> int:
        """A time that orders after every record appended before and before every record appended afterwards.

        Never below `at_least_ms`, durable on return. It is what changes of the catalogue are valid from.
        """

    def next_stamp_ms(self) -> int:
        """What a record would be stamped with if it were appended now. Nothing is kept by asking."""

    def read(self, offset: int, *, events_max: int) -> Sequence[LogRecord]:
        """Records from `offset` on, in order, at least one if there is any, then up to `events_max` entries.

        `offset` is a record boundary. Empty when nothing follows. Raises Corrupt, naming the offset, when a record
        fails its checksum or the sequence has a gap.
        """

    def end_offset(self) -> int:
        """The offset that the next appended entry will get."""

    def received_before(self, offset: int) -> int | None:
        """When the record that ends at this offset was received (ms); None when there is no such record."""

    def beginning(self) -> LogBeginning:
        """Where the log begins: with offset 0, unless records were dropped. To read below it raises Corrupt."""

    def drop(self, *, before_ms: int, below_offset: int) -> int:
        """Delete from the beginning some of the records that were received before `before_ms` and end at or below
        `below_offset`, so few that appends are not delayed; how many entries they had, 0 when there are none (more).

        Durable on return, and what is cut short did nothing. Offsets go on as before: none is given twice. Counts of
        what was accepted stay. Raises like `append`.
        """

    def accepted(self) -> Mapping[Tenant, Tally]:
        """How many entries of each tenant were ever appended."""

    def known_request(self, tenant: Tenant, digest: str) -> KnownRequest | None:
        """What was appended with that request key."""

    def forget_requests(self, before_ms: int) -> int:
        """Delete the keys of entries that were received before then; how many."""

    def close(self) -> None: ...
