"""Event summaries: /v1/billing/meters/{id}/event_summaries."""

from typing import Literal
from urllib.parse import quote

import msgspec

from streamgauge.api.exact import decimal_text
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import ObjectId
from streamgauge.api.services import Services
from streamgauge.api.v1 import meters
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.meter import EventTimeWindow
from streamgauge.domain.permission import SUMMARIES_READ
from streamgauge.domain.summary import SummaryRow


class SummaryParameters(ListParameters, frozen=True, kw_only=True):
    """Times are Unix seconds, [start_time, end_time). Without a grouping the whole range is one summary."""

    customer: ObjectId
    start_time: int
    end_time: int
    value_grouping_window: EventTimeWindow | msgspec.UnsetType = msgspec.UNSET


class SummaryObject(msgspec.Struct, frozen=True, kw_only=True):
    """`billing.meter_event_summary`.

    `aggregated_value` is a JSON number written digit by digit: a float would show 0.1 + 0.2 as 0.30000000000000004.
    """

    id: str
    object: Literal["billing.meter_event_summary"] = "billing.meter_event_summary"
    aggregated_value: msgspec.Raw
    end_time: int
    livemode: bool
    meter: str
    start_time: int


@operation(needs=SUMMARIES_READ)
def list_page(services: Services, call: Call, given: SummaryParameters) -> ListObject[SummaryObject]:
    """List the totals of one customer on a meter, newest window first."""
    meter_id = call.object_id("id")
    page = services.summaries.query(
        call.tenant,
        meter_id,
        given.customer,
        given.start_time,
        given.end_time,
        given.value_grouping_window or None,
        given.page(),
    )

    def shown(row: SummaryRow) -> SummaryObject:
        return SummaryObject(
            id=row.id,
            aggregated_value=msgspec.Raw(decimal_text(row.value)),
            end_time=row.end_s,
            livemode=call.tenant.livemode,
            meter=row.meter_id,
            start_time=row.start_s,
        )

    return listed(page, shown, f"{meters.URL}/{quote(meter_id, safe='')}/event_summaries")
