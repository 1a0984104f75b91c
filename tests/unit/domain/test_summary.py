"""Ranges of summaries: where they may begin and end, and ids that stay the same."""

import pytest

from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.meter import EventTimeWindow
from streamgauge.domain.summary import Range, aligned_range, summary_id

HOUR, DAY = EventTimeWindow.HOUR, EventTimeWindow.DAY
HOUR_S, DAY_S = 3_600, 86_400
MIDNIGHT_S = 1_717_200_000  # 2024-06-01T00:00:00Z
LATEST_S = 2**32 - 1


@pytest.mark.parametrize(
    ("start_s", "end_s", "grouping", "fault"),
    [
        (MIDNIGHT_S, MIDNIGHT_S + 60, None, None),
        (MIDNIGHT_S + 60, MIDNIGHT_S + DAY_S + 120, None, None),
        (0, 60, None, None),
        (0, LATEST_S // 60 * 60, None, None),
        (MIDNIGHT_S, MIDNIGHT_S + HOUR_S, HOUR, None),
        (MIDNIGHT_S + HOUR_S, MIDNIGHT_S + 40 * DAY_S, HOUR, None),
        (MIDNIGHT_S, MIDNIGHT_S + DAY_S, DAY, None),
        (MIDNIGHT_S + 1, MIDNIGHT_S + 60, None, "start_time"),
        (MIDNIGHT_S + 59, MIDNIGHT_S + 120, None, "start_time"),
        (MIDNIGHT_S, MIDNIGHT_S + 61, None, "end_time"),
        (MIDNIGHT_S + 1, MIDNIGHT_S + 61, None, "start_time"),  # of two faults the first
        (MIDNIGHT_S + 60, MIDNIGHT_S + HOUR_S, HOUR, "start_time"),
        (MIDNIGHT_S, MIDNIGHT_S + HOUR_S + 60, HOUR, "end_time"),
        (MIDNIGHT_S + HOUR_S, MIDNIGHT_S + DAY_S, DAY, "start_time"),
        (MIDNIGHT_S, MIDNIGHT_S + 25 * HOUR_S, DAY, "end_time"),
        (MIDNIGHT_S, MIDNIGHT_S, None, "end_time"),
        (MIDNIGHT_S, MIDNIGHT_S, DAY, "end_time"),
        (MIDNIGHT_S + 60, MIDNIGHT_S, None, "end_time"),
        (-60, 60, None, "start_time"),
        (-120, -60, None, "start_time"),
        (0, LATEST_S + 1, None, "end_time"),
        (0, 2**63 // 60 * 60, None, "end_time"),
        (MIDNIGHT_S * 1000, MIDNIGHT_S * 1000 + 60, None, "start_time"),  # milliseconds
    ],
)
def test_both_ends_stand_on_the_boundaries_of_the_grouping(
    start_s: int, end_s: int, grouping: EventTimeWindow | None, fault: str | None
) -> None:
    if fault is None:
        assert aligned_range(start_s, end_s, grouping) == Range(start_s, end_s)
        return
    with pytest.raises(InvalidRequest) as refusal:
        aligned_range(start_s, end_s, grouping)
    assert refusal.value.param == fault
    assert fault in refusal.value.message


@pytest.mark.parametrize(("grouping", "unit"), [(None, "minute"), (HOUR, "UTC hour"), (DAY, "UTC day")])
def test_a_refusal_names_the_boundary(grouping: EventTimeWindow | None, unit: str) -> None:
    with pytest.raises(InvalidRequest, match=f"aligned with {unit} boundaries"):
        aligned_range(MIDNIGHT_S + 1, MIDNIGHT_S + DAY_S, grouping)


def test_the_id_of_a_summary_never_changes() -> None:
    assert summary_id("mtr_1", "cus_1", Range(0, 60)) == "mtrusg_2ed4f5884536027e792836b0"


def test_every_window_of_every_meter_and_customer_has_an_id_of_its_own() -> None:
    keys = [
        ("mtr_1", "cus_1", Range(0, 60)),
        ("mtr_1", "cus_1", Range(0, 120)),
        ("mtr_1", "cus_1", Range(60, 120)),
        ("mtr_1", "cus_2", Range(0, 60)),
        ("mtr_2", "cus_1", Range(0, 60)),
        # Only where the parts are cut differs.
        ("mtr_1c", "us_1", Range(0, 60)),
        ("mtr_", "1cus_1", Range(0, 60)),
        ("mtr_1", "cus_10", Range(0, 60)),
        ("mtr_1", "cus_1", Range(6, 0)),
    ]
    assert len({summary_id(*key) for key in keys}) == len(keys)
