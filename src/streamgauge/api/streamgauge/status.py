"""GET /streamgauge/status: how far the account's acknowledged events are applied."""

from typing import Literal

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.domain.permission import METER_EVENTS_READ


class StatusObject(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of events of the caller's account and mode; summaries are complete as of `refreshed_at`.

    `failure` says why applying stands still, and is null while it does not.
    """

    object: Literal["streamgauge.status"] = "streamgauge.status"
    livemode: bool
    accepted_events: int
    applied_events: int
    backlog_events: int
    refreshed_at: str
    failure: str | None


@operation(needs=METER_EVENTS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> StatusObject:
    """How far the events of the account and mode have come."""
    report = services.status.of(call.tenant)
    return StatusObject(
        livemode=call.tenant.livemode,
        accepted_events=report.accepted_events,
        applied_events=report.applied_events,
        backlog_events=report.backlog_events,
        refreshed_at=rfc3339(report.refreshed_at_ms),
        failure=report.failure,
    )
