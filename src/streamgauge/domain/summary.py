"""Event summaries: one number per customer and window, and how windows must be aligned."""

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.meter import EventTimeWindow

MINUTE_S: Final = 60
WINDOW_S: Final = {EventTimeWindow.HOUR: 3_600, EventTimeWindow.DAY: 86_400}


@dataclass(frozen=True, slots=True)
class Range:
    """[start_s, end_s) in Unix seconds."""

    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """The aggregated value of one window [start_s, end_s) in Unix seconds, in the meter's unit."""

    id: str
    meter_id: str
    start_s: int
    end_s: int
    value: Decimal


def aligned_range(start_s: int, end_s: int, grouping: EventTimeWindow | None) -> Range:
    """The range asked for. Raises InvalidRequest unless both ends stand on a minute, or on the hour or day (UTC)
    that the grouping names, and the start lies before the end."""
    step_s = MINUTE_S if grouping is None else WINDOW_S[grouping]
    unit = "minute" if grouping is None else f"UTC {grouping}"
    for param, at_s in (("start_time", start_s), ("end_time", end_s)):
        if at_s < 0 or at_s > 2**32 - 1:
            raise InvalidRequest(f"Invalid {param}: {at_s} is not a time this service keeps.", param=param)
        if at_s % step_s:
            raise InvalidRequest(f"Invalid {param}: {at_s} must be aligned with {unit} boundaries.", param=param)
    if start_s >= end_s:
        raise InvalidRequest("Invalid end_time: it must be later than start_time.", param="end_time")
    return Range(start_s, end_s)


def summary_id(meter_id: str, customer_id: str, window: Range) -> str:
    """The same window of the same customer has the same id in every call."""
    key = f"{len(meter_id)}:{meter_id}{len(customer_id)}:{customer_id}{window.start_s}-{window.end_s}"
    return "mtrusg_" + hashlib.sha256(key.encode()).hexdigest()[:24]
