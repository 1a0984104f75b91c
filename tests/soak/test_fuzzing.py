"""All decoders under mutation, other inputs in every run, STREAMGAUGE_SOAK_EXECUTIONS (10,000,000) in all.

`make soak` runs this, `make test` only for a moment each. The seed is printed; STREAMGAUGE_TEST_SEED takes one. The
decoders take turns, each going on with what its mutations have found.
"""

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.fuzzing import IS_THERE, WHY_SKIPPED, fuzz
from tests.fuzz.targets import TARGETS
from tests.soak.bounds import EXECUTIONS, EXECUTIONS_SECONDS_MAX, new_seed, report

TURN_SECONDS = 30


@pytest.mark.timeout(EXECUTIONS_SECONDS_MAX + 900)
@pytest.mark.skipif(not IS_THERE, reason=WHY_SKIPPED)
def test_mutated_inputs_are_decoded_as_documented(tmp_path: Path) -> None:
    seed, end = new_seed(), time.monotonic() + EXECUTIONS_SECONDS_MAX
    executions: Counter[str] = Counter()
    turns = 0
    while executions.total() < EXECUTIONS and time.monotonic() < end:
        seconds = min(TURN_SECONDS, max(EXECUTIONS // 100_000, 2))
        for name in TARGETS:
            fuzzed = fuzz(name, tmp_path / name, seconds=seconds, seed=seed + turns)
            assert not fuzzed.fault, fuzzed.fault
            executions[name] += fuzzed.executions
        turns += 1
    told = ", ".join(f"{name} {number:,}" for name, number in sorted(executions.items()))
    came_to = f"{executions.total():,} executions ({told}), no finding"
    report("fuzzing", seed, came_to, is_short=executions.total() < EXECUTIONS)
