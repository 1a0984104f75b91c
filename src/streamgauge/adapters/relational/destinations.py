"""Event destinations on a relational database."""

from sqlalchemy import ColumnElement, func, insert, select, update

from streamgauge.adapters.relational.notification_rows import (
    changeable_destination_columns,
    destination_of,
    destination_row,
)
from streamgauge.adapters.relational.notification_tables import deliveries, event_destinations
from streamgauge.adapters.relational.pages import of_tenant, page_rows
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import DeliveryState
from streamgauge.domain.errors import NotFound
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import Style
from streamgauge.engine.ports.control_store import Listed, Page

_COLUMNS = event_destinations.c


class RelationalDestinations:
    """Implements `DestinationStore`."""

    def __init__(self, control: RelationalControlStore) -> None:
        self._control = control

    def add(self, destination: EventDestination) -> None:
        with self._control.writing() as connection:
            connection.execute(insert(event_destinations).values(destination_row(destination)))

    def save(self, destination: EventDestination) -> None:
        changes = changeable_destination_columns(destination)
        if destination.failing_since_ms is None:
            changes["failing_since_ms"] = None
        known = update(event_destinations).where(
            of_tenant(event_destinations, destination.tenant),
            _COLUMNS.id == destination.id,
            _COLUMNS.deleted_ms.is_(None),
        )
        with self._control.writing() as connection:
            if connection.execute(known.values(changes)).rowcount == 0:
                raise NotFound(f"No such event destination: '{destination.id}'", param="id")

    def get(self, tenant: Tenant, destination_id: str) -> EventDestination | None:
        wanted = select(event_destinations).where(
            of_tenant(event_destinations, tenant), _COLUMNS.id == destination_id, _COLUMNS.deleted_ms.is_(None)
        )
        with self._control.reading() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else destination_of(row)

    def list(self, tenant: Tenant, page: Page, style: Style | None = None) -> Listed[EventDestination]:
        filters: list[ColumnElement[bool]] = [_COLUMNS.deleted_ms.is_(None)]
        if style is not None:
            filters.append(_COLUMNS.style == style.value)
        with self._control.reading() as connection:
            found, has_more = page_rows(connection, event_destinations, tenant, page, *filters)
        return Listed(tuple(destination_of(row) for row in found), has_more)

    def enabled(self, tenant: Tenant) -> tuple[EventDestination, ...]:
        wanted = select(event_destinations).where(
            of_tenant(event_destinations, tenant), _COLUMNS.deleted_ms.is_(None), _COLUMNS.disabled_reason.is_(None)
        )
        with self._control.reading() as connection:
            found = connection.execute(wanted.order_by(_COLUMNS.created_ms, _COLUMNS.id)).mappings()
            return tuple(destination_of(row) for row in found)

    def count(self, tenant: Tenant) -> int:
        existing = select(func.count()).where(of_tenant(event_destinations, tenant), _COLUMNS.deleted_ms.is_(None))
        with self._control.reading() as connection:
            return connection.execute(existing).scalar_one()

    def is_empty(self) -> bool:
        with self._control.reading() as connection:
            return connection.execute(select(_COLUMNS.id).limit(1)).first() is None

    def delete(self, tenant: Tenant, destination_id: str, at_ms: int) -> bool:
        known = update(event_destinations).where(
            of_tenant(event_destinations, tenant), _COLUMNS.id == destination_id, _COLUMNS.deleted_ms.is_(None)
        )
        pending = update(deliveries).where(
            deliveries.c.destination_id == destination_id, deliveries.c.next_at_ms.is_not(None)
        )
        with self._control.writing() as connection:
            if connection.execute(known.values(deleted_ms=at_ms)).rowcount == 0:
                return False
            connection.execute(pending.values(state=DeliveryState.CANCELLED.value, next_at_ms=None))
            return True
