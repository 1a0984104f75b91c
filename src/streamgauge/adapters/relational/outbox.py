"""The outbox on a relational database."""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, func, insert, or_, select, update

from streamgauge.adapters.relational.notification_rows import (
    attempt_of,
    attempt_row,
    delivery_of,
    delivery_row,
    destination_of,
    notification_of,
)
from streamgauge.adapters.relational.notification_tables import (
    deliveries,
    delivery_attempts,
    event_destinations,
    notifications,
)
from streamgauge.adapters.relational.pages import of_tenant, page_rows
from streamgauge.adapters.relational.rows import Values
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import Attempt, Delivery, DeliveryState
from streamgauge.domain.event_destination import EventDestination
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.outbox import Claimed, Outcome

IDS_PER_STATEMENT = 500  # databases bound the number of parameters of a statement

_DELIVERIES = deliveries.c
_DESTINATIONS = event_destinations.c
_IS_ENABLED = and_(_DESTINATIONS.disabled_reason.is_(None), _DESTINATIONS.deleted_ms.is_(None))
_CHANGED_BY_ATTEMPTS = ("state", "tries", "attempts", "last_attempt_ms", "next_at_ms")


class RelationalOutbox:
    """Implements `Outbox`."""

    def __init__(self, control: RelationalControlStore) -> None:
        self._control = control

    def add(self, added: Sequence[Delivery]) -> None:
        with self._control.writing() as connection:
            connection.execute(insert(deliveries), [delivery_row(each) for each in added])

    def due_destinations(self, now_ms: int) -> tuple[EventDestination, ...]:
        # One look into the index for each destination: the rows that are due are not read.
        has_due = exists().where(_DELIVERIES.destination_id == _DESTINATIONS.id, _DELIVERIES.next_at_ms <= now_ms)
        wanted = select(event_destinations).where(_IS_ENABLED, has_due).order_by(_DESTINATIONS.id)
        with self._control.reading() as connection:
            return tuple(destination_of(row) for row in connection.execute(wanted).mappings())

    def next_due_ms(self) -> int | None:
        first = (
            select(func.min(_DELIVERIES.next_at_ms))
            .where(_DELIVERIES.destination_id == _DESTINATIONS.id)
            .scalar_subquery()
        )
        with self._control.reading() as connection:
            found = connection.execute(select(first).where(_IS_ENABLED)).scalars()
            return min((at_ms for at_ms in found if at_ms is not None), default=None)

    def claim(self, destination_id: str, now_ms: int, until_ms: int, limit: int) -> tuple[Claimed, ...]:
        is_enabled = exists().where(_DESTINATIONS.id == destination_id, _IS_ENABLED)
        due = (
            select(deliveries)
            .where(_DELIVERIES.destination_id == destination_id, _DELIVERIES.next_at_ms <= now_ms, is_enabled)
            .order_by(_DELIVERIES.next_at_ms, _DELIVERIES.id)
            .limit(limit)
        )
        with self._control.writing() as connection:
            claimed = [delivery_of(row) for row in connection.execute(due).mappings()]
            told = {}
            for ids in _portions([each.id for each in claimed]):
                connection.execute(update(deliveries).where(_DELIVERIES.id.in_(ids)).values(next_at_ms=until_ms))
            for ids in _portions(list({each.notification_id for each in claimed})):
                found = connection.execute(select(notifications).where(notifications.c.id.in_(ids))).mappings()
                told.update({row["id"]: notification_of(row) for row in found})
        return tuple(Claimed(each, told[each.notification_id]) for each in claimed)

    def record(self, outcomes: Sequence[Outcome]) -> None:
        # Statements for all of them together: some for each would be most of what a delivery costs.
        with self._control.writing() as connection:
            rows = _delivery_rows(connection, {each.delivery.id for each in outcomes})
            still_there = [each for each in outcomes if each.delivery.id in rows]
            if not still_there:
                return
            attempted = [_attempted(rows[each.delivery.id], each) for each in still_there]
            connection.execute(insert(delivery_attempts), attempted)
            _save_attempted(connection, rows)
            _save_failing(connection, [(str(rows[each.delivery.id]["destination_id"]), each) for each in still_there])

    def get(self, tenant: Tenant, delivery_id: str) -> Delivery | None:
        wanted = select(deliveries).where(of_tenant(deliveries, tenant), _DELIVERIES.id == delivery_id)
        with self._control.reading() as connection:
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else delivery_of(row)

    def list(
        self,
        tenant: Tenant,
        page: Page,
        *,
        destination_id: str | None = None,
        notification_id: str | None = None,
        state: DeliveryState | None = None,
    ) -> Listed[Delivery]:
        filters: list[ColumnElement[bool]] = []
        if destination_id is not None:
            filters.append(_DELIVERIES.destination_id == destination_id)
        if notification_id is not None:
            filters.append(_DELIVERIES.notification_id == notification_id)
        if state is not None:
            filters.append(_DELIVERIES.state == state.value)
        with self._control.reading() as connection:
            found, has_more = page_rows(connection, deliveries, tenant, page, *filters)
        return Listed(tuple(delivery_of(row) for row in found), has_more)

    def attempts(self, delivery_ids: Sequence[str]) -> Mapping[str, tuple[Attempt, ...]]:
        attempted: dict[str, tuple[Attempt, ...]] = {}
        columns = delivery_attempts.c
        with self._control.reading() as connection:
            for ids in _portions(delivery_ids):
                wanted = select(delivery_attempts).where(columns.delivery_id.in_(ids))
                found = connection.execute(wanted.order_by(columns.delivery_id, columns.position)).mappings()
                for delivery_id, group in groupby(found, key=lambda row: str(row["delivery_id"])):
                    attempted[delivery_id] = tuple(attempt_of(row) for row in group)
        return attempted

    def resend(self, tenant: Tenant, delivery_id: str, now_ms: int) -> Delivery | None:
        wanted = select(deliveries).where(of_tenant(deliveries, tenant), _DELIVERIES.id == delivery_id)
        exists_still = exists().where(
            _DESTINATIONS.id == _DELIVERIES.destination_id, _DESTINATIONS.deleted_ms.is_(None)
        )
        again = update(deliveries).where(of_tenant(deliveries, tenant), _DELIVERIES.id == delivery_id, exists_still)
        with self._control.writing() as connection:
            connection.execute(
                again.values(state=DeliveryState.PENDING.value, begun_ms=now_ms, tries=0, next_at_ms=now_ms)
            )
            row = connection.execute(wanted).mappings().one_or_none()
        return None if row is None else delivery_of(row)

    def undelivered(self, notification_ids: Sequence[str]) -> Mapping[str, int]:
        counts: dict[str, int] = {}
        is_missing = _DELIVERIES.state.in_((DeliveryState.PENDING.value, DeliveryState.FAILED.value))
        with self._control.reading() as connection:
            for ids in _portions(notification_ids):
                wanted = select(_DELIVERIES.notification_id, func.count()).where(
                    _DELIVERIES.notification_id.in_(ids), is_missing
                )
                found = connection.execute(wanted.group_by(_DELIVERIES.notification_id))
                counts.update({notification_id: count for notification_id, count in found})
        return counts

    def pending(self, tenant: Tenant) -> Mapping[str, int]:
        wanted = select(_DELIVERIES.destination_id, func.count()).where(
            of_tenant(deliveries, tenant), _DELIVERIES.next_at_ms.is_not(None)
        )
        with self._control.reading() as connection:
            found = connection.execute(wanted.group_by(_DELIVERIES.destination_id))
            return {destination_id: count for destination_id, count in found}

    def forget(self, before_ms: int) -> int:
        is_old = and_(
            _DELIVERIES.begun_ms < before_ms,
            or_(_DELIVERIES.last_attempt_ms.is_(None), _DELIVERIES.last_attempt_ms < before_ms),
        )
        of_old = delivery_attempts.c.delivery_id.in_(select(_DELIVERIES.id).where(is_old))
        with self._control.writing() as connection:
            connection.execute(delete(delivery_attempts).where(of_old))
            return connection.execute(delete(deliveries).where(is_old)).rowcount


