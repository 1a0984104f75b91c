"""What is still to be delivered, and what became of each attempt. Part of the control store's database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import Attempt, Delivery, DeliveryState
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import Notification
from streamgauge.engine.ports.control_store import Listed, Page


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is for the caller to attempt, with what is to be sent."""

    delivery: Delivery
    notification: Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an attempt at `delivery`, as it was claimed.

    `next_at_ms` is when to try again, for a delivery that stays pending, else None.
    """

    delivery: Delivery
    attempt: Attempt
    state: DeliveryState
    next_at_ms: int | None = None


class Outbox(Protocol):
    """Inside of `ControlStore.transaction()` every method is part of that transaction, else one of its own.

    A delivery is due when it is pending, its `next_at_ms` has come, and its destination is enabled. Destinations are
    asked for one by one, so that one with many deliveries hides nobody else's.
    """

    def add(self, deliveries: Sequence[Delivery]) -> None: ...

    def due_destinations(self, now_ms: int) -> tuple[EventDestination, ...]:
        """Every enabled destination of any tenant that something is due for; its cost does not grow with how much."""

    def next_due_ms(self) -> int | None:
        """When the next delivery of any enabled destination is due, or was; None when nothing is pending."""

    def claim(self, destination_id: str, now_ms: int, until_ms: int, limit: int) -> tuple[Claimed, ...]:
        """At most `limit` deliveries that are due, longest due first; for others they are due again from `until_ms` on.

        So a claim that a crash leaves behind expires by itself. None when the destination is disabled.
        """

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Keep these attempts, all or none, and what they changed: state, counts and when it is due.

        A success ends `failing_since_ms` of its destination, a failure begins it where it has not begun. Of a delivery
        that somebody asked for again since it was claimed, the attempt alone is kept, and it stays due. What was
        cancelled meanwhile stays so, or becomes delivered. A delivery that is not there any more is passed over.
        """

    def get(self, tenant: Tenant, delivery_id: str) -> Delivery | None: ...

    def list(
        self,
        tenant: Tenant,
        page: Page,
        *,
        destination_id: str | None = None,
        notification_id: str | None = None,
        state: DeliveryState | None = None,
    ) -> Listed[Delivery]:
        """Newest first; what every filter that is given lets pass."""

    def attempts(self, delivery_ids: Sequence[str]) -> Mapping[str, tuple[Attempt, ...]]:
        """All attempts of these deliveries, by delivery, oldest first; one without any is left out."""

    def resend(self, tenant: Tenant, delivery_id: str, now_ms: int) -> Delivery | None:
        """Make it pending and due now, with a new series of tries, whatever it was; None when there is none.

        Due only while its destination is enabled, as everything; a deleted destination's stays as it is.
        """

    def undelivered(self, notification_ids: Sequence[str]) -> Mapping[str, int]:
        """How many deliveries of each are pending or have failed; one without any is left out."""

    def pending(self, tenant: Tenant) -> Mapping[str, int]:
        """How many deliveries are pending, by destination, for people to look at."""

    def forget(self, before_ms: int) -> int:
        """Delete deliveries, with their attempts, that were begun and last attempted before then; how many."""
