"""Receipts: what became of an event, by its identifier."""

import numpy as np
import pyarrow.compute as pc

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import NotFound
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.receipt import Receipt, StoredEvent, receipt_of
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.redrive import acknowledged
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
        waiting = [] if ahead.events is None else pending_events(ahead.events, tenant, identifier)
        stored = list(self._store.events_of(tenant, identifier, int(hashes[0])))
        known = {event.log_offset for event in stored}
        events = stored + [event for event in waiting if event.log_offset not in known]
        if not events:
            raise NotFound(f"No meter event with identifier '{identifier}' was received.", param="identifier")
        return receipt_of(acknowledged(events))


def pending_events(events: ReceivedEvents, tenant: Tenant, identifier: str | None = None) -> list[StoredEvent]:
    """Those of the tenant, and of the identifier if one is given, as events that have no fate yet."""
    wanted = np.array([each == tenant for each in events.tenants])[events.tenant]
    if identifier is not None:
        wanted &= pc.equal(events.identifier, identifier).to_numpy(zero_copy_only=False)
    return [
        StoredEvent(
            identifier=events.identifier[row].as_py(),
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
            key_id=events.origins[events.origin[row]].key_id,
            session_id=events.origins[events.origin[row]].session_id or "",
            first_offset=None if events.first_receipt is None else int(events.first_offset[row]),
            first_received_at_ms=None if events.first_receipt is None else int(events.first_received_at_ms[row]),
        )
        for row in np.flatnonzero(wanted)
    ]
