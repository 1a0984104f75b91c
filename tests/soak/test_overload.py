"""A minute of twice and more than the server takes; tests/faults/test_overload.py has goal and method."""

from pathlib import Path

import pytest

from tests.faults.test_overload import overloaded
from tests.soak.bounds import report
from tests.support.offered_load import median

SECONDS = 60
# Between the first and the last third: buffers settle, merges come and go, and a leak of a request would be far more.
LATE_GROWTH_BYTES_MAX = 300 * 2**20


@pytest.mark.timeout(SECONDS + 240)
def test_a_minute_of_overload_takes_no_more_memory_than_its_beginning(tmp_path: Path) -> None:
    offered = overloaded(tmp_path, SECONDS)
    third = len(offered.memory) // 3
    assert max(offered.memory[-third:]) - max(offered.memory[:third]) < LATE_GROWTH_BYTES_MAX
    report(
        "overload",
        None,
        f"{offered.answered} events answered, {sum(offered.refused.values())} requests refused in {SECONDS} s, "
        f"refusals p50 {median(offered.seconds_of_refusals) * 1000:.0f} ms, "
        f"memory at most {max(offered.memory) / 2**20:.0f} MiB",
    )
