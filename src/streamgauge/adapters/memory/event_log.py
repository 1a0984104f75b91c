"""`EventLog` and `Progress` in memory: the contracts without a disk."""

import threading
from collections.abc import Mapping, Sequence
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt
from streamgauge.domain.tally import NOTHING, Tally
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import KeyedEntry, KnownRequest, LogBeginning, LogRecord
from streamgauge.engine.ports.progress import Checkpoint, Intent


class MemoryEventLog:
    partition: Final = 0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._records: list[LogRecord] = []
        self._last_stamp_ms = 0
        self._beginning = LogBeginning()
        self._accepted: dict[Tenant, Tally] = {}
        self._requests: dict[tuple[Tenant, str], KnownRequest] = {}

    def append(self, block: bytes, tallies: Mapping[Tenant, Tally], keys: Sequence[KeyedEntry] = ()) -> LogRecord:
        size = sum(tally.entries for tally in tallies.values())
        with self._lock:
            self._last_stamp_ms = max(self._clock.now_ms(), self._last_stamp_ms + 1)
            first_offset = self._end()
            record = LogRecord(first_offset, first_offset + size, self._last_stamp_ms, block)
            self._records.append(record)
            for tenant, tally in tallies.items():
                self._accepted[tenant] = self._accepted.get(tenant, NOTHING) + tally
            for each in keys:
                self._requests[each.tenant, each.key.digest] = KnownRequest(
                    each.key.fingerprint, first_offset, each.position, record.received_at_ms
                )
            return record

    def stamp(self, at_least_ms: int) -> int:
        with self._lock:
            self._last_stamp_ms = max(at_least_ms, self._last_stamp_ms + 1)
            return self._last_stamp_ms

    def next_stamp_ms(self) -> int:
        with self._lock:
            return max(self._clock.now_ms(), self._last_stamp_ms + 1)

    def read(self, offset: int, *, events_max: int) -> Sequence[LogRecord]:
        with self._lock:
            following = [record for record in self._records if record.first_offset >= offset]
            if (following[0].first_offset if following else self._end()) != offset:
                raise Corrupt(f"event log, offset {offset}: no record begins there")
            return [
                record
                for number, record in enumerate(following)
                if number == 0 or record.next_offset - offset <= events_max
            ]

    def end_offset(self) -> int:
        with self._lock:
            return self._end()

    def received_before(self, offset: int) -> int | None:
        with self._lock:
            found = [record.received_at_ms for record in self._records if record.next_offset == offset]
            return found[0] if found else None

    def beginning(self) -> LogBeginning:
        with self._lock:
            return self._beginning

    def drop(self, *, before_ms: int, below_offset: int) -> int:
        with self._lock:
            if not self._records:
                return 0
            oldest = self._records[0]
            if oldest.received_at_ms >= before_ms or oldest.next_offset > below_offset:
                return 0
            del self._records[0]
            self._beginning = LogBeginning(oldest.next_offset, oldest.received_at_ms + 1)
            return oldest.next_offset - oldest.first_offset

    def accepted(self) -> Mapping[Tenant, Tally]:
        with self._lock:
            return dict(self._accepted)

    def known_request(self, tenant: Tenant, digest: str) -> KnownRequest | None:
        return self._requests.get((tenant, digest))

    def forget_requests(self, before_ms: int) -> int:
        with self._lock:
            kept = {key: known for key, known in self._requests.items() if known.received_at_ms >= before_ms}
            forgotten = len(self._requests) - len(kept)
            self._requests = kept
            return forgotten

    def close(self) -> None:
        """Nothing to release."""

    def _end(self) -> int:
        return self._records[-1].next_offset if self._records else self._beginning.offset


class MemoryProgress:
    def __init__(self) -> None:
        self._checkpoint = Checkpoint()
        self._intent: Intent | None = None
        self._applied: dict[Tenant, Tally] = {}

    def checkpoint(self) -> Checkpoint:
        return self._checkpoint

    def intent(self) -> Intent | None:
        return self._intent

    def intend(self, intent: Intent) -> None:
        if intent.first_offset != self._checkpoint.next_offset:
            raise Corrupt(f"intent {intent} does not begin at the checkpoint {self._checkpoint.next_offset}")
        self._intent = intent

    def advance(self, checkpoint: Checkpoint, applied: Mapping[Tenant, Tally]) -> None:
        self._checkpoint, self._intent = checkpoint, None
        for tenant, tally in applied.items():
            self._applied[tenant] = self._applied.get(tenant, NOTHING) + tally

    def applied(self) -> Mapping[Tenant, Tally]:
        return dict(self._applied)

    def close(self) -> None:
        """Nothing to release."""
