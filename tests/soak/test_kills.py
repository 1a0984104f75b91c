"""SIGKILL of any process and of all, at random and at chosen points, STREAMGAUGE_SOAK_KILLS times (500).

`make soak` runs this. The seed is printed; STREAMGAUGE_TEST_SEED takes one. tests/faults/kills.py has goal and method.
"""

import shutil
import time
from pathlib import Path

import pytest

from tests.faults.kills import KillRounds
from tests.soak.bounds import KILLS, KILLS_SECONDS_MAX, new_seed, report
from tests.support.faults import built_shim

# On one folder; then comes a new one: comparing all of it takes longer and longer, after 40 rounds twice as long.
ROUNDS = 40


@pytest.mark.timeout(KILLS_SECONDS_MAX + 900)
def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed, end = new_seed(), time.monotonic() + KILLS_SECONDS_MAX
    shim = built_shim(tmp_path)
    kills, events, met, slowest = 0, 0, 0, (0.0, "")
    kinds: dict[str, int] = {}
    while kills < KILLS and time.monotonic() < end:
        root = tmp_path / str(kills)
        root.mkdir()
        rounds = KillRounds(root, shim, seed, first_round=kills)
        while rounds.total < min(ROUNDS, KILLS - kills) and time.monotonic() < end:
            rounds.run()
        rounds.end()
        kills, slowest = kills + rounds.total, max(slowest, rounds.slowest_start)
        met += rounds.points_met
        events += len(rounds.ledger.sent)
        for kind, number in rounds.kills.items():
            kinds[kind] = kinds.get(kind, 0) + number
        shutil.rmtree(root)
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    came_to = f"{kills} kills ({told}; {met} at the very point), {events:,} events: 0 lost, 0 doubled; "
    report("kills", seed, f"{came_to}slowest start {slowest[0]:.1f} s ({slowest[1]})", is_short=kills < KILLS)
