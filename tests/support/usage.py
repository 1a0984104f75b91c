"""Meters and cancellations made by hand, and totals as a usage store answers them."""

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation
from streamgauge.domain.claims import ClaimRange
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.settled_events import milliseconds
from streamgauge.domain.span import Span
from streamgauge.domain.summary import Range
from streamgauge.engine.ports.usage_store import SummaryQuery, UsageStore
from tests.support.settled import Settled, settled
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT

LIVE = Tenant(TENANT.account_id, livemode=True)
OTHER = Tenant("acct_other", livemode=False)
FIRST_DAY_MS = START_MS // DAY_MS * DAY_MS
FIRST_DAY_S = FIRST_DAY_MS // 1000
HOUR_S, DAY_S = 3_600, 86_400
HOUR, DAY = EventTimeWindow.HOUR, EventTimeWindow.DAY

# That floats cannot hold, or only just.
AWKWARD_VALUES = [
    "0.1",
    "0.000000000000001",
    "-0.3",
    "9007199254740993",
    "99999999999999.999999999999999",
    "-123456789.987654321",
]

# (hour of the first day, minute, value) in log order; together they tell every formula and window apart.
DAYS_OF_USAGE = [
    (0, 10, 1),
    (0, 50, 2),
    (0, 30, 4),  # received last in its hour
    (5, 0, 8),  # received last in its day
    (24, 0, 16),  # exactly at midnight
    (24, 0, 32),  # and the same moment again
    (47, 59, 64),
    (26, 0, 128),  # received last in its day
]


def meter_of(
    formula: Formula = Formula.SUM,
    window: EventTimeWindow | None = None,
    meter_id: str = "mtr_api_requests",
    tenant: Tenant = TENANT,
) -> Meter:
    return Meter(
        id=meter_id,
        tenant=tenant,
        display_name="",
        event_name="api_requests",
        formula=formula,
        event_time_window=window,
        created_ms=0,
        updated_ms=0,
        active_spans=(Span(0),),
    )


def totals(
    store: UsageStore,
    meter: Meter,
    grouping: EventTimeWindow | None = None,
    *,
    customer: str = "cus_1",
    start_s: int = FIRST_DAY_S - DAY_S,
    end_s: int = FIRST_DAY_S + 30 * DAY_S,
    limit: int = 1_000,
) -> list[tuple[int, Decimal]]:
    """(hours from the first day's start to the window's, value), as the store answers them."""
    found = store.totals(
        SummaryQuery(meter=meter, customer_id=customer, range=Range(start_s, end_s), grouping=grouping, limit=limit)
    )
    for total in found:
        lengths_s = {None: end_s - start_s, HOUR: HOUR_S, DAY: DAY_S}
        assert total.window.end_s - total.window.start_s == lengths_s[grouping]
    return [((total.window.start_s - FIRST_DAY_S) // HOUR_S, total.value) for total in found]


@dataclass(frozen=True, slots=True)
class Claim:
    """An identifier that counted, and when that event was received (ms)."""

    tenant: Tenant
    identifier: str
    received_at_ms: int


def claims_of(store: UsageStore, asked: NDArray[np.uint64], *, since_ms: int, below_offset: int) -> list[Claim]:
    """What the store answers to `claims`, one by one."""
    known = store.claims(asked, ClaimRange(since_ms, 0, below_offset))
    assert known.hashes.tolist() == sorted(known.hashes.tolist())
    rows = known.events.take(pa.array(known.rows)).to_pylist()
    assert set(known.hashes.tolist()) <= set(asked.tolist()) and len(rows) == len(known)
    assert all(row["log_offset"] < below_offset for row in rows)
    return [
        Claim(Tenant(row["account"], row["livemode"]), row["identifier"], milliseconds(row["received_at"]))
        for row in rows
    ]


def hashes(*numbers: int) -> NDArray[np.uint64]:
    return np.array(numbers, np.uint64)


def usage(meter: Meter) -> list[Settled]:
    """DAYS_OF_USAGE as events of this meter."""
    return [
        Settled(
            identifier=f"{meter.id}-{at}",
            offset=at,
            value=value,
            meter=meter.id,
            timestamp_ms=FIRST_DAY_MS + hour * HOUR_MS + minute * 60_000,
            keeps_latest=meter.keeps_latest,
        )
        for at, (hour, minute, value) in enumerate(DAYS_OF_USAGE)
    ]


def insert_usage(store: UsageStore, meter: Meter, *, at_a_time: int = 3) -> None:
    events = usage(meter)
    for start in range(0, len(events), at_a_time):
        store.insert(settled(events[start : start + at_a_time]), step=start)


def cancellation_of(event: Settled, *, offset: int, cancelled_at_ms: int = START_MS) -> Cancellation:
    return Cancellation(
        tenant=event.tenant,
        identifier_hash=event.hash,
        identifier=event.identifier,
        meter=event.meter,
        customer=event.customer,
        value=Decimal(event.value),
        timestamp_ms=event.timestamp_ms,
        keeps_latest=event.keeps_latest,
        event_offset=event.offset,
        offset=offset,
        cancelled_at_ms=cancelled_at_ms,
    )


def cancel(store: UsageStore, *events: Settled, offset: int = 1_000) -> None:
    """All of them in one call, as a step of their own that begins at the offset."""
    cancellations = [cancellation_of(event, offset=offset + at) for at, event in enumerate(events)]
    store.cancel(cancellations, step=offset)
