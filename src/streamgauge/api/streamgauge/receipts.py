"""GET /streamgauge/meter_events/{identifier}: what became of one event."""

from typing import Literal

import msgspec

from streamgauge.api.exact import decimal_text, rfc3339
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.domain.permission import METER_EVENTS_READ
from streamgauge.domain.receipt import Receipt


class ReceiptObject(msgspec.Struct, frozen=True, kw_only=True):
    """`value` is text, because most JSON readers would make a binary float of a number. Times are RFC 3339, UTC."""

    object: Literal["meter_event_receipt"] = "meter_event_receipt"
    identifier: str
    event_name: str
    status: str
    code: str | None
    meter: str | None
    customer: str | None
    value: str | None
    timestamp: str
    received_at: str
    repeats: int
    conflicting_repeats: int


@operation(needs=METER_EVENTS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> ReceiptObject:
    """What became of the event with this identifier."""
    return receipt_object(services.receipts.find(call.tenant, call.path["identifier"]))


def receipt_object(receipt: Receipt) -> ReceiptObject:
    return ReceiptObject(
        identifier=receipt.identifier,
        event_name=receipt.event_name,
        status=receipt.status,
        code=receipt.code,
        meter=receipt.meter,
        customer=receipt.customer,
        value=None if receipt.value is None else decimal_text(receipt.value),
        timestamp=rfc3339(receipt.timestamp_ms),
        received_at=rfc3339(receipt.received_at_ms),
        repeats=receipt.repeats,
        conflicting_repeats=receipt.conflicting_repeats,
    )
