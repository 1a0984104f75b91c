"""Meters: /v1/billing/meters."""

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from streamgauge.api.exact import unix_seconds
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.meter import (
    DEFAULT_CUSTOMER_KEY,
    DEFAULT_VALUE_KEY,
    DISPLAY_NAME_LENGTH_MAX,
    EVENT_NAME_LENGTH_MAX,
    PAYLOAD_KEY_LENGTH_MAX,
    EventTimeWindow,
    Formula,
    Meter,
)
from streamgauge.domain.permission import METERS_READ, METERS_WRITE
from streamgauge.engine.meters import MeterDraft

URL = "/v1/billing/meters"

DisplayName = Annotated[str, msgspec.Meta(max_length=DISPLAY_NAME_LENGTH_MAX)]
EventName = Annotated[str, msgspec.Meta(max_length=EVENT_NAME_LENGTH_MAX)]
PayloadKey = Annotated[str, msgspec.Meta(max_length=PAYLOAD_KEY_LENGTH_MAX)]


class MappingType(StrEnum):
    """How a payload names its customer; there is only this way."""

    BY_ID = "by_id"


class MeterStatus(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"


class CustomerMapping(msgspec.Struct, frozen=True, kw_only=True):
    """Where a payload names its customer. Taken and shown alike, as are the two below."""

    event_payload_key: PayloadKey
    type: MappingType


class DefaultAggregation(msgspec.Struct, frozen=True):
    formula: Formula


class ValueSettings(msgspec.Struct, frozen=True):
    event_payload_key: PayloadKey


class CreateParameters(Parameters, frozen=True, kw_only=True):
    default_aggregation: DefaultAggregation
    display_name: DisplayName
    event_name: EventName
    customer_mapping: CustomerMapping | msgspec.UnsetType = msgspec.UNSET
    event_time_window: EventTimeWindow | msgspec.UnsetType = msgspec.UNSET
    value_settings: ValueSettings | msgspec.UnsetType = msgspec.UNSET


class UpdateParameters(Parameters, frozen=True, kw_only=True):
    """Event name and formula decide totals that are already counted, so only the name for people can change."""

    display_name: DisplayName | msgspec.UnsetType = msgspec.UNSET


class MeterListParameters(ListParameters, frozen=True, kw_only=True):
    status: MeterStatus | msgspec.UnsetType = msgspec.UNSET


class StatusTransitions(msgspec.Struct, frozen=True):
    """Unix seconds; None while the meter is active."""

    deactivated_at: int | None


class MeterObject(msgspec.Struct, frozen=True, kw_only=True):
    """`billing.meter`, with every documented member. Times are Unix seconds."""

    id: str
    object: Literal["billing.meter"] = "billing.meter"
    created: int
    customer_mapping: CustomerMapping
    default_aggregation: DefaultAggregation
    display_name: str
    event_name: str
    event_time_window: EventTimeWindow | None
    livemode: bool
    status: MeterStatus
    status_transitions: StatusTransitions
    updated: int
    value_settings: ValueSettings


@operation(needs=METERS_WRITE)
def create(services: Services, call: Call, given: CreateParameters) -> MeterObject:
    """Create a meter. At most one active meter has an event name."""
    draft = MeterDraft(
        display_name=given.display_name,
        event_name=given.event_name,
        formula=given.default_aggregation.formula,
        event_time_window=given.event_time_window or None,
        customer_key=given.customer_mapping.event_payload_key if given.customer_mapping else DEFAULT_CUSTOMER_KEY,
        value_key=given.value_settings.event_payload_key if given.value_settings else DEFAULT_VALUE_KEY,
    )
    return meter_object(services.meters.create(call.tenant, draft, call.cause))


@operation(needs=METERS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> MeterObject:
    """Retrieve a meter."""
    return meter_object(services.meters.get(call.tenant, call.object_id("id")))


@operation(needs=METERS_WRITE)
def update(services: Services, call: Call, given: UpdateParameters) -> MeterObject:
    """Rename a meter. Without a display name it comes back unchanged."""
    meter_id = call.object_id("id")
    if isinstance(given.display_name, msgspec.UnsetType):
        return meter_object(services.meters.get(call.tenant, meter_id))
    return meter_object(services.meters.rename(call.tenant, meter_id, given.display_name, call.cause))


@operation(needs=METERS_WRITE)
def deactivate(services: Services, call: Call, given: Parameters) -> MeterObject:
    """Deactivate a meter: events received from now on are not counted."""
    return meter_object(services.meters.deactivate(call.tenant, call.object_id("id"), call.cause))


@operation(needs=METERS_WRITE)
def reactivate(services: Services, call: Call, given: Parameters) -> MeterObject:
    """Reactivate a meter: events received from now on count again."""
    return meter_object(services.meters.reactivate(call.tenant, call.object_id("id"), call.cause))


@operation(needs=METERS_READ)
def list_page(services: Services, call: Call, given: MeterListParameters) -> ListObject[MeterObject]:
    """List meters, newest first."""
    active = given.status is MeterStatus.ACTIVE if given.status else None
    return listed(services.meters.list(call.tenant, given.page(), active=active), meter_object, URL)


def meter_snapshot(meter: Meter) -> dict[str, object]:
    """What a notification keeps of a meter: the object, as plain values."""
    shown: dict[str, object] = msgspec.to_builtins(meter_object(meter))
    return shown


def meter_object(meter: Meter) -> MeterObject:
    return MeterObject(
        id=meter.id,
        created=unix_seconds(meter.created_ms),
        customer_mapping=CustomerMapping(event_payload_key=meter.customer_key, type=MappingType.BY_ID),
        default_aggregation=DefaultAggregation(meter.formula),
        display_name=meter.display_name,
        event_name=meter.event_name,
        event_time_window=meter.event_time_window,
        livemode=meter.tenant.livemode,
        status=MeterStatus.ACTIVE if meter.is_active else MeterStatus.INACTIVE,
        status_transitions=StatusTransitions(
            None if meter.deactivated_ms is None else unix_seconds(meter.deactivated_ms)
        ),
        updated=unix_seconds(meter.updated_ms),
        value_settings=ValueSettings(meter.value_key),
    )
