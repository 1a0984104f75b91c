from decimal import Decimal

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import DAY_MS, AlertStatus, Recurrence, day_start_of, lowest_above
from streamgauge.domain.summary import Range
from tests.support.alerting import DAILY, EVERY, MONTHLY, ONE_TIME, alert_of, threshold_of

FEBRUARY_29_MS = 1_709_164_800_000  # 2024-02-29T00:00:00Z
DAY = Range(1_709_164_800, 1_709_251_200)
FEBRUARY = Range(1_706_745_600, 1_709_251_200)
TENANT = Tenant("acct_1", livemode=False)


@pytest.mark.parametrize(
    ("total", "step"),
    [("99.999", None), ("100", 0), ("100.5", 0), ("-100", None), ("0", None), ("1e30", 0)],
)
def test_a_threshold_is_reached_by_a_total_that_is_as_large(total: str, step: int | None) -> None:
    assert threshold_of(100).step(Decimal(total), None) == step


@pytest.mark.parametrize(
    ("total", "step", "above"),
    [("99.9", None, 100), ("100", 1, 200), ("199.9", 1, 200), ("1000", 10, 1_100), ("-5", None, 100)],
)
def test_a_repeating_threshold_is_reached_anew_at_each_multiple(total: str, step: int | None, above: int) -> None:
    assert threshold_of(100, EVERY).step(Decimal(total), None) == step
    assert threshold_of(100, EVERY).above(Decimal(total)) == above


def test_a_multiple_that_no_database_keeps_is_the_largest_that_it_does() -> None:
    assert threshold_of(1, EVERY).step(Decimal("1e60"), None) == 2**63 - 1


@pytest.mark.parametrize(("recurrence", "period"), [(ONE_TIME, None), (EVERY, None), (DAILY, DAY), (MONTHLY, FEBRUARY)])
def test_usage_is_added_up_over_all_time_or_a_day_or_a_month(recurrence: Recurrence, period: Range | None) -> None:
    assert recurrence.period_of(FEBRUARY_29_MS) == period


def test_a_month_at_the_end_of_a_year_ends_with_it() -> None:
    december, january = 1_701_388_800, 1_704_067_200
    assert MONTHLY.period_of(1_703_980_800_000) == Range(december, january)


@pytest.mark.parametrize(("recurrence", "period"), [(DAILY, DAY), (MONTHLY, FEBRUARY)])
def test_a_threshold_of_a_period_is_reached_once_in_each(recurrence: Recurrence, period: Range) -> None:
    assert threshold_of(100, recurrence).step(Decimal(100), period) == period.start_s
    assert threshold_of(100, recurrence).step(Decimal(99), period) is None


def test_what_is_told_once_has_nothing_above_it() -> None:
    assert threshold_of(100).above(Decimal(99)) == 100
    assert threshold_of(100).above(Decimal(100)) is None


def test_the_next_total_to_look_for_is_the_lowest_of_all_alerts() -> None:
    alerts = [alert_of(TENANT, str(gte), threshold_of(gte)) for gte in (100, 50, 200)]
    assert [lowest_above(alerts, Decimal(total)) for total in (0, 50, 199, 200)] == [50, 100, 200, None]
    assert lowest_above([*alerts, alert_of(TENANT, "every", threshold_of(70, EVERY))], Decimal(200)) == 210


def test_an_alert_that_is_activated_is_due_from_the_end_of_the_log() -> None:
    alert = alert_of(TENANT).deactivated()
    assert (alert.status, alert.is_due) == (AlertStatus.INACTIVE, False)
    activated = alert.activated(40)
    assert (activated.status, activated.is_due, activated.since_offset) == (AlertStatus.ACTIVE, True, 40)
    assert (activated.archived().status, activated.archived().is_due) == (AlertStatus.ARCHIVED, False)


def test_a_day_starts_at_midnight_utc() -> None:
    assert day_start_of(FEBRUARY_29_MS + DAY_MS - 1) == FEBRUARY_29_MS
    assert day_start_of(FEBRUARY_29_MS) == FEBRUARY_29_MS
