"""A minute of twice and more than the server takes; tests/faults/test_overload.py has goal and method."""

import time
from pathlib import Path

import pytest

from tests.e2e.test_rate_limits import stream
from tests.faults.test_overload import overloaded
from tests.soak.bounds import report
from tests.support.offered_load import EVENTS_PER_REQUEST, Caller, median, percentile_99
from tests.support.server import Client, Server

SECONDS = 60
# Between the first and the last third: buffers settle, merges come and go, and a leak of a request would be far more.
LATE_GROWTH_BYTES_MAX = 300 * 2**20
LIMIT = 2_000
LIMITED_SECONDS = 30


@pytest.mark.timeout(SECONDS + 240)
def test_a_minute_of_overload_takes_no_more_memory_than_its_beginning(tmp_path: Path) -> None:
    offered = overloaded(tmp_path, SECONDS)
    third = len(offered.memory) // 3
    assert max(offered.memory[-third:]) - max(offered.memory[:third]) < LATE_GROWTH_BYTES_MAX
    refused = sum(offered.refused.values())
    # Twice the maximum, or more: for each request that was taken there was one that was not.
    assert refused * EVENTS_PER_REQUEST >= offered.answered
    report(
        "overload",
        None,
        f"{offered.answered:,} events answered, {refused:,} requests of {EVENTS_PER_REQUEST} refused in {SECONDS} s, "
        f"refusals p50 {median(offered.seconds_of_refusals) * 1000:.0f} ms, "
        f"p99 {percentile_99(offered.seconds_of_refusals) * 1000:.0f} ms, "
        f"answers as usual after {offered.recovery_seconds:.1f} s, "
        f"memory at most {max(offered.memory) / 2**20:.0f} MiB",
    )


@pytest.mark.timeout(LIMITED_SECONDS + 120)
def test_a_rate_limit_lets_through_what_it_says_within_two_percent(tmp_path: Path) -> None:
    with Server(tmp_path / "data", rate_limit_events_per_second=LIMIT) as server, Client(server.url) as client:
        token = client.session()
        body = Caller(server.url, token, client.customer(), "limited").body
        while stream(client, token, body()).status_code == 200:
            pass  # what may come at once after a pause
        taken, began = 0, time.monotonic()
        while (seconds := time.monotonic() - began) < LIMITED_SECONDS:
            taken += EVENTS_PER_REQUEST * (stream(client, token, body()).status_code == 200)
        share = taken / (LIMIT * seconds)
    assert abs(share - 1) <= 0.02, share
    report("rate_limit", None, f"{LIMIT:,} events/s allowed, {share:.2%} of them taken in {seconds:.0f} s")
