"""Notifications on a relational database."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, delete, exists, insert, not_, or_, select

from streamgauge.adapters.relational.notification_rows import notification_of, notification_row
from streamgauge.adapters.relational.notification_tables import deliveries, notifications
from streamgauge.adapters.relational.pages import of_tenant, page_rows
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import DeliveryState
from streamgauge.domain.notification import Notification
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.notifications import NotificationFilter


class RelationalNotifications:
    """Implements `NotificationStore`."""

    def __init__(self, control: RelationalControlStore) -> None:
        self._control = control

    def add(self, added: Sequence[Notification]) -> None:
        with self._control.writing() as connection:
            connection.execute(insert(notifications), [notification_row(each) for each in added])

    def get(self, tenant: Tenant, notification_id: str) -> Notification | None:
        wanted = select(notifications).where(of_tenant(notifications, tenant), notifications.c.id == notification_id)
        with self._control.reading() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else notification_of(row)

    def list(self, tenant: Tenant, page: Page, wanted: NotificationFilter) -> Listed[Notification]:
        with self._control.reading() as connection:
            found, has_more = page_rows(connection, notifications, tenant, page, *_conditions(wanted))
        return Listed(tuple(notification_of(row) for row in found), has_more)

    def forget(self, created_before_ms: int) -> int:
        is_referred_to = exists().where(deliveries.c.notification_id == notifications.c.id)
        old = delete(notifications).where(notifications.c.created_ms < created_before_ms, not_(is_referred_to))
        with self._control.writing() as connection:
            return connection.execute(old).rowcount


def _conditions(wanted: NotificationFilter) -> list[ColumnElement[bool]]:
    columns = notifications.c
    conditions = [columns.style == wanted.style.value]
    if wanted.types:
        conditions.append(or_(*(_is_of(each) for each in wanted.types)))
    if wanted.object_id is not None:
        conditions.append(columns.object_id == wanted.object_id)
    if wanted.created_from_ms is not None:
        conditions.append(columns.created_ms >= wanted.created_from_ms)
    if wanted.created_before_ms is not None:
        conditions.append(columns.created_ms < wanted.created_before_ms)
    if wanted.delivered is not None:
        is_missing = exists().where(
            and_(
                deliveries.c.notification_id == columns.id,
                deliveries.c.state.in_((DeliveryState.PENDING.value, DeliveryState.FAILED.value)),
            )
        )
        conditions.append(not_(is_missing) if wanted.delivered else is_missing)
    return conditions


def _is_of(wanted_type: str) -> ColumnElement[bool]:
    """Compared by code point, unlike LIKE on SQLite, which takes `A` for `a`."""
    if not wanted_type.endswith("*"):
        return notifications.c.type == wanted_type
    beginning = wanted_type[:-1]
    # Types are ASCII, so what begins so is between it and it with the last character of ASCII behind it.
    return notifications.c.type.between(beginning, beginning + "\x7f")
