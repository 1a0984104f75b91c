"""Notifications: announced in the transaction of what they tell of, and read for as long as they are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import Delivery
from streamgauge.domain.errors import NotFound
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import (
    RETENTION_MS,
    THIN_TWINS,
    Cause,
    Notification,
    RelatedObject,
)
from streamgauge.engine.occasion import Occasion
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore, Listed, Page
from streamgauge.engine.ports.destinations import DestinationStore
from streamgauge.engine.ports.notifications import NotificationFilter, NotificationStore
from streamgauge.engine.ports.outbox import Outbox

FORGET_INTERVAL_MS = 60 * 60 * 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationDraft:
    """What is to be told; the members are those of `Notification`."""

    tenant: Tenant
    type: str
    data: Mapping[str, object]
    related: RelatedObject | None = None
    previous_attributes: Mapping[str, object] | None = None
    cause: Cause | None = None


class Notifications:
    """Each is written together with its effect and with one delivery for every destination that is to hear of it."""

    def __init__(
        self,
        control: ControlStore,
        store: NotificationStore,
        destinations: DestinationStore,
        outbox: Outbox,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._control = control
        self._store = store
        self._destinations = destinations
        self._outbox = outbox
        self._clock = clock
        self._entropy = entropy
        self._forgetting = Occasion(FORGET_INTERVAL_MS)
        self._on_committed: Callable[[], None] | None = None

    def when_committed(self, callback: Callable[[], None]) -> None:
        """Call it after each commit that something was announced in, in the committing thread; it must not block."""
        self._on_committed = callback

    def announce(self, draft: NotificationDraft, only_to: EventDestination | None = None) -> Notification:
        """Tell of `draft`: part of the transaction around it, and undone with that one.

        `only_to` is told whatever it listens to, and nobody else is.
        """
        now_ms = self._clock.now_ms()
        told = Notification(
            id="evt_" + self._entropy.token(24),
            tenant=draft.tenant,
            type=draft.type,
            created_ms=now_ms,
            data=draft.data,
            related=draft.related,
            previous_attributes=draft.previous_attributes,
            cause=draft.cause,
        )
        all_told = [told]
        if draft.type in THIN_TWINS:
            twin = replace(
                told,
                id="evt_" + self._entropy.token(24),
                type=THIN_TWINS[draft.type],
                data={},
                previous_attributes=None,
                snapshot_id=told.id,
            )
            all_told.append(twin)
        with self._control.transaction() as transaction:
            self._store.add(all_told)
            listening = self._destinations.enabled(draft.tenant) if only_to is None else (only_to,)
            deliveries = [
                self._delivery(each, destination)
                for each in all_told
                for destination in listening
                if only_to is not None or destination.listens_to(each)
            ]
            if deliveries:
                self._outbox.add(deliveries)
            if self._forgetting.is_due(now_ms):
                self._outbox.forget(now_ms - RETENTION_MS)
                self._store.forget(now_ms - RETENTION_MS)
            transaction.when_ended(self._ended)
        return told

    def get(self, tenant: Tenant, notification_id: str) -> Notification:
        """Raises NotFound."""
        found = self._store.get(tenant, notification_id)
        if found is None:
            raise NotFound(f"No such event: '{notification_id}'", param="id")
        return found

    def list(self, tenant: Tenant, page: Page, wanted: NotificationFilter) -> Listed[Notification]:
        return self._store.list(tenant, page, wanted)

    def undelivered(self, notifications: Sequence[Notification]) -> Mapping[str, int]:
        """How many deliveries of each are pending or have failed; one without any is left out."""
        return self._outbox.undelivered([each.id for each in notifications])

    def _delivery(self, notification: Notification, destination: EventDestination) -> Delivery:
        return Delivery(
            id="dlv_" + self._entropy.token(24),
            tenant=notification.tenant,
            notification_id=notification.id,
            destination_id=destination.id,
            created_ms=notification.created_ms,
            begun_ms=notification.created_ms,
            next_at_ms=notification.created_ms,
        )

    def _ended(self, committed: bool) -> None:
        if committed and self._on_committed is not None:
            self._on_committed()


def destination_reference(destination_id: str) -> RelatedObject:
    return RelatedObject(
        id=destination_id, type="v2.core.event_destination", url=f"/v2/core/event_destinations/{destination_id}"
    )
