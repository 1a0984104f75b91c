"""Event destinations: /v2/core/event_destinations."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Literal, TypeAlias

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call, Secrets, operation
from streamgauge.api.services import Services
from streamgauge.api.v1.customers import METADATA_KEYS_MAX, MetadataKey, MetadataValue
from streamgauge.api.v2.core.events import EventObject, event_object
from streamgauge.api.v2.json_body import JsonBody
from streamgauge.api.v2.pages import PageObject, PageParameters, paged
from streamgauge.api.v2.query import QueryParameters
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.event_destination import EventDestination, MadeBy
from streamgauge.domain.notification import Style
from streamgauge.domain.permission import EVENT_DESTINATIONS_READ, EVENT_DESTINATIONS_WRITE
from streamgauge.engine.destinations import DestinationChanges, DestinationDraft

URL = "/v2/core/event_destinations"
TEXT_LENGTH_MAX = 5_000
TYPES_GIVEN_MAX = 100
TYPE_LENGTH_MAX = 100

Unset: TypeAlias = msgspec.UnsetType
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LENGTH_MAX)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=250)]
EventType = Annotated[str, msgspec.Meta(max_length=TYPE_LENGTH_MAX)]
EventTypes = Annotated[tuple[EventType, ...], msgspec.Meta(max_length=TYPES_GIVEN_MAX)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], msgspec.Meta(max_length=METADATA_KEYS_MAX)]
MetadataChanges = Annotated[dict[MetadataKey, MetadataValue | None], msgspec.Meta(max_length=METADATA_KEYS_MAX)]


class DestinationType(StrEnum):
    """Where a destination is. Only webhook endpoints are served; the others are refused with that reason."""

    AMAZON_EVENTBRIDGE = "amazon_eventbridge"
    AZURE_EVENT_GRID = "azure_event_grid"
    WEBHOOK_ENDPOINT = "webhook_endpoint"


class Secret(StrEnum):
    """What is shown only where it is asked for."""

    SIGNING_SECRET = "webhook_endpoint.signing_secret"
    URL = "webhook_endpoint.url"


class Address(StrEnum):
    """What is shown only where it is asked for, after the creation."""

    URL = "webhook_endpoint.url"


class EventbridgeParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    aws_account_id: Text
    aws_region: Text


class EventGridParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    azure_region: Text
    azure_resource_group_name: Text
    azure_subscription_id: Text


class EndpointParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: Text


class CreateParameters(JsonBody, frozen=True, kw_only=True):
    amazon_eventbridge: EventbridgeParameters | None = None
    azure_event_grid: EventGridParameters | None = None
    description: Text = ""
    enabled_events: EventTypes
    event_payload: Style
    events_from: tuple[Text, ...] | None = None
    include: tuple[Secret, ...] = ()
    metadata: Metadata | None = None
    name: Name
    snapshot_api_version: Text | None = None
    type: DestinationType
    webhook_endpoint: EndpointParameters | None = None


class UpdateParameters(JsonBody, frozen=True, kw_only=True):
    """What is not given stays. Metadata is merged key by key; null or an empty text removes a key."""

    description: Text | None = None
    enabled_events: EventTypes | None = None
    include: tuple[Address, ...] = ()
    metadata: MetadataChanges | None = None
    name: Name | None = None
    webhook_endpoint: EndpointParameters | None = None


class NoParameters(JsonBody, frozen=True, kw_only=True):
    """Nothing: the body is absent, empty or `{}`."""


class IncludeParameters(QueryParameters, frozen=True, kw_only=True):
    include: tuple[Address, ...] = ()


class DestinationListParameters(PageParameters, frozen=True, kw_only=True):
    include: tuple[Address, ...] = ()


class Disabled(msgspec.Struct, frozen=True, kw_only=True):
    """`user`, or `failing`: every attempt of three days failed."""

    reason: str


class StatusDetails(msgspec.Struct, frozen=True, kw_only=True):
    disabled: Disabled | None


class WebhookEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Each is null unless it was asked for with `include`; the secret is shown in the answer to a creation alone."""

    signing_secret: str | None = None
    url: str | None = None


class DestinationObject(msgspec.Struct, frozen=True, kw_only=True):
    """`v2.core.event_destination`. Times are RFC 3339, UTC."""

    id: str
    object: Literal["v2.core.event_destination"] = "v2.core.event_destination"
    amazon_eventbridge: None = None
    azure_event_grid: None = None
    created: str
    description: str
    enabled_events: tuple[str, ...]
    event_payload: Style
    events_from: tuple[str, ...]
    livemode: bool
    metadata: Mapping[str, str]
    name: str
    snapshot_api_version: str | None
    status: Literal["disabled", "enabled"]
    status_details: StatusDetails | None
    type: DestinationType = DestinationType.WEBHOOK_ENDPOINT
    updated: str
    webhook_endpoint: WebhookEndpoint


