"""Kills at chosen points, one of some kinds: `make soak` has hundreds, tests/faults/kills.py goal and method."""

import os
import random
from pathlib import Path

import pytest

from tests.faults.kills import KillRounds
from tests.support.faults import Shim


@pytest.mark.timeout(600)
def test_a_kill_at_any_chosen_point_loses_nothing_and_doubles_nothing(tmp_path: Path, shim: Shim) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    rounds = KillRounds(tmp_path, shim, seed)
    for kind in ("at append", "at fsync", "at intent or checkpoint", "at insert", "start"):
        rounds.run(kind)
    assert rounds.points_met
    rounds.end()
