"""Where event destinations are kept. Part of the control store's database, and of its transactions."""

from typing import Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import Style
from streamgauge.engine.ports.control_store import Listed, Page


class DestinationStore(Protocol):
    """Inside of `ControlStore.transaction()` every method is part of that transaction, else one of its own.

    A destination that was deleted is nowhere to be seen, but its id is never used again.
    """

    def add(self, destination: EventDestination) -> None: ...

    def save(self, destination: EventDestination) -> None:
        """Replace everything of an existing destination but tenant, style, who made it, when, and since when it fails.

        `failing_since_ms` is written only to be forgotten: None becomes None, a number leaves what the outbox wrote.
        Raises NotFound.
        """

    def get(self, tenant: Tenant, destination_id: str) -> EventDestination | None: ...

    def list(self, tenant: Tenant, page: Page, style: Style | None = None) -> Listed[EventDestination]:
        """Newest first, by whichever API they were made; with a style only those that get such notifications."""

    def enabled(self, tenant: Tenant) -> tuple[EventDestination, ...]:
        """Those that are enabled, oldest first."""

    def count(self, tenant: Tenant) -> int:
        """How many there are, disabled ones included."""

    def is_empty(self) -> bool:
        """Whether no tenant has ever had one."""

    def delete(self, tenant: Tenant, destination_id: str, at_ms: int) -> bool:
        """Delete it and cancel what is pending for it; whether it was there. What was attempted stays listed."""
