"""Billing alerts: a customer's usage of a meter reaches a threshold, and that is told once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.summary import Range

TITLE_LENGTH_MAX: Final = 256
GTE_MIN: Final = 1

DAY_MS: Final = 86_400_000
_DAY_S: Final = 86_400
# What a database keeps as a whole number; a step beyond it is this one, and fires once.
_STEP_MAX: Final = 2**63 - 1


class AlertType(StrEnum):
    """What an alert watches; there is only this."""

    USAGE_THRESHOLD = "usage_threshold"


class AlertStatus(StrEnum):
    """`ARCHIVED` is final."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    ARCHIVED = "archived"


class Recurrence(StrEnum):
    """How often a threshold may be reached by one customer. All but `ONE_TIME` are ours.

    ONE_TIME   once, by all usage there ever was
    EVERY      whenever all usage there ever was passes another multiple of the threshold
    DAILY      once a day (UTC), by the usage with a time in that day
    MONTHLY    once a month (UTC), likewise
    """

    ONE_TIME = "one_time"
    EVERY = "every"
    DAILY = "daily"
    MONTHLY = "monthly"

    def period_of(self, day_start_ms: int) -> Range | None:
        """What usage of that day (its start, UTC) is added up with; None: with all there is."""
        start_s = day_start_ms // 1000
        match self:
            case Recurrence.DAILY:
                return Range(start_s, start_s + _DAY_S)
            case Recurrence.MONTHLY:
                first = datetime.fromtimestamp(start_s, UTC).replace(day=1)
                following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
                return Range(int(first.timestamp()), int(following.timestamp()))
            case _:
                return None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageThreshold:
    """At least `gte` of a meter's unit, of one customer. `customer_id` None: of whichever customer."""

    meter_id: str
    gte: int
    recurrence: Recurrence = Recurrence.ONE_TIME
    customer_id: str | None = None

    def step(self, total: Decimal, period: Range | None) -> int | None:
        """What a total reaches, and what is told once of each customer: 0, the multiple of the threshold, or the
        start of the period (Unix seconds). None: the threshold is not reached."""
        whole = math.floor(total)
        if whole < self.gte:
            return None
        if self.recurrence is Recurrence.EVERY:
            return min(whole // self.gte, _STEP_MAX)
        return 0 if period is None else period.start_s

    def above(self, total: Decimal) -> int | None:
        """The next total after this one that reaches a step it has not; None when there is none."""
        whole = math.floor(total)
        if whole < self.gte:
            return self.gte
        return (whole // self.gte + 1) * self.gte if self.recurrence is Recurrence.EVERY else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """`since_offset`: a customer is looked at when usage or a cancellation logged from there on touched it.

    `is_due`: it was activated, and all customers are to be looked at once, since their usage may have grown meanwhile.
    """

    id: str
    tenant: Tenant
    title: str
    threshold: UsageThreshold
    created_ms: int
    since_offset: int
    status: AlertStatus = AlertStatus.ACTIVE
    is_due: bool = False

    def activated(self, since_offset: int) -> "Alert":
        return replace(self, status=AlertStatus.ACTIVE, since_offset=since_offset, is_due=True)

    def deactivated(self) -> "Alert":
        return replace(self, status=AlertStatus.INACTIVE, is_due=False)

    def archived(self) -> "Alert":
        return replace(self, status=AlertStatus.ARCHIVED, is_due=False)


@dataclass(frozen=True, slots=True)
class FiringKey:
    """What fires at most once. `step` as `UsageThreshold.step` gives it."""

    alert_id: str
    customer_id: str
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """An alert fired for a customer, whose usage in `period` (None: all of it) was `total`."""

    alert: Alert
    customer_id: str
    step: int
    period: Range | None
    total: Decimal
    fired_ms: int

    @property
    def key(self) -> FiringKey:
        return FiringKey(self.alert.id, self.customer_id, self.step)


def lowest_above(alerts: Sequence[Alert], total: Decimal) -> int | None:
    """The next total after this one at which one of the alerts has something to tell."""
    levels = (alert.threshold.above(total) for alert in alerts)
    return min((level for level in levels if level is not None), default=None)


def day_start_of(at_ms: int) -> int:
    """The start of the UTC day that this moment lies in, both in ms."""
    return at_ms // DAY_MS * DAY_MS
