"""Deliveries as people look at them: what was attempted, what came of it, and once more, please."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import Attempt, Delivery, DeliveryState
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.control_store import ControlStore, Listed, Page
from streamgauge.engine.ports.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Attempted:
    """A delivery and all its attempts, oldest first."""

    delivery: Delivery
    attempts: Sequence[Attempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Which deliveries are wanted: what every filter that is given lets pass."""

    notification_id: str | None = None
    destination_id: str | None = None
    state: DeliveryState | None = None


class Deliveries:
    """`wake` tells whoever delivers that something is due."""

    def __init__(self, control: ControlStore, outbox: Outbox, clock: Clock, wake: Callable[[], None]) -> None:
        self._control = control
        self._outbox = outbox
        self._clock = clock
        self._wake = wake

    def list(self, tenant: Tenant, page: Page, wanted: DeliveryFilter) -> Listed[Attempted]:
        """Newest first. Raises UnknownCursor when the tenant has no delivery of the cursor's id."""
        found = self._outbox.list(
            tenant,
            page,
            destination_id=wanted.destination_id,
            notification_id=wanted.notification_id,
            state=wanted.state,
        )
        attempts = self._outbox.attempts([each.id for each in found.items])
        return Listed(tuple(Attempted(each, attempts.get(each.id, ())) for each in found.items), found.has_more)

    def resend(self, tenant: Tenant, delivery_id: str) -> Attempted:
        """Make it due now, with a new series of tries, whatever came of it before.

        While its destination is disabled it waits for that to be enabled. Raises NotFound, and InvalidRequest when the
        destination was deleted.
        """
        with self._control.transaction() as transaction:
            delivery = self._outbox.resend(tenant, delivery_id, self._clock.now_ms())
            if delivery is None:
                raise NotFound(f"No such delivery: '{delivery_id}'", param="id")
            if delivery.state is not DeliveryState.PENDING:
                raise InvalidRequest(
                    f"The destination {delivery.destination_id} was deleted: nothing can be delivered to it.",
                    param="id",
                )
            # Before the end of what may be a larger transaction nobody else sees it.
            transaction.when_ended(lambda committed: self._wake() if committed else None)
        return Attempted(delivery, self._outbox.attempts([delivery.id]).get(delivery.id, ()))
