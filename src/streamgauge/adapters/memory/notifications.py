"""Notifications on plain Python objects."""

from collections.abc import Sequence
from copy import deepcopy

from streamgauge.adapters.memory.control_store import MemoryControlStore, cut, oldest_first
from streamgauge.adapters.memory.outbox import MemoryOutbox
from streamgauge.domain.account import Tenant
from streamgauge.domain.notification import Notification
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.notifications import NotificationFilter


class MemoryNotifications:
    """Implements `NotificationStore`, next to an outbox on the same control store."""

    def __init__(self, control: MemoryControlStore, outbox: MemoryOutbox) -> None:
        self._control = control
        self._outbox = outbox

    def add(self, notifications: Sequence[Notification]) -> None:
        self._outbox.keep(notifications)

    def get(self, tenant: Tenant, notification_id: str) -> Notification | None:
        found = self._outbox.notifications.get(notification_id)
        return deepcopy(found) if found is not None and found.tenant == tenant else None

    def list(self, tenant: Tenant, page: Page, wanted: NotificationFilter) -> Listed[Notification]:
        with self._control.lock:
            of_tenant = [each for each in self._outbox.notifications.values() if each.tenant == tenant]
            return cut(oldest_first(of_tenant), page, lambda each: self._passes(each, wanted))

    def forget(self, created_before_ms: int) -> int:
        with self._control.lock:
            referred_to = {each.notification_id for each in self._outbox.deliveries.values()}
            old = [
                each.id
                for each in self._outbox.notifications.values()
                if each.created_ms < created_before_ms and each.id not in referred_to
            ]
            for notification_id in old:
                del self._outbox.notifications[notification_id]
            return len(old)

    def _passes(self, notification: Notification, wanted: NotificationFilter) -> bool:
        earliest_ms, before_ms = wanted.created_from_ms, wanted.created_before_ms
        return (
            notification.style is wanted.style
            and (not wanted.types or any(_is_of(notification.type, each) for each in wanted.types))
            and (wanted.object_id is None or (notification.related and notification.related.id) == wanted.object_id)
            and (earliest_ms is None or notification.created_ms >= earliest_ms)
            and (before_ms is None or notification.created_ms < before_ms)
            and (wanted.delivered is None or wanted.delivered is not bool(self._outbox.undelivered([notification.id])))
        )


def _is_of(notification_type: str, wanted_type: str) -> bool:
    if wanted_type.endswith("*"):
        return notification_type.startswith(wanted_type[:-1])
    return notification_type == wanted_type
