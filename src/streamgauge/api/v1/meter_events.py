"""Single meter events: POST /v1/billing/meter_events."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from streamgauge.api.event_fields import EventName, Identifier, Payload, made_identifier, milliseconds_of
from streamgauge.api.exact import unix_seconds
from streamgauge.api.operation import Call, Replayed, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.fate import RejectionCode
from streamgauge.domain.meter_event import TIMESTAMP_FUTURE_MAX_MS, TIMESTAMP_PAST_MAX_MS, MeterEvent
from streamgauge.domain.permission import METER_EVENTS_WRITE
from streamgauge.domain.refusal import DuplicateEvent, EventRefused, Refusal
from streamgauge.engine.meter_events import Accepted


class MeterEventParameters(Parameters, frozen=True, kw_only=True):
    """`timestamp` is in Unix seconds."""

    event_name: EventName
    payload: Payload
    identifier: Identifier | msgspec.UnsetType = msgspec.UNSET
    timestamp: int | msgspec.UnsetType = msgspec.UNSET


class MeterEventObject(msgspec.Struct, frozen=True, kw_only=True):
    """`billing.meter_event`. Times are Unix seconds."""

    object: Literal["billing.meter_event"] = "billing.meter_event"
    created: int
    event_name: str
    identifier: str
    livemode: bool
    payload: Mapping[str, str]
    timestamp: int


@operation(needs=METER_EVENTS_WRITE, keeps_request_keys=True)
async def create(
    services: Services, call: Call, given: MeterEventParameters
) -> MeterEventObject | Replayed[MeterEventObject]:
    """Report one event. It is validated at once, and counted when it is answered."""
    timestamp_ms = None if isinstance(given.timestamp, msgspec.UnsetType) else milliseconds_of(given.timestamp)
    event = MeterEvent(given.event_name, given.identifier or made_identifier(), timestamp_ms, given.payload)
    try:
        accepted = await services.meter_events.submit(call.principal, event, call.key)
    except DuplicateEvent as error:
        # The original has no code here, and programs look for these words.
        raise InvalidRequest(f"An event already exists with identifier {error.identifier}.") from error
    except EventRefused as error:
        raise _refused(error.refusal) from error
    answer = _meter_event_object(accepted, livemode=call.tenant.livemode)
    return Replayed(answer) if accepted.replayed else answer


def _meter_event_object(accepted: Accepted, *, livemode: bool) -> MeterEventObject:
    return MeterEventObject(
        created=unix_seconds(accepted.received_at_ms),
        event_name=accepted.event.event_name,
        identifier=accepted.event.identifier,
        livemode=livemode,
        payload=accepted.event.payload,
        timestamp=unix_seconds(accepted.timestamp_ms),
    )


def _refused(refusal: Refusal) -> InvalidRequest:
    """In the words that programs know, as far as any are known (shared contract data, section 4)."""
    customer_key = "stripe_customer_id" if refusal.meter is None else refusal.meter.customer_key
    value_key = "value" if refusal.meter is None else refusal.meter.value_key
    match refusal.code:
        case RejectionCode.NO_METER | RejectionCode.ARCHIVED_METER:
            message = f"Invalid event_name: {refusal.event_name}. No active meter found with this event name."
            return InvalidRequest(message, param="event_name")
        case RejectionCode.TIMESTAMP_TOO_FAR_IN_PAST:
            earliest = -((TIMESTAMP_PAST_MAX_MS - refusal.received_at_ms) // 1000)
            message = (
                "The event timestamp cannot be more than 35 days in past. "
                f"Expected a timestamp greater than or equal to {earliest}."
            )
            return InvalidRequest(message, param="timestamp")
        case RejectionCode.TIMESTAMP_IN_FUTURE:
            latest = (refusal.received_at_ms + TIMESTAMP_FUTURE_MAX_MS) // 1000
            message = (
                "The event timestamp cannot be more than 5 minutes in the future. "
                f"Expected a timestamp less than or equal to {latest}."
            )
            return InvalidRequest(message, param="timestamp")
        case RejectionCode.NO_CUSTOMER_DEFINED:
            return InvalidRequest(
                f"Invalid payload: {customer_key} must name the customer.", param=f"payload[{customer_key}]"
            )
        case RejectionCode.CUSTOMER_NOT_FOUND:
            return InvalidRequest(
                f"Invalid payload: no such customer {refusal.customer}", param=f"payload[{customer_key}]"
            )
        case RejectionCode.VALUE_NOT_FOUND:
            return InvalidRequest(f"Invalid payload: {value_key} is missing.", param=f"payload[{value_key}]")
        case RejectionCode.INVALID_VALUE:
            return InvalidRequest(
                f"Invalid payload: {value_key} must be a decimal number such as 25 or 0.5.",
                param=f"payload[{value_key}]",
            )
        case RejectionCode.VALUE_TOO_MANY_DIGITS:
            return InvalidRequest(
                f"Invalid payload: {value_key} can have up to 15 digits.", param=f"payload[{value_key}]"
            )