class DeletedObject(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of an object that was deleted."""

    id: str
    object: str


def _without_secret(answer: DestinationObject) -> DestinationObject:
    shown = answer.webhook_endpoint
    if shown.signing_secret is None:
        return answer
    return msgspec.structs.replace(answer, webhook_endpoint=msgspec.structs.replace(shown, signing_secret=""))


def _with_secret(services: Services, call: Call, answer: DestinationObject) -> DestinationObject:
    shown = answer.webhook_endpoint
    if shown.signing_secret is None:
        return answer
    # The one it was created with, whatever was rolled since: the answer is the same as the first time.
    secret = services.destinations.secret(answer.id, 1)
    return msgspec.structs.replace(answer, webhook_endpoint=msgspec.structs.replace(shown, signing_secret=secret))


@operation(needs=EVENT_DESTINATIONS_WRITE, secrets=Secrets(_without_secret, _with_secret))
def create(services: Services, call: Call, given: CreateParameters) -> DestinationObject:
    """Create an event destination. Its signing secret is in this answer alone, if `include` asks for it."""
    draft = _draft(given)
    with _our_names():
        destination = services.destinations.create(call.tenant, draft)
    secret = None
    if Secret.SIGNING_SECRET in given.include:
        secret = services.destinations.secret(destination.id, destination.secret_version)
    return destination_object(destination, secret, with_url=Secret.URL in given.include)


@operation(needs=EVENT_DESTINATIONS_READ)
def retrieve(services: Services, call: Call, given: IncludeParameters) -> DestinationObject:
    """Retrieve an event destination."""
    found = services.destinations.get(call.tenant, call.object_id("id"))
    return destination_object(found, with_url=bool(given.include))


@operation(needs=EVENT_DESTINATIONS_READ)
def list_page(services: Services, call: Call, given: DestinationListParameters) -> PageObject[DestinationObject]:
    """List event destinations, newest first, webhook endpoints of version 1 among them."""
    page = given.wanted()
    query = [("limit", str(given.limit)), *((f"include[{at}]", each.value) for at, each in enumerate(given.include))]
    return paged(
        services.destinations.list(call.tenant, page),
        page,
        lambda each: destination_object(each, with_url=bool(given.include)),
        lambda each: each.id,
        URL,
        query,
    )


@operation(needs=EVENT_DESTINATIONS_WRITE)
def update(services: Services, call: Call, given: UpdateParameters) -> DestinationObject:
    """Update an event destination."""
    changes = DestinationChanges(
        name=given.name,
        description=given.description,
        url=None if given.webhook_endpoint is None else given.webhook_endpoint.url,
        enabled_events=given.enabled_events,
        metadata=given.metadata,
    )
    with _our_names():
        changed = services.destinations.update(call.tenant, call.object_id("id"), changes)
    return destination_object(changed, with_url=bool(given.include))


@operation(needs=EVENT_DESTINATIONS_WRITE)
def delete(services: Services, call: Call, given: NoParameters) -> DeletedObject:
    """Delete an event destination. What was not delivered yet never is."""
    destination_id = call.object_id("id")
    services.destinations.delete(call.tenant, destination_id)
    return DeletedObject(id=destination_id, object="v2.core.event_destination")


@operation(needs=EVENT_DESTINATIONS_WRITE)
def disable(services: Services, call: Call, given: NoParameters) -> DestinationObject:
    """Disable an event destination: nothing is sent to it, and what happens meanwhile never is."""
    return destination_object(services.destinations.switch(call.tenant, call.object_id("id"), enabled=False))


@operation(needs=EVENT_DESTINATIONS_WRITE)
def enable(services: Services, call: Call, given: NoParameters) -> DestinationObject:
    """Enable an event destination. What was due before it was disabled is sent."""
    return destination_object(services.destinations.switch(call.tenant, call.object_id("id"), enabled=True))


@operation(needs=EVENT_DESTINATIONS_WRITE)
def ping(services: Services, call: Call, given: NoParameters) -> EventObject:
    """Send an event destination a `v2.core.event_destination.ping` event, whatever it listens to."""
    return event_object(services.destinations.ping(call.tenant, call.object_id("id"), call.cause))


def destination_object(
    destination: EventDestination, secret: str | None = None, *, with_url: bool = False
) -> DestinationObject:
    reason = destination.disabled_reason
    return DestinationObject(
        id=destination.id,
        created=rfc3339(destination.created_ms),
        description=destination.description,
        enabled_events=destination.enabled_events,
        event_payload=destination.style,
        events_from=("@self",),
        livemode=destination.tenant.livemode,
        metadata=destination.metadata,
        name=destination.name,
        snapshot_api_version=destination.api_version,
        status="enabled" if destination.is_enabled else "disabled",
        status_details=None if reason is None else StatusDetails(disabled=Disabled(reason=reason.value)),
        updated=rfc3339(destination.updated_ms),
        webhook_endpoint=WebhookEndpoint(signing_secret=secret, url=destination.url if with_url else None),
    )


@contextmanager
def _our_names() -> Iterator[None]:
    """A fault of the URL, at the place where version 2 has it."""
    try:
        yield
    except InvalidRequest as error:
        if error.param != "url":
            raise
        raise InvalidRequest(error.message, param="webhook_endpoint.url", reason=error.reason) from error


def _draft(given: CreateParameters) -> DestinationDraft:
    if given.type is not DestinationType.WEBHOOK_ENDPOINT or given.amazon_eventbridge or given.azure_event_grid:
        raise InvalidRequest(
            "Streamgauge sends events to webhook endpoints only: type must be webhook_endpoint.", param="type"
        )
    if given.webhook_endpoint is None:
        raise InvalidRequest("It is required for the type webhook_endpoint.", param="webhook_endpoint")
    if given.events_from not in (None, ("@self",)):
        raise InvalidRequest("Streamgauge has no connected accounts: it can only be @self.", param="events_from")
    if given.snapshot_api_version is not None and given.event_payload is Style.THIN:
        raise InvalidRequest("Thin events have no version.", param="snapshot_api_version")
    return DestinationDraft(
        made_by=MadeBy.V2,
        name=given.name,
        description=given.description,
        url=given.webhook_endpoint.url,
        style=given.event_payload,
        enabled_events=given.enabled_events,
        metadata=given.metadata or {},
        api_version=given.snapshot_api_version,
    )
