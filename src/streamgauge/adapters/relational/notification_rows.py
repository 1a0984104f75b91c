"""Rows of notifications, destinations and deliveries to values of the domain, and back."""

from sqlalchemy import RowMapping

from streamgauge.adapters.relational.rows import Values, tenant_columns, tenant_of
from streamgauge.domain.delivery import Attempt, Delivery, DeliveryState
from streamgauge.domain.event_destination import DisabledReason, EventDestination, MadeBy
from streamgauge.domain.notification import Cause, Notification, RelatedObject, Style


def notification_of(row: RowMapping) -> Notification:
    related = None
    if row["object_id"] is not None:
        related = RelatedObject(id=row["object_id"], type=row["object_type"], url=row["object_url"])
    cause = None
    if row["request_id"] is not None:
        cause = Cause(request_id=row["request_id"])
    return Notification(
        id=row["id"],
        tenant=tenant_of(row),
        type=row["type"],
        created_ms=row["created_ms"],
        data=row["data"],
        related=related,
        previous_attributes=row["previous_attributes"],
        snapshot_id=row["snapshot_id"],
        cause=cause,
    )


def notification_row(notification: Notification) -> Values:
    related, cause, previous = notification.related, notification.cause, notification.previous_attributes
    return {
        "id": notification.id,
        **tenant_columns(notification.tenant),
        "style": notification.style.value,
        "type": notification.type,
        "created_ms": notification.created_ms,
        "object_id": related and related.id,
        "object_type": related and related.type,
        "object_url": related and related.url,
        "data": dict(notification.data),
        "previous_attributes": None if previous is None else dict(previous),
        "snapshot_id": notification.snapshot_id,
        "request_id": cause and cause.request_id,
    }


def destination_of(row: RowMapping) -> EventDestination:
    reason = row["disabled_reason"]
    return EventDestination(
        id=row["id"],
        tenant=tenant_of(row),
        made_by=MadeBy(row["made_by"]),
        name=row["name"],
        description=row["description"],
        url=row["url"],
        style=Style(row["style"]),
        enabled_events=tuple(row["enabled_events"]),
        metadata=row["metadata"],
        api_version=row["api_version"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        disabled_reason=None if reason is None else DisabledReason(reason),
        secret_version=row["secret_version"],
        previous_secret_expires_ms=row["previous_secret_expires_ms"],
        failing_since_ms=row["failing_since_ms"],
    )


def destination_row(destination: EventDestination) -> Values:
    return {
        "id": destination.id,
        **tenant_columns(destination.tenant),
        "made_by": destination.made_by.value,
        "style": destination.style.value,
        "created_ms": destination.created_ms,
        "failing_since_ms": destination.failing_since_ms,
        **changeable_destination_columns(destination),
    }


def changeable_destination_columns(destination: EventDestination) -> Values:
    """What `DestinationStore.save` replaces."""
    reason = destination.disabled_reason
    return {
        "name": destination.name,
        "description": destination.description,
        "url": destination.url,
        "enabled_events": list(destination.enabled_events),
        "metadata": dict(destination.metadata),
        "api_version": destination.api_version,
        "updated_ms": destination.updated_ms,
        "disabled_reason": reason and reason.value,
        "secret_version": destination.secret_version,
        "previous_secret_expires_ms": destination.previous_secret_expires_ms,
    }


def delivery_of(row: RowMapping) -> Delivery:
    return Delivery(
        id=row["id"],
        tenant=tenant_of(row),
        notification_id=row["notification_id"],
        destination_id=row["destination_id"],
        created_ms=row["created_ms"],
        begun_ms=row["begun_ms"],
        state=DeliveryState(row["state"]),
        tries=row["tries"],
        attempts=row["attempts"],
        next_at_ms=row["next_at_ms"],
    )


def delivery_row(delivery: Delivery) -> Values:
    return {
        "id": delivery.id,
        **tenant_columns(delivery.tenant),
        "notification_id": delivery.notification_id,
        "destination_id": delivery.destination_id,
        "created_ms": delivery.created_ms,
        "begun_ms": delivery.begun_ms,
        "state": delivery.state.value,
        "tries": delivery.tries,
        "attempts": delivery.attempts,
        "next_at_ms": delivery.next_at_ms,
    }


def attempt_of(row: RowMapping) -> Attempt:
    return Attempt(
        at_ms=row["at_ms"],
        status=row["status"],
        error=row["error"],
        duration_ms=row["duration_ms"],
        response_excerpt=row["response_excerpt"],
    )


def attempt_row(delivery_id: str, position: int, attempt: Attempt) -> Values:
    return {
        "delivery_id": delivery_id,
        "position": position,
        "at_ms": attempt.at_ms,
        "status": attempt.status,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "response_excerpt": attempt.response_excerpt,
    }
