"""The outbox on plain Python objects, and what it shares with notifications and destinations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

from streamgauge.adapters.memory.control_store import MemoryControlStore, cut, oldest_first, refuse_if
from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import Attempt, Delivery, DeliveryState
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import Notification
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.outbox import Claimed, Outcome

_UNDELIVERED = (DeliveryState.PENDING, DeliveryState.FAILED)


class MemoryOutbox:
    """Implements `Outbox`."""

    def __init__(self, control: MemoryControlStore) -> None:
        self._control = control
        notifications: dict[str, Notification] = {}
        destinations: dict[str, EventDestination] = {}
        deleted_destinations: dict[str, int] = {}
        deliveries: dict[str, Delivery] = {}
        attempts: dict[str, tuple[Attempt, ...]] = {}
        self.notifications = control.table(notifications)
        self.destinations = control.table(destinations)
        # Rows stay, for the deliveries that name them. When, in milliseconds.
        self.deleted_destinations = control.table(deleted_destinations)
        self.deliveries = control.table(deliveries)
        self._attempts = control.table(attempts)

    def keep(self, notifications: Sequence[Notification]) -> None:
        with self._control.lock:
            for each in notifications:
                is_foreign = self._control.find_account(each.tenant.account_id) is None
                refuse_if(each.id in self.notifications or is_foreign, each.id)
            self.notifications.update({each.id: deepcopy(each) for each in notifications})

    def add(self, deliveries: Sequence[Delivery]) -> None:
        with self._control.lock:
            for each in deliveries:
                is_known = each.notification_id in self.notifications and each.destination_id in self.destinations
                refuse_if(each.id in self.deliveries or not is_known, each.id)
            self.deliveries.update({each.id: each for each in deliveries})

    def due_destinations(self, now_ms: int) -> tuple[EventDestination, ...]:
        with self._control.lock:
            return tuple(self.destinations[each] for each in sorted(self.destinations) if self._due(each, now_ms))

    def next_due_ms(self) -> int | None:
        with self._control.lock:
            due = (each.next_at_ms for each in self.deliveries.values() if self._is_enabled(each.destination_id))
            return min((at_ms for at_ms in due if at_ms is not None), default=None)

    def claim(self, destination_id: str, now_ms: int, until_ms: int, limit: int) -> tuple[Claimed, ...]:
        with self._control.lock:
            claimed = [replace(each, next_at_ms=until_ms) for each in self._due(destination_id, now_ms)[:limit]]
            self.deliveries.update({each.id: each for each in claimed})
            return tuple(Claimed(each, self.notifications[each.notification_id]) for each in claimed)

    def record(self, outcomes: Sequence[Outcome]) -> None:
        with self._control.lock:
            for outcome in outcomes:
                known = self.deliveries.get(outcome.delivery.id)
                if known is not None:
                    self._record(known, outcome)

    def get(self, tenant: Tenant, delivery_id: str) -> Delivery | None:
        found = self.deliveries.get(delivery_id)
        return found if found is not None and found.tenant == tenant else None

    def list(
        self,
        tenant: Tenant,
        page: Page,
        *,
        destination_id: str | None = None,
        notification_id: str | None = None,
        state: DeliveryState | None = None,
    ) -> Listed[Delivery]:
        with self._control.lock:
            of_tenant = [each for each in self.deliveries.values() if each.tenant == tenant]
        return cut(
            oldest_first(of_tenant),
            page,
            lambda each: (
                destination_id in (None, each.destination_id)
                and notification_id in (None, each.notification_id)
                and state in (None, each.state)
            ),
        )

    def attempts(self, delivery_ids: Sequence[str]) -> Mapping[str, tuple[Attempt, ...]]:
        with self._control.lock:
            return {each: self._attempts[each] for each in delivery_ids if each in self._attempts}

    def resend(self, tenant: Tenant, delivery_id: str, now_ms: int) -> Delivery | None:
        with self._control.lock:
            known = self.get(tenant, delivery_id)
            if known is not None and known.destination_id not in self.deleted_destinations:
                known = replace(known, state=DeliveryState.PENDING, begun_ms=now_ms, tries=0, next_at_ms=now_ms)
                self.deliveries[delivery_id] = known
            return known

    def undelivered(self, notification_ids: Sequence[str]) -> Mapping[str, int]:
        with self._control.lock:
            missing = [each for each in self.deliveries.values() if each.state in _UNDELIVERED]
            return Counter(each.notification_id for each in missing if each.notification_id in notification_ids)

    def pending(self, tenant: Tenant) -> Mapping[str, int]:
        with self._control.lock:
            of_tenant = [each for each in self.deliveries.values() if each.tenant == tenant]
            return Counter(each.destination_id for each in of_tenant if each.state is DeliveryState.PENDING)

    def forget(self, before_ms: int) -> int:
        with self._control.lock:
            old = [each.id for each in self.deliveries.values() if self._last_ms(each) < before_ms]
            for delivery_id in old:
                del self.deliveries[delivery_id]
                self._attempts.pop(delivery_id, None)
            return len(old)

    def _is_enabled(self, destination_id: str) -> bool:
        found = self.destinations.get(destination_id)
        return found is not None and found.is_enabled and destination_id not in self.deleted_destinations

    def _due(self, destination_id: str, now_ms: int) -> Sequence[Delivery]:
        if not self._is_enabled(destination_id):
            return []
        due = [
            (each.next_at_ms, each.id, each)
            for each in self.deliveries.values()
            if each.destination_id == destination_id and each.next_at_ms is not None and each.next_at_ms <= now_ms
        ]
        return [each for _, _, each in sorted(due, key=lambda each: each[:2])]

    def _record(self, known: Delivery, outcome: Outcome) -> None:
        self._attempts[known.id] = (*self._attempts.get(known.id, ()), outcome.attempt)
        changed = replace(known, attempts=known.attempts + 1)
        if known.begun_ms == outcome.delivery.begun_ms:
            state, next_at_ms = outcome.state, outcome.next_at_ms
            if known.state is DeliveryState.CANCELLED and state is not DeliveryState.DELIVERED:
                state, next_at_ms = DeliveryState.CANCELLED, None
            changed = replace(changed, tries=known.tries + 1, state=state, next_at_ms=next_at_ms)
        self.deliveries[known.id] = changed
        destination = self.destinations[known.destination_id]
        if outcome.state is DeliveryState.DELIVERED:
            destination = replace(destination, failing_since_ms=None)
        elif destination.failing_since_ms is None:
            destination = replace(destination, failing_since_ms=outcome.attempt.at_ms)
        self.destinations[destination.id] = destination

    def _last_ms(self, delivery: Delivery) -> int:
        attempts = self._attempts.get(delivery.id, ())
        return max(delivery.begun_ms, attempts[-1].at_ms if attempts else 0)