def _delivery_rows(connection: Connection, delivery_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """By id, as they are stored, to be changed; what is not there any more is left out."""
    rows: dict[str, dict[str, Any]] = {}
    for ids in _portions(list(delivery_ids)):
        found = connection.execute(select(deliveries).where(_DELIVERIES.id.in_(ids))).mappings()
        rows.update({str(row["id"]): dict(row) for row in found})
    return rows


def _attempted(row: dict[str, Any], outcome: Outcome) -> Values:
    """Change the delivery's row as the outcome says, and return the row of the attempt."""
    attempt = attempt_row(outcome.delivery.id, row["attempts"], outcome.attempt)
    row["attempts"] += 1
    row["last_attempt_ms"] = outcome.attempt.at_ms
    # Another series began while this attempt was under way: its tries and times are not for this one to change.
    if row["begun_ms"] == outcome.delivery.begun_ms:
        state, next_at_ms = outcome.state, outcome.next_at_ms
        if row["state"] == DeliveryState.CANCELLED and state is not DeliveryState.DELIVERED:
            state, next_at_ms = DeliveryState.CANCELLED, None
        row |= {"state": state.value, "tries": row["tries"] + 1, "next_at_ms": next_at_ms}
    return attempt


def _save_attempted(connection: Connection, rows: Mapping[str, Mapping[str, Any]]) -> None:
    new: Values = {name: bindparam(f"new_{name}") for name in _CHANGED_BY_ATTEMPTS}
    changed = update(deliveries).where(_DELIVERIES.id == bindparam("of_id")).values(new)
    connection.execute(
        changed,
        [
            {"of_id": delivery_id, **{f"new_{name}": row[name] for name in _CHANGED_BY_ATTEMPTS}}
            for delivery_id, row in rows.items()
        ],
    )


def _save_failing(connection: Connection, outcomes: Sequence[tuple[str, Outcome]]) -> None:
    """Begin or end `failing_since_ms` of each destination, by its id, as these outcomes say one after the other."""
    before: dict[str, int | None] = {}
    for ids in _portions(list({destination_id for destination_id, _ in outcomes})):
        found = connection.execute(
            select(_DESTINATIONS.id, _DESTINATIONS.failing_since_ms).where(_DESTINATIONS.id.in_(ids))
        )
        before.update({destination_id: since_ms for destination_id, since_ms in found})
    since = dict(before)
    for destination_id, outcome in outcomes:
        if outcome.state is DeliveryState.DELIVERED:
            since[destination_id] = None
        elif since[destination_id] is None:
            since[destination_id] = outcome.attempt.at_ms
    # One by one: a destination begins or ends to fail seldom.
    for destination_id, since_ms in since.items():
        if since_ms != before[destination_id]:
            of_it = update(event_destinations).where(_DESTINATIONS.id == destination_id)
            connection.execute(of_it.values(failing_since_ms=since_ms))


def _portions(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[first : first + IDS_PER_STATEMENT] for first in range(0, len(ids), IDS_PER_STATEMENT)]
