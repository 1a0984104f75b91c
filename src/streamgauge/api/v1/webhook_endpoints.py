"""Webhook endpoints: /v1/webhook_endpoints. Each is an event destination that gets snapshot events."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import msgspec

from streamgauge.api.exact import unix_seconds
from streamgauge.api.operation import Call, Secrets, operation
from streamgauge.api.parameters import Parameters, Text
from streamgauge.api.services import Services
from streamgauge.api.v1.customers import Metadata
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.event_destination import EventDestination, MadeBy
from streamgauge.domain.notification import Style
from streamgauge.domain.permission import EVENT_DESTINATIONS_READ, EVENT_DESTINATIONS_WRITE
from streamgauge.engine.destinations import DestinationChanges, DestinationDraft

URL = "/v1/webhook_endpoints"

Unset: TypeAlias = msgspec.UnsetType
EventType = Annotated[str, msgspec.Meta(max_length=100)]
ApiVersion = Annotated[str, msgspec.Meta(max_length=100)]


class CreateParameters(Parameters, frozen=True, kw_only=True):
    """`enabled_events` are types of snapshot events, or `*` for all of them."""

    api_version: ApiVersion | Unset = msgspec.UNSET
    connect: bool | Unset = msgspec.UNSET
    description: Text | Unset | None = msgspec.UNSET
    enabled_events: tuple[EventType, ...]
    metadata: Metadata | Unset | None = msgspec.UNSET
    url: Text


class UpdateParameters(Parameters, frozen=True, kw_only=True):
    """An empty text unsets; metadata is merged key by key."""

    description: Text | Unset | None = msgspec.UNSET
    disabled: bool | Unset = msgspec.UNSET
    enabled_events: tuple[EventType, ...] | Unset = msgspec.UNSET
    metadata: Metadata | Unset | None = msgspec.UNSET
    url: Text | Unset = msgspec.UNSET


class WebhookEndpointObject(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook_endpoint`. The secret is in the answer to its creation and nowhere else. Times are Unix seconds."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    api_version: str | None
    application: None = None
    created: int
    description: str | None
    enabled_events: tuple[str, ...]
    livemode: bool
    metadata: Mapping[str, str]
    secret: str | Unset = msgspec.UNSET
    status: Literal["enabled", "disabled"]
    url: str


class DeletedWebhookEndpointObject(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    deleted: Literal[True] = True


def _without_secret(answer: WebhookEndpointObject) -> WebhookEndpointObject:
    return msgspec.structs.replace(answer, secret="")


def _with_secret(services: Services, call: Call, answer: WebhookEndpointObject) -> WebhookEndpointObject:
    # The one it was created with, whatever was rolled since: the answer is the same as the first time.
    return msgspec.structs.replace(answer, secret=services.destinations.secret(answer.id, 1))


@operation(needs=EVENT_DESTINATIONS_WRITE, secrets=Secrets(_without_secret, _with_secret))
def create(services: Services, call: Call, given: CreateParameters) -> WebhookEndpointObject:
    """Create a webhook endpoint. Its signing secret is shown in this answer alone."""
    if given.connect is True:
        raise InvalidRequest("Streamgauge has no connected accounts: connect cannot be true.", param="connect")
    destination = services.destinations.create(
        call.tenant,
        DestinationDraft(
            made_by=MadeBy.V1,
            name="",
            description=given.description or "",
            url=given.url,
            style=Style.SNAPSHOT,
            enabled_events=given.enabled_events,
            metadata=given.metadata or {},
            api_version=given.api_version or None,
        ),
    )
    secret = services.destinations.secret(destination.id, destination.secret_version)
    return msgspec.structs.replace(webhook_endpoint_object(destination), secret=secret)


@operation(needs=EVENT_DESTINATIONS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> WebhookEndpointObject:
    """Retrieve a webhook endpoint."""
    return webhook_endpoint_object(_found(services, call))


@operation(needs=EVENT_DESTINATIONS_WRITE)
def update(services: Services, call: Call, given: UpdateParameters) -> WebhookEndpointObject:
    """Update a webhook endpoint. `disabled` switches it off and on."""
    known = _found(services, call)
    metadata: Mapping[str, str] | None = given.metadata or None
    if given.metadata is None:
        # `metadata=` empties it: the same as every key with an empty value.
        metadata = dict.fromkeys(known.metadata, "")
    changes = DestinationChanges(
        description=None if isinstance(given.description, msgspec.UnsetType) else given.description or "",
        url=given.url or None,
        enabled_events=given.enabled_events or None,
        metadata=metadata,
        enabled=None if isinstance(given.disabled, msgspec.UnsetType) else not given.disabled,
    )
    return webhook_endpoint_object(services.destinations.update(call.tenant, known.id, changes))


@operation(needs=EVENT_DESTINATIONS_WRITE)
def delete(services: Services, call: Call, given: Parameters) -> DeletedWebhookEndpointObject:
    """Delete a webhook endpoint. What was not delivered yet never is."""
    known = _found(services, call)
    services.destinations.delete(call.tenant, known.id)
    return DeletedWebhookEndpointObject(id=known.id)


@operation(needs=EVENT_DESTINATIONS_READ)
def list_page(services: Services, call: Call, given: ListParameters) -> ListObject[WebhookEndpointObject]:
    """List webhook endpoints, newest first."""
    return listed(services.destinations.list(call.tenant, given.page(), Style.SNAPSHOT), webhook_endpoint_object, URL)


def webhook_endpoint_object(destination: EventDestination) -> WebhookEndpointObject:
    return WebhookEndpointObject(
        id=destination.id,
        api_version=destination.api_version,
        created=unix_seconds(destination.created_ms),
        description=destination.description or None,
        enabled_events=destination.enabled_events,
        livemode=destination.tenant.livemode,
        metadata=destination.metadata,
        status="enabled" if destination.is_enabled else "disabled",
        url=destination.url,
    )


def _found(services: Services, call: Call) -> EventDestination:
    """Raises NotFound also for a destination that gets thin events: this API has no words for it."""
    destination_id = call.object_id("webhook_endpoint")
    found = services.destinations.get(call.tenant, destination_id)
    if found.style is not Style.SNAPSHOT:
        raise NotFound(
            f"'{destination_id}' gets thin events: it is at /v2/core/event_destinations/{destination_id}.",
            param="webhook_endpoint",
        )
    return found
