"""Where notifications are kept. Part of the control store's database, and of its transactions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.notification import Notification, Style
from streamgauge.engine.ports.control_store import Listed, Page


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationFilter:
    """Which notifications are wanted: all that pass every filter that is given.

    `types` are exact, or a beginning followed by `*`; empty: any. The bounds are half-open, milliseconds: from
    `created_from_ms` on, before `created_before_ms`. `delivered` True: every delivery was made; False: one is not yet,
    or has failed.
    """

    style: Style
    types: tuple[str, ...] = ()
    object_id: str | None = None
    created_from_ms: int | None = None
    created_before_ms: int | None = None
    delivered: bool | None = None


class NotificationStore(Protocol):
    """Inside of `ControlStore.transaction()` every method is part of that transaction, else one of its own."""

    def add(self, notifications: Sequence[Notification]) -> None: ...

    def get(self, tenant: Tenant, notification_id: str) -> Notification | None: ...

    def list(self, tenant: Tenant, page: Page, wanted: NotificationFilter) -> Listed[Notification]:
        """Newest first. Raises UnknownCursor when the tenant has no notification of the cursor's id."""

    def forget(self, created_before_ms: int) -> int:
        """Delete those that were made before then and that no delivery refers to any more; how many."""
