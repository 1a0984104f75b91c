"""What a history of the whole service is drawn from: few names and few moments, so that requests meet."""

from dataclasses import dataclass

from hypothesis import strategies as st

from streamgauge.domain.account import Tenant
from streamgauge.domain.meter import EventTimeWindow, Formula
from tests.support.oracle import (
    DAY_MS,
    FUTURE_MAX_MS,
    HOUR_MS,
    MINUTE_MS,
    PAST_MAX_MS,
)
from tests.support.world import TENANT

LIVE = Tenant(TENANT.account_id, livemode=True)
TENANTS = (TENANT, TENANT, TENANT, LIVE)
EVENT_NAMES = ("calls", "tokens", "bytes")
PAYLOAD_KEYS = (("stripe_customer_id", "value"), ("who", "amount"))

GOOD_VALUES = ("2.5", "-3", "0.000000000000001", "999999999999999", "007", "-0")
BAD_VALUES = ("oops", "", "1e2", "1234567890123456", None)
CUSTOMERS = (0, 0, 1, 2, "cus_stranger", "", None)  # a number: the customer that was made then
GOOD_MOMENTS = (None, 1, -PAST_MAX_MS, FUTURE_MAX_MS, -HOUR_MS, -DAY_MS)
BAD_MOMENTS = (-PAST_MAX_MS - 1, FUTURE_MAX_MS + 1)
STEPS_MS = (1, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS, 23 * HOUR_MS, DAY_MS, 2 * DAY_MS, 34 * DAY_MS)
# Deduplication windows.
WINDOWS_MS = (DAY_MS, 60 * HOUR_MS, 35 * DAY_MS)
CRASHES = ("intend", "insert", "tear", "tear", "cancel", "advance")


@dataclass(frozen=True)
class Draft:
    """An event before it is known which customers there are and what time it is."""

    event_name: str
    identifier: int
    moment: int | None
    customer: int | str | None
    value: str | None
    keys: int


# Most can count, or hardly two would ever meet.
good_drafts = st.builds(
    Draft,
    event_name=st.sampled_from(EVENT_NAMES),
    identifier=st.integers(0, 6),
    moment=st.one_of(st.none(), st.integers(-3 * HOUR_MS, 0), st.sampled_from(GOOD_MOMENTS)),
    customer=st.integers(0, 1),
    value=st.one_of(st.integers(-99, 99).map(str), st.sampled_from(GOOD_VALUES)),
    keys=st.just(0),
)
any_drafts = st.builds(
    Draft,
    event_name=st.sampled_from([*EVENT_NAMES, *EVENT_NAMES, "unknown"]),
    identifier=st.integers(0, 6),
    moment=st.sampled_from([*GOOD_MOMENTS, *BAD_MOMENTS]),
    customer=st.sampled_from(CUSTOMERS),
    value=st.sampled_from([*GOOD_VALUES, *BAD_VALUES]),
    keys=st.sampled_from((0, 0, 0, 1)),
)
drafts = st.one_of(good_drafts, good_drafts, good_drafts, any_drafts)
tenants = st.sampled_from(TENANTS)
keys = st.one_of(st.none(), st.integers(0, 2))
picks = st.integers(0, 7)
cancel_names = st.sampled_from((*[None] * 8, *EVENT_NAMES))
formulas = st.sampled_from(list(Formula))
windows = st.sampled_from((None, *EventTimeWindow))
