"""Thin events: /v2/core/events. In the code they are notifications."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import ObjectId
from streamgauge.api.services import Services
from streamgauge.api.time_bounds import TimeBounds, half_open_ms
from streamgauge.api.v2.pages import PageObject, PageParameters, paged
from streamgauge.api.v2.query import QueryParameters
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.notification import Notification, Style
from streamgauge.domain.permission import EVENTS_READ
from streamgauge.engine.ports.notifications import NotificationFilter

URL = "/v2/core/events"
TYPES_MAX = 20

Unset: TypeAlias = msgspec.UnsetType
EventType = Annotated[str, msgspec.Meta(max_length=100)]


class EventListParameters(PageParameters, frozen=True, kw_only=True):
    FLATTENED: ClassVar[frozenset[str]] = frozenset({"created"})

    created: TimeBounds | Unset = msgspec.UNSET
    object_id: ObjectId | Unset = msgspec.UNSET
    types: tuple[EventType, ...] | Unset = msgspec.UNSET


class RelatedObjectMember(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    type: str
    url: str


class RequestMember(msgspec.Struct, frozen=True, kw_only=True):
    """The contract wants a text for the key, which is kept as a digest only and so is empty."""

    id: str
    idempotency_key: str = ""


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["request"] = "request"
    request: RequestMember


class EventObject(msgspec.Struct, frozen=True, kw_only=True):
    """`v2.core.event`. What a delivery carries has no `data`; it is fetched from here."""

    id: str
    object: Literal["v2.core.event"] = "v2.core.event"
    # Always null: the official Python client reads it to fetch the related object, and fails where it is left out.
    context: str | None = None
    created: str
    data: Mapping[str, Any] | Unset = msgspec.UNSET
    livemode: bool
    reason: Reason | Unset = msgspec.UNSET
    related_object: RelatedObjectMember | Unset = msgspec.UNSET
    snapshot_event: str | Unset = msgspec.UNSET
    type: str


@operation(needs=EVENTS_READ)
def retrieve(services: Services, call: Call, given: QueryParameters) -> EventObject:
    """Retrieve a thin event, for 30 days after it was created."""
    event_id = call.object_id("id")
    notification = services.notifications.get(call.tenant, event_id)
    if notification.style is not Style.THIN:
        raise NotFound(f"The event '{event_id}' is a snapshot event: it is at /v1/events/{event_id}.", param="id")
    return event_object(notification)


@operation(needs=EVENTS_READ)
def list_page(services: Services, call: Call, given: EventListParameters) -> PageObject[EventObject]:
    """List thin events, newest first, going back 30 days."""
    types = given.types or ()
    if len(types) > TYPES_MAX:
        raise InvalidRequest(f"Invalid types: it can name up to {TYPES_MAX} event types.", param="types")
    from_ms, before_ms = half_open_ms(given.created, "created")
    wanted = NotificationFilter(
        style=Style.THIN,
        types=types,
        object_id=given.object_id or None,
        created_from_ms=from_ms,
        created_before_ms=before_ms,
    )
    page = given.wanted()
    found = services.notifications.list(call.tenant, page, wanted)
    return paged(found, page, event_object, lambda each: each.id, URL, _query(given))


def event_object(notification: Notification, *, with_data: bool = True) -> EventObject:
    related, cause = notification.related, notification.cause
    return EventObject(
        id=notification.id,
        created=rfc3339(notification.created_ms),
        data=notification.data if with_data and notification.data else msgspec.UNSET,
        livemode=notification.tenant.livemode,
        reason=Reason(request=RequestMember(id=cause.request_id)) if cause else msgspec.UNSET,
        related_object=RelatedObjectMember(id=related.id, type=related.type, url=related.url)
        if related
        else msgspec.UNSET,
        snapshot_event=notification.snapshot_id or msgspec.UNSET,
        type=notification.type,
    )


def _query(given: EventListParameters) -> list[tuple[str, str]]:
    query = [("limit", str(given.limit))]
    if given.object_id:
        query.append(("object_id", given.object_id))
    query += [(f"types[{index}]", each) for index, each in enumerate(given.types or ())]
    created: dict[str, str] = msgspec.to_builtins(given.created) if given.created else {}
    return query + [(f"created[{name}]", moment) for name, moment in created.items()]
