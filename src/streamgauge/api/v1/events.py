"""Snapshot events: /v1/events. In the code they are notifications."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from streamgauge.api.exact import unix_seconds
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.notification import Notification, Style
from streamgauge.domain.permission import EVENTS_READ
from streamgauge.engine.ports.notifications import NotificationFilter

URL = "/v1/events"
TYPES_MAX = 20
# The version of the original API whose objects ours have the shape of.
API_VERSION: Final = "2026-09-30.endive"

Unset: TypeAlias = msgspec.UnsetType
EventType = Annotated[str, msgspec.Meta(max_length=100)]
# Far beyond any real time, and still 64 bits as milliseconds.
Second = Annotated[int, msgspec.Meta(ge=-(10**12), le=10**12)]


class CreatedBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Unix seconds."""

    gt: Second | Unset = msgspec.UNSET
    gte: Second | Unset = msgspec.UNSET
    lt: Second | Unset = msgspec.UNSET
    lte: Second | Unset = msgspec.UNSET


class EventListParameters(ListParameters, frozen=True, kw_only=True):
    created: CreatedBounds | Second | Unset = msgspec.UNSET
    delivery_success: bool | Unset = msgspec.UNSET
    type: EventType | Unset = msgspec.UNSET
    types: tuple[EventType, ...] | Unset = msgspec.UNSET


class SnapshotData(msgspec.Struct, frozen=True, kw_only=True):
    """The object as it was, and of an update what changed, as it was before."""

    object: Mapping[str, Any]
    previous_attributes: Mapping[str, Any] | Unset = msgspec.UNSET


class RequestMember(msgspec.Struct, frozen=True, kw_only=True):
    """The official clients have a member for the key, which is kept as a digest only and so is null."""

    id: str | None
    idempotency_key: None = None


class EventObject(msgspec.Struct, frozen=True, kw_only=True):
    """`event`, with the object as it was when it happened. Times are Unix seconds."""

    id: str
    object: Literal["event"] = "event"
    account: None = None
    api_version: str | None
    context: None = None
    created: int
    data: SnapshotData
    livemode: bool
    pending_webhooks: int
    request: RequestMember | None
    type: str


@operation(needs=EVENTS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> EventObject:
    """Retrieve a snapshot event, for 30 days after it was created."""
    event_id = call.object_id("id")
    notification = services.notifications.get(call.tenant, event_id)
    if notification.style is not Style.SNAPSHOT:
        raise NotFound(f"The event '{event_id}' is a thin event: it is at /v2/core/events/{event_id}.", param="id")
    return event_object(notification, services.notifications.undelivered([notification]).get(event_id, 0))


@operation(needs=EVENTS_READ)
def list_page(services: Services, call: Call, given: EventListParameters) -> ListObject[EventObject]:
    """List snapshot events, newest first, going back 30 days."""
    if given.type and given.types:
        raise InvalidRequest("Pass type or types, not both.", param="types")
    types = given.types or ((given.type,) if given.type else ())
    if len(types) > TYPES_MAX:
        raise InvalidRequest(f"Invalid types: it can name up to {TYPES_MAX} event types.", param="types")
    from_ms, before_ms = _bounds(given.created)
    wanted = NotificationFilter(
        style=Style.SNAPSHOT,
        types=types,
        created_from_ms=from_ms,
        created_before_ms=before_ms,
        delivered=None if given.delivery_success is msgspec.UNSET else bool(given.delivery_success),
    )
    found = services.notifications.list(call.tenant, given.page(), wanted)
    undelivered = services.notifications.undelivered(found.items)
    return listed(found, lambda each: event_object(each, undelivered.get(each.id, 0)), URL)


def event_object(notification: Notification, pending_webhooks: int, api_version: str = API_VERSION) -> EventObject:
    cause, previous = notification.cause, notification.previous_attributes
    return EventObject(
        id=notification.id,
        api_version=api_version,
        created=unix_seconds(notification.created_ms),
        data=SnapshotData(
            object=notification.data, previous_attributes=msgspec.UNSET if previous is None else previous
        ),
        livemode=notification.tenant.livemode,
        pending_webhooks=pending_webhooks,
        request=RequestMember(id=cause.request_id or None) if cause else None,
        type=notification.type,
    )


def _bounds(created: CreatedBounds | int | Unset) -> tuple[int | None, int | None]:
    """As half-open milliseconds: from, before. A plain number is that second."""
    if isinstance(created, int):
        return created * 1_000, (created + 1) * 1_000
    if isinstance(created, msgspec.UnsetType):
        return None, None
    froms = [_ms(created.gte), _ms(created.gt, later=1)]
    befores = [_ms(created.lt), _ms(created.lte, later=1)]
    return (
        max((each for each in froms if each is not None), default=None),
        min((each for each in befores if each is not None), default=None),
    )


def _ms(second: int | Unset, later: int = 0) -> int | None:
    return None if isinstance(second, msgspec.UnsetType) else (second + later) * 1_000
