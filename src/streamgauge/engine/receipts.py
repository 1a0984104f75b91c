"""Receipts: what became of an event, by its identifier."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import NotFound
from streamgauge.domain.event_block import decode, received
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.receipt import Receipt, StoredEvent, receipt_of
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.usage_store import UsageStore

_READ_EVENTS: int = 100_000


class Receipts:
    def __init__(self, log: EventLog, progress: Progress, store: UsageStore) -> None:
        self._log = log
        self._progress = progress
        self._store = store

    def find(self, tenant: Tenant, identifier: str) -> Receipt:
        """Raises NotFound when no event with this identifier was ever acknowledged in this account and mode."""
        # The checkpoint first: what is applied while we look is then seen in the store, or in both; never in neither.
        next_offset = self._progress.checkpoint().next_offset
        names = pa.array([identifier], pa.string())
        (identifier_hash,) = hash_identifiers(names, np.zeros(1, np.int32), [tenant])
        waiting = self._waiting(tenant, identifier, next_offset)
        stored = list(self._store.events_of(tenant, identifier, int(identifier_hash)))
        known = {event.log_offset for event in stored}
        events = stored + [event for event in waiting if event.log_offset not in known]
        if not events:
            raise NotFound(f"No meter event with identifier '{identifier}' was received.", param="identifier")
        return receipt_of(events)

    def _waiting(self, tenant: Tenant, identifier: str, offset: int) -> list[StoredEvent]:
        """Events with this identifier that are in the log and not applied yet."""
        found: list[StoredEvent] = []
        while records := self._log.read(offset, events_max=_READ_EVENTS):
            for record in records:
                events = received([decode(record.block)], [record.received_at_ms], record.first_offset)
                for row in np.flatnonzero(pc.equal(events.identifier, identifier).to_numpy(zero_copy_only=False)):
                    if events.tenants[events.tenant[row]] == tenant:
                        found.append(
                            StoredEvent(
                                identifier=identifier,
                                event_name=events.event_name[row].as_py(),
                                status=Fate.PENDING,
                                code="",
                                meter="",
                                customer="",
                                value=None,
                                timestamp_ms=int(events.timestamp_ms[row]),
                                timestamp_given=bool(events.timestamp_given[row]),
                                received_at_ms=record.received_at_ms,
                                log_offset=int(events.offset[row]),
                                payload=dict(events.payload[row].as_py()),
                            )
                        )
            offset = records[-1].next_offset
        return found
