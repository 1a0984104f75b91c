"""Taking events back: POST /v1/billing/meter_event_adjustments."""

from enum import StrEnum
from typing import Literal

import msgspec

from streamgauge.api.event_fields import EventName, Identifier
from streamgauge.api.operation import Call, Replayed, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.permission import METER_EVENTS_WRITE
from streamgauge.domain.refusal import CannotCancel
from streamgauge.engine.adjustments import Adjustment


class AdjustmentType(StrEnum):
    """What an adjustment does; there is only this."""

    CANCEL = "cancel"


class AdjustmentStatus(StrEnum):
    """`PENDING` until no total holds the event any more."""

    COMPLETE = "complete"
    PENDING = "pending"


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which event is taken back."""

    identifier: Identifier


class AdjustmentParameters(Parameters, frozen=True, kw_only=True):
    event_name: EventName
    type: AdjustmentType
    cancel: Cancel | msgspec.UnsetType = msgspec.UNSET


class AdjustmentObject(msgspec.Struct, frozen=True, kw_only=True):
    """`billing.meter_event_adjustment`."""

    object: Literal["billing.meter_event_adjustment"] = "billing.meter_event_adjustment"
    cancel: Cancel
    event_name: str
    livemode: bool
    status: AdjustmentStatus
    type: AdjustmentType


@operation(needs=METER_EVENTS_WRITE, keeps_request_keys=True)
def create(
    services: Services, call: Call, given: AdjustmentParameters
) -> AdjustmentObject | Replayed[AdjustmentObject]:
    """Cancel an event that was received within the last 24 hours."""
    if isinstance(given.cancel, msgspec.UnsetType):
        raise InvalidRequest(
            "Missing required param: cancel[identifier].", param="cancel[identifier]", reason="parameter_missing"
        )
    try:
        adjustment = services.adjustments.cancel(call.principal, given.event_name, given.cancel.identifier, call.key)
    except CannotCancel as error:
        raise InvalidRequest(error.message, param="cancel[identifier]") from error
    answer = AdjustmentObject(
        cancel=given.cancel,
        event_name=adjustment.event_name,
        livemode=call.tenant.livemode,
        status=status_of(adjustment),
        type=given.type,
    )
    return Replayed(answer) if adjustment.replayed else answer


def status_of(adjustment: Adjustment) -> AdjustmentStatus:
    return AdjustmentStatus.COMPLETE if adjustment.is_complete else AdjustmentStatus.PENDING
