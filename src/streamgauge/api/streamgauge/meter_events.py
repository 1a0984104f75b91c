"""GET /streamgauge/meter_events: what was received, newest first, each with what became of it."""

import re
from typing import Annotated, Literal

import msgspec

from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import ObjectId, Parameters, Text
from streamgauge.api.services import Services
from streamgauge.api.streamgauge.receipts import ReceiptObject, log_position, receipt_object
from streamgauge.api.time_bounds import TimeBounds, Unset, half_open_ms
from streamgauge.api.v1.lists import LIMIT_DEFAULT, LIMIT_MAX
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.fate import Fate, RejectionCode
from streamgauge.domain.permission import METER_EVENTS_READ
from streamgauge.engine.event_list import EventPage
from streamgauge.engine.ports.event_search import EventFilter

URL = "/streamgauge/meter_events"

LogPosition = Annotated[str, msgspec.Meta(max_length=40)]
_POSITION = re.compile(r"0:([0-9]{1,18})")


class MeterEventsParameters(Parameters, frozen=True, kw_only=True):
    """Cursors are log positions, and exclude the event there."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)] = LIMIT_DEFAULT
    starting_after: LogPosition | Unset = msgspec.UNSET
    ending_before: LogPosition | Unset = msgspec.UNSET
    identifier: Text | Unset = msgspec.UNSET
    customer: Text | Unset = msgspec.UNSET
    meter: ObjectId | Unset = msgspec.UNSET
    event_name: Text | Unset = msgspec.UNSET
    status: Fate | Unset = msgspec.UNSET
    code: RejectionCode | Unset = msgspec.UNSET
    received_at: TimeBounds | Unset = msgspec.UNSET
    timestamp: TimeBounds | Unset = msgspec.UNSET

    def page(self) -> EventPage:
        """Raises InvalidRequest when both cursors are given, or one is no log position."""
        if self.starting_after and self.ending_before:
            raise InvalidRequest(
                "Received both ending_before and starting_after parameters. Pass in only one.", param="ending_before"
            )
        return EventPage(
            limit=self.limit,
            before_offset=_offset(self.starting_after, "starting_after"),
            after_offset=_offset(self.ending_before, "ending_before"),
        )

    def wanted(self) -> EventFilter:
        """Raises InvalidRequest."""
        received_from_ms, received_before_ms = half_open_ms(self.received_at, "received_at")
        timestamp_from_ms, timestamp_before_ms = half_open_ms(self.timestamp, "timestamp")
        return EventFilter(
            identifier=self.identifier or None,
            customer=self.customer or None,
            meter=self.meter or None,
            event_name=self.event_name or None,
            status=self.status or None,
            code=self.code or None,
            received_from_ms=received_from_ms,
            received_before_ms=received_before_ms,
            timestamp_from_ms=timestamp_from_ms,
            timestamp_before_ms=timestamp_before_ms,
        )


class MeterEventList(msgspec.Struct, frozen=True, kw_only=True):
    """`next_position` is the cursor of the next page in the same direction, null at the end. A page may be short, and
    even empty, while `has_more`: a search is cut after a second, and goes on there."""

    object: Literal["list"] = "list"
    data: list[ReceiptObject]
    has_more: bool
    next_position: str | None
    url: str


@operation(needs=METER_EVENTS_READ)
def list_page(services: Services, call: Call, given: MeterEventsParameters) -> MeterEventList:
    """Events with their receipts, newest first."""
    found = services.event_list.page(call.tenant, given.wanted(), given.page())
    on = found.continue_offset
    return MeterEventList(
        data=[receipt_object(call.tenant, each) for each in found.receipts],
        has_more=on is not None,
        next_position=None if on is None else log_position(on),
        url=URL,
    )


def _offset(position: str | Unset, param: str) -> int | None:
    if not position:
        return None
    match = _POSITION.fullmatch(position)
    if match is None:
        raise InvalidRequest(f"Invalid {param}: it takes a log position, such as 0:1200.", param=param)
    return int(match[1])
