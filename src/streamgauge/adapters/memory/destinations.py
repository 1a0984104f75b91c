"""Event destinations on plain Python objects."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

from streamgauge.adapters.memory.control_store import MemoryControlStore, cut, oldest_first, refuse_if
from streamgauge.adapters.memory.outbox import MemoryOutbox
from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import DeliveryState
from streamgauge.domain.errors import NotFound
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import Style
from streamgauge.engine.ports.control_store import Listed, Page


class MemoryDestinations:
    """Implements `DestinationStore`, next to an outbox on the same control store."""

    def __init__(self, control: MemoryControlStore, outbox: MemoryOutbox) -> None:
        self._control = control
        self._outbox = outbox
        self._rows = outbox.destinations

    def add(self, destination: EventDestination) -> None:
        with self._control.lock:
            account_id = destination.tenant.account_id
            refuse_if(destination.id in self._rows or self._control.find_account(account_id) is None, destination.id)
            self._rows[destination.id] = deepcopy(destination)

    def save(self, destination: EventDestination) -> None:
        with self._control.lock:
            known = self._existing(destination.tenant, destination.id)
            if known is None:
                raise NotFound(f"No such event destination: '{destination.id}'", param="id")
            self._rows[destination.id] = replace(
                deepcopy(destination),
                made_by=known.made_by,
                style=known.style,
                created_ms=known.created_ms,
                failing_since_ms=None if destination.failing_since_ms is None else known.failing_since_ms,
            )

    def get(self, tenant: Tenant, destination_id: str) -> EventDestination | None:
        return deepcopy(self._existing(tenant, destination_id))

    def list(self, tenant: Tenant, page: Page, style: Style | None = None) -> Listed[EventDestination]:
        with self._control.lock:
            of_tenant = [each for each in self._rows.values() if each.tenant == tenant]
            deleted = self._outbox.deleted_destinations
            return cut(
                oldest_first(of_tenant),
                page,
                lambda each: each.id not in deleted and style in (None, each.style),
            )

    def enabled(self, tenant: Tenant) -> tuple[EventDestination, ...]:
        with self._control.lock:
            return tuple(each for each in oldest_first(self._of(tenant)) if each.is_enabled)

    def count(self, tenant: Tenant) -> int:
        with self._control.lock:
            return len(self._of(tenant))

    def is_empty(self) -> bool:
        return not self._rows

    def delete(self, tenant: Tenant, destination_id: str, at_ms: int) -> bool:
        with self._control.lock:
            if self._existing(tenant, destination_id) is None:
                return False
            self._outbox.deleted_destinations[destination_id] = at_ms
            for each in list(self._outbox.deliveries.values()):
                if each.destination_id == destination_id and each.state is DeliveryState.PENDING:
                    cancelled = replace(each, state=DeliveryState.CANCELLED, next_at_ms=None)
                    self._outbox.deliveries[each.id] = cancelled
            return True

    def _existing(self, tenant: Tenant, destination_id: str) -> EventDestination | None:
        found = self._rows.get(destination_id)
        is_there = found is not None and found.tenant == tenant and found.id not in self._outbox.deleted_destinations
        return found if is_there else None

    def _of(self, tenant: Tenant) -> Sequence[EventDestination]:
        return [each for each in self._rows.values() if self._existing(tenant, each.id) is not None]
