"""Receipts: what became of an event, by its identifier."""

import numpy as np
import pyarrow.compute as pc

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import NotFound
from streamgauge.domain.event_block import ReceivedEvents
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.receipt import Receipt, StoredEvent, receipt_of
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.unapplied import Unapplied


class Receipts:
    def __init__(self, unapplied: Unapplied, store: UsageStore) -> None:
        self._unapplied = unapplied
        self._store = store

    def find(self, tenant: Tenant, identifier: str) -> Receipt:
        """Raises NotFound when no event with this identifier was ever acknowledged in this account and mode."""
        hashes = hash_names([(tenant, identifier)])
        # The log first: what is applied while we look is then seen in the store, or in both; never in neither.
        ahead = self._unapplied.find(hashes)
        waiting = [] if ahead.events is None else _waiting(ahead.events, tenant, identifier)
        stored = list(self._store.events_of(tenant, identifier, int(hashes[0])))
        known = {event.log_offset for event in stored}
        events = stored + [event for event in waiting if event.log_offset not in known]
        if not events:
            raise NotFound(f"No meter event with identifier '{identifier}' was received.", param="identifier")
        return receipt_of(events)


def _waiting(events: ReceivedEvents, tenant: Tenant, identifier: str) -> list[StoredEvent]:
    return [
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
            received_at_ms=int(events.received_at_ms[row]),
            log_offset=int(events.offset[row]),
            payload=dict(events.payload[row].as_py()),
        )
        for row in np.flatnonzero(pc.equal(events.identifier, identifier).to_numpy(zero_copy_only=False))
        if events.tenants[events.tenant[row]] == tenant
    ]
