"""One power cut after the other, other ones in every run, STREAMGAUGE_SOAK_CUTS times (200).

`make soak` runs this, `make test` does not. The seed is printed; STREAMGAUGE_TEST_SEED takes one.
tests/faults/test_lost_writes.py has goal and method.
"""

import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.faults.lost_writes.program import PoweredServer, build_shim
from tests.faults.lost_writes.rounds import SETTINGS, Rounds
from tests.soak.bounds import CUTS, CUTS_SECONDS_MAX, new_seed, report

# On one folder; then comes a new one, so that comparing all of it does not take longer and longer.
ROUNDS = 25


@pytest.mark.timeout(CUTS_SECONDS_MAX + 900)
@pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="power cuts need Linux and gcc")
def test_power_cuts_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed, end = new_seed(), time.monotonic() + CUTS_SECONDS_MAX
    shim = build_shim(tmp_path)
    cuts, events, slowest = 0, 0, 0.0
    while cuts < CUTS and time.monotonic() < end:
        root = tmp_path / str(cuts)
        root.mkdir()
        rounds = Rounds(PoweredServer(root, shim, **SETTINGS), seed + cuts)
        while rounds.cuts < min(ROUNDS, CUTS - cuts) and time.monotonic() < end:
            rounds.run()
        rounds.end()
        cuts, slowest = cuts + rounds.cuts, max(slowest, rounds.slowest_start_seconds)
        events += len(rounds.ledger.sent)
        shutil.rmtree(root)
    came_to = f"{cuts} power cuts, {events:,} events: 0 lost, 0 doubled; slowest start {slowest:.1f} s"
    report("lost_writes", seed, came_to, is_short=cuts < CUTS)
