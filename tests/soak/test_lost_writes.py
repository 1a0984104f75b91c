"""One power cut after the other for as long as one likes, other ones in every run.

`make soak` runs this, `make test` does not. The seed is printed; STREAMGAUGE_TEST_SEED takes one, and
STREAMGAUGE_SOAK_SECONDS says how long it lasts. tests/faults/test_lost_writes.py has goal and method.
"""

import os
import random
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.faults.lost_writes.program import PoweredServer, build_shim
from tests.faults.lost_writes.rounds import SETTINGS, Rounds

SECONDS = int(os.environ.get("STREAMGAUGE_SOAK_SECONDS", 600))


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.skipif(shutil.which("gcc") is None or sys.platform != "linux", reason="power cuts need Linux and gcc")
def test_power_cuts_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}")  # noqa: T201  # `make soak` shows it as it is printed
    end = time.monotonic() + SECONDS
    rounds = Rounds(PoweredServer(tmp_path, build_shim(tmp_path), **SETTINGS), seed)
    while time.monotonic() < end:
        rounds.run()
    rounds.end()
    print(f"{rounds.cuts} power cuts, slowest start {rounds.slowest_start_seconds:.1f} s")  # noqa: T201
