"""How long soaks are, and where they say what they came to."""

import json
import os
import random
from pathlib import Path
from typing import Final

# Soaks that count end when they have so many, or their time is over.
KILLS: Final = int(os.environ.get("STREAMGAUGE_SOAK_KILLS", 500))
KILLS_SECONDS_MAX: Final = 110 * 60
CUTS: Final = int(os.environ.get("STREAMGAUGE_SOAK_CUTS", 200))
CUTS_SECONDS_MAX: Final = 60 * 60
EXECUTIONS: Final = int(os.environ.get("STREAMGAUGE_SOAK_EXECUTIONS", 10_000_000))
EXECUTIONS_SECONDS_MAX: Final = 25 * 60
# The others take as long as they are given, each of their parts.
SECONDS: Final = int(os.environ.get("STREAMGAUGE_SOAK_SECONDS", 90))


def new_seed() -> int:
    """STREAMGAUGE_TEST_SEED, or another one each time; printed, so that the run can be done again."""
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(1, 10**6)))
    print(f"seed {seed}", flush=True)  # noqa: T201  # `make soak` shows it as it is printed
    return seed


def report(soak: str, seed: int | None, came_to: str, *, is_short: bool = False) -> None:
    """Print it, and add it to what the summary is made of, if there is to be one."""
    print(f"{soak}: {came_to}", flush=True)  # noqa: T201  # the same
    if (summary := os.environ.get("STREAMGAUGE_SOAK_SUMMARY")) is not None:
        with Path(summary).open("a") as file:
            file.write(json.dumps({"soak": soak, "seed": seed, "came_to": came_to, "is_short": is_short}) + "\n")
