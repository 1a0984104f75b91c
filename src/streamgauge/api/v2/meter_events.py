"""Single meter events: POST /v2/billing/meter_events."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from streamgauge.api.event_fields import EventName, Identifier, Payload, Timestamp, made_identifier, milliseconds_of
from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call, Replayed, operation
from streamgauge.api.services import Services
from streamgauge.api.v2.json_body import JsonBody
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.fate import RejectionCode
from streamgauge.domain.meter_event import MeterEvent
from streamgauge.domain.permission import METER_EVENTS_WRITE
from streamgauge.domain.refusal import DuplicateEvent, EventRefused, Refusal
from streamgauge.engine.meter_events import Accepted

DUPLICATE_CODE: Final = "duplicate_meter_event"
# What the asynchronous reports call otherwise; codes that are not listed are the same here.
CODES: Final[Mapping[RejectionCode, str]] = {
    RejectionCode.NO_CUSTOMER_DEFINED: "payload_no_customer_defined",
    RejectionCode.VALUE_NOT_FOUND: "payload_no_value_defined",
    RejectionCode.INVALID_VALUE: "payload_invalid_value",
    RejectionCode.VALUE_TOO_MANY_DIGITS: "payload_invalid_value",
}


class MeterEventParameters(JsonBody, frozen=True, kw_only=True):
    event_name: EventName
    payload: Payload
    identifier: Identifier | None = None
    timestamp: Timestamp | None = None


class MeterEventObject(msgspec.Struct, frozen=True, kw_only=True):
    """`v2.billing.meter_event`. Times are RFC 3339, UTC."""

    object: Literal["v2.billing.meter_event"] = "v2.billing.meter_event"
    created: str
    event_name: str
    identifier: str
    livemode: bool
    payload: Mapping[str, str]
    timestamp: str


@operation(needs=METER_EVENTS_WRITE, keeps_request_keys=True)
async def create(
    services: Services, call: Call, given: MeterEventParameters
) -> MeterEventObject | Replayed[MeterEventObject]:
    """Report one event. It is validated at once, and counted when it is answered."""
    event = MeterEvent(
        given.event_name, given.identifier or made_identifier(), milliseconds_of(given.timestamp), given.payload
    )
    try:
        accepted = await services.meter_events.submit(call.principal, event, call.key)
    except DuplicateEvent as error:
        raise InvalidRequest(
            f"A meter event with the identifier {error.identifier} was counted already.",
            param="identifier",
            reason=DUPLICATE_CODE,
        ) from error
    except EventRefused as error:
        raise _refused(error.refusal) from error
    answer = _meter_event_object(accepted, livemode=call.tenant.livemode)
    return Replayed(answer) if accepted.replayed else answer


def _meter_event_object(accepted: Accepted, *, livemode: bool) -> MeterEventObject:
    return MeterEventObject(
        created=rfc3339(accepted.received_at_ms),
        event_name=accepted.event.event_name,
        identifier=accepted.event.identifier,
        livemode=livemode,
        payload=accepted.event.payload,
        timestamp=rfc3339(accepted.timestamp_ms),
    )


def _refused(refusal: Refusal) -> InvalidRequest:
    message, param = _told(refusal)
    return InvalidRequest(message, param=param, reason=CODES.get(refusal.code, refusal.code))


def _told(refusal: Refusal) -> tuple[str, str]:
    customer_key = "the customer's key" if refusal.meter is None else f"'{refusal.meter.customer_key}'"
    value_key = "the value's key" if refusal.meter is None else f"'{refusal.meter.value_key}'"
    match refusal.code:
        case RejectionCode.NO_METER:
            return f"No meter has the event_name {refusal.event_name}.", "event_name"
        case RejectionCode.ARCHIVED_METER:
            return f"The meter with the event_name {refusal.event_name} is not active.", "event_name"
        case RejectionCode.TIMESTAMP_TOO_FAR_IN_PAST:
            return "The timestamp is more than 35 days in the past.", "timestamp"
        case RejectionCode.TIMESTAMP_IN_FUTURE:
            return "The timestamp is more than 5 minutes in the future.", "timestamp"
        case RejectionCode.NO_CUSTOMER_DEFINED:
            return f"The payload names no customer under {customer_key}.", "payload"
        case RejectionCode.CUSTOMER_NOT_FOUND:
            return f"The payload names the customer {refusal.customer}, and there is none with that id.", "payload"
        case RejectionCode.VALUE_NOT_FOUND:
            return f"The payload has no value under {value_key}.", "payload"
        case RejectionCode.INVALID_VALUE:
            return f"The value under {value_key} is no decimal number such as 25 or 0.5.", "payload"
        case RejectionCode.VALUE_TOO_MANY_DIGITS:
            return f"The value under {value_key} has more than 15 digits.", "payload"
