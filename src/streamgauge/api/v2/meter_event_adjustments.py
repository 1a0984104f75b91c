"""Taking events back: POST /v2/billing/meter_event_adjustments."""

from typing import Literal

import msgspec

from streamgauge.api.event_fields import EventName
from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call, Replayed, operation
from streamgauge.api.services import Services
from streamgauge.api.v1.meter_event_adjustments import AdjustmentStatus, AdjustmentType, Cancel, status_of
from streamgauge.api.v2.json_body import JsonBody
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.permission import METER_EVENTS_WRITE
from streamgauge.domain.refusal import CannotCancel


class AdjustmentParameters(JsonBody, frozen=True, kw_only=True):
    cancel: Cancel
    event_name: EventName
    type: AdjustmentType


class AdjustmentObject(msgspec.Struct, frozen=True, kw_only=True):
    """`v2.billing.meter_event_adjustment`. The same event taken back twice has one id."""

    id: str
    object: Literal["v2.billing.meter_event_adjustment"] = "v2.billing.meter_event_adjustment"
    cancel: Cancel
    created: str
    event_name: str
    livemode: bool
    status: AdjustmentStatus
    type: AdjustmentType


@operation(needs=METER_EVENTS_WRITE, keeps_request_keys=True)
def create(
    services: Services, call: Call, given: AdjustmentParameters
) -> AdjustmentObject | Replayed[AdjustmentObject]:
    """Cancel an event that was received within the last 24 hours."""
    try:
        adjustment = services.adjustments.cancel(call.principal, given.event_name, given.cancel.identifier, call.key)
    except CannotCancel as error:
        raise InvalidRequest(error.message, param="cancel.identifier", reason=error.code) from error
    answer = AdjustmentObject(
        id=adjustment.id,
        cancel=given.cancel,
        created=rfc3339(adjustment.created_ms),
        event_name=adjustment.event_name,
        livemode=call.tenant.livemode,
        status=status_of(adjustment),
        type=given.type,
    )
    return Replayed(answer) if adjustment.replayed else answer
