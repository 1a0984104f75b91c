"""The retry schedule: soon at first, then rarely, for three days."""

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.domain.retry_schedule import DELAY_MS_MAX, JITTER, SPAN_MS, RetrySchedule

SCHEDULE = RetrySchedule(first_delay_ms=10_000)
NOW_MS = 1_700_000_000_000


def attempts(schedule: RetrySchedule, delivery_id: str) -> list[int]:
    """When a delivery whose every attempt fails at once is tried, after its first attempt at 0."""
    times = [0]
    while (due := schedule.next_attempt_ms(delivery_id, failures=len(times), first_ms=0, now_ms=times[-1])) is not None:
        times.append(due)
    return times


@given(st.integers(1, 10_000), st.text())
def test_a_delay_is_twice_the_one_before_up_to_a_maximum_give_or_take_a_quarter(failures: int, delivery: str) -> None:
    due = SCHEDULE.next_attempt_ms(delivery, failures=failures, first_ms=NOW_MS, now_ms=NOW_MS)
    mean = min(10_000 * 2 ** (failures - 1), DELAY_MS_MAX)
    assert due is not None
    assert mean * (1 - JITTER) <= due - NOW_MS <= mean * (1 + JITTER)


@given(st.text(), st.sampled_from([1_000, 10_000, 3_600_000]))
def test_a_delivery_is_tried_for_three_days_and_then_given_up(delivery: str, first_delay_ms: int) -> None:
    times = attempts(RetrySchedule(first_delay_ms=first_delay_ms), delivery)
    assert times[-1] == SPAN_MS
    assert 10 <= len(times) <= 40


def test_deliveries_that_failed_together_come_back_apart() -> None:
    due = {SCHEDULE.next_attempt_ms(f"dlv_{n}", failures=1, first_ms=0, now_ms=0) for n in range(1_000)}
    assert len(due) > 800


def test_a_restart_comes_to_the_same_times() -> None:
    assert attempts(SCHEDULE, "dlv_1") == attempts(RetrySchedule(first_delay_ms=10_000), "dlv_1")
    assert attempts(SCHEDULE, "dlv_1") != attempts(SCHEDULE, "dlv_2")


def test_the_span_counts_from_the_first_attempt_also_when_the_server_was_away() -> None:
    last = NOW_MS + SPAN_MS
    assert SCHEDULE.next_attempt_ms("dlv_1", failures=1, first_ms=NOW_MS, now_ms=last - 1_000) == last
    assert SCHEDULE.next_attempt_ms("dlv_1", failures=1, first_ms=NOW_MS, now_ms=last) is None
