"""Decoders under mutation for as long as one likes, other inputs in every run.

`make soak` runs this, `make test` only for a moment each. The seed is printed; STREAMGAUGE_TEST_SEED takes one, and
STREAMGAUGE_SOAK_SECONDS says how long each decoder is tried.
"""

import os
import random
from pathlib import Path

import pytest

from tests.fuzz.fuzzing import IS_THERE, WHY_SKIPPED, fuzz
from tests.fuzz.targets import TARGETS

SECONDS = int(os.environ.get("STREAMGAUGE_SOAK_SECONDS", 600))


@pytest.mark.timeout(SECONDS + 180)
@pytest.mark.skipif(not IS_THERE, reason=WHY_SKIPPED)
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_are_decoded_as_documented(name: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(1, 10**6)))
    print(f"seed {seed}")  # noqa: T201  # `make soak` shows it as it is printed
    fuzzed = fuzz(name, tmp_path, seconds=SECONDS, seed=seed)
    print(f"{name}: {fuzzed.executions} executions, {fuzzed.executions // SECONDS} a second")  # noqa: T201
    assert not fuzzed.fault, fuzzed.fault
