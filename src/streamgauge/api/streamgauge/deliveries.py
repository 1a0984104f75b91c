"""/streamgauge/deliveries: what was posted to which destination, what it answered, and posting it once more."""

from typing import Literal

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import ObjectId, Parameters
from streamgauge.api.services import Services
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.delivery import DeliveryState
from streamgauge.domain.permission import EVENT_DESTINATIONS_READ, EVENT_DESTINATIONS_WRITE
from streamgauge.engine.deliveries import Attempted, DeliveryFilter

URL = "/streamgauge/deliveries"


class AttemptObject(msgspec.Struct, frozen=True, kw_only=True):
    """One request: `status` is what was answered, with how the body began, or `error` says why there is none."""

    at: str
    status: int | None
    error: str | None
    duration_ms: int
    response_excerpt: str | None


class DeliveryObject(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome` is that of the newest series of attempts; `next_attempt_at` is null unless it is pending. Times are
    RFC 3339, UTC."""

    object: Literal["delivery"] = "delivery"
    id: str
    event: str
    destination: str
    outcome: DeliveryState
    created: str
    next_attempt_at: str | None
    attempts: list[AttemptObject]


class DeliveriesParameters(ListParameters, frozen=True, kw_only=True):
    event: ObjectId | msgspec.UnsetType = msgspec.UNSET
    destination: ObjectId | msgspec.UnsetType = msgspec.UNSET
    outcome: DeliveryState | msgspec.UnsetType = msgspec.UNSET


@operation(needs=EVENT_DESTINATIONS_READ)
def list_page(services: Services, call: Call, given: DeliveriesParameters) -> ListObject[DeliveryObject]:
    """Deliveries, newest first, with every attempt."""
    wanted = DeliveryFilter(
        notification_id=given.event or None, destination_id=given.destination or None, state=given.outcome or None
    )
    return listed(services.deliveries.list(call.tenant, given.page(), wanted), delivery_object, URL)


@operation(needs=EVENT_DESTINATIONS_WRITE)
def resend(services: Services, call: Call, given: Parameters) -> DeliveryObject:
    """Post it once more, now, and again as after any failure, whatever came of it before."""
    return delivery_object(services.deliveries.resend(call.tenant, call.object_id("id")))


def delivery_object(attempted: Attempted) -> DeliveryObject:
    delivery = attempted.delivery
    return DeliveryObject(
        id=delivery.id,
        event=delivery.notification_id,
        destination=delivery.destination_id,
        outcome=delivery.state,
        created=rfc3339(delivery.created_ms),
        next_attempt_at=None if delivery.next_at_ms is None else rfc3339(delivery.next_at_ms),
        attempts=[
            AttemptObject(
                at=rfc3339(each.at_ms),
                status=each.status,
                error=each.error,
                duration_ms=each.duration_ms,
                response_excerpt=each.response_excerpt,
            )
            for each in attempted.attempts
        ],
    )
