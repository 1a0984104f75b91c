"""GET /streamgauge/meter_events/{identifier}: what became of one event."""

from typing import Literal

import msgspec

from streamgauge.api.exact import decimal_text, rfc3339
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import adjustment_id
from streamgauge.domain.permission import METER_EVENTS_READ
from streamgauge.domain.receipt import HintKind, Receipt


class RepeatObject(msgspec.Struct, frozen=True, kw_only=True):
    """`differs`: its content is not that of the event that counted."""

    received_at: str
    log_position: str
    differs: bool


class CancellationObject(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is that of the adjustment, as it was answered."""

    id: str
    received_at: str


class HintObject(msgspec.Struct, frozen=True, kw_only=True):
    """`identifiers` are up to five other ones, where the hint is about some."""

    type: HintKind
    identifiers: list[str]


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
    message: str | None
    bucket: str | None
    key: str | None
    session: str | None
    log_position: str
    repeated: list[RepeatObject]
    cancellation: CancellationObject | None
    redriven_at: str | None
    first_code: str | None
    error_report: str | None
    hints: list[HintObject]


@operation(needs=METER_EVENTS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> ReceiptObject:
    """What became of the event with this identifier."""
    return receipt_object(call.tenant, services.event_list.receipt(call.tenant, call.path["identifier"]))


def log_position(offset: int) -> str:
    """Partition and offset. The embedded log has one partition."""
    return f"0:{offset}"


def receipt_object(tenant: Tenant, receipt: Receipt) -> ReceiptObject:
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
        message=receipt.message,
        bucket=_time(receipt.bucket_ms),
        key=receipt.key_id,
        session=receipt.session_id,
        log_position=log_position(receipt.log_offset),
        repeated=[
            RepeatObject(
                received_at=rfc3339(each.received_at_ms),
                log_position=log_position(each.log_offset),
                differs=each.differs,
            )
            for each in receipt.repeated
        ],
        cancellation=_cancellation(tenant, receipt),
        redriven_at=_time(receipt.redriven_at_ms),
        first_code=receipt.first_code,
        error_report=receipt.error_report_id,
        hints=[HintObject(type=each.kind, identifiers=list(each.identifiers)) for each in receipt.hints],
    )


def _cancellation(tenant: Tenant, receipt: Receipt) -> CancellationObject | None:
    if receipt.cancelled_at_ms is None:
        return None
    return CancellationObject(
        id=adjustment_id(tenant, receipt.identifier, receipt.judged_offset),
        received_at=rfc3339(receipt.cancelled_at_ms),
    )


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)
