"""An error report as it is announced: the thin events of events that could not be counted."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.domain.error_message import error_message
from streamgauge.domain.error_report import ErrorReport, Rejections
from streamgauge.domain.fate import RejectionCode
from streamgauge.domain.meter import Meter
from streamgauge.domain.notification import ERROR_REPORT_TRIGGERED, NO_METER_FOUND, Notification, RelatedObject
from streamgauge.engine.notifications import NotificationDraft

LIST_URL = "/streamgauge/meter_events"


class SampleRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The event's identifier."""

    identifier: str


class SampleError(msgspec.Struct, frozen=True, kw_only=True):
    error_message: str
    request: SampleRequest


class ErrorType(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    error_count: int
    sample_errors: list[SampleError]


class ReportReason(msgspec.Struct, frozen=True, kw_only=True):
    error_count: int
    error_types: list[ErrorType]


class ErrorReportData(msgspec.Struct, frozen=True, kw_only=True):
    """`data` of both types. `meter_events_url` is ours: the list of all events that the report counts."""

    developer_message_summary: str
    validation_start: str
    validation_end: str
    reason: ReportReason
    meter_events_url: str


def error_report_draft(report: ErrorReport, meter: Meter | None) -> NotificationDraft:
    """What is announced of a report; `meter` is the one that it is about, None where the events reached none."""
    data: Mapping[str, object] = msgspec.to_builtins(_data(report, meter))
    return NotificationDraft(
        tenant=report.tenant,
        type=ERROR_REPORT_TRIGGERED if meter else NO_METER_FOUND,
        data=data,
        related=RelatedObject(id=meter.id, type="billing.meter", url=f"/v1/billing/meters/{meter.id}")
        if meter
        else None,
    )


def window_start_ms_of(notification: Notification) -> int | None:
    """The window's start that a notification tells of; None when it is no error report."""
    start = notification.data.get("validation_start")
    return round(datetime.fromisoformat(start).timestamp() * 1000) if isinstance(start, str) else None


def _data(report: ErrorReport, meter: Meter | None) -> ErrorReportData:
    count = report.count
    start, end = rfc3339(report.window_start_ms), rfc3339(report.window_end_ms)
    about = {"meter": meter.id} if meter else {"code": str(RejectionCode.NO_METER)}
    query = {"status": "rejected", **about, "received_at[gte]": start, "received_at[lt]": end}
    return ErrorReportData(
        developer_message_summary="There is 1 invalid event" if count == 1 else f"There are {count} invalid events",
        validation_start=start,
        validation_end=end,
        reason=ReportReason(error_count=count, error_types=[_error_type(each, meter) for each in report.rejections]),
        meter_events_url=f"{LIST_URL}?{urlencode(query)}",
    )


def _error_type(rejections: Rejections, meter: Meter | None) -> ErrorType:
    return ErrorType(
        code=rejections.code,
        error_count=rejections.count,
        sample_errors=[
            SampleError(
                error_message=error_message(
                    rejections.code, event_name=each.event_name, meter=meter, customer=each.customer
                ),
                request=SampleRequest(identifier=each.identifier),
            )
            for each in rejections.samples
        ],
    )
