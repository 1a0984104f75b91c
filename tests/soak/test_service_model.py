"""Histories of the whole service beside the oracle for as long as one likes, other ones in every run.

`make soak` runs this, `make test` only the same few (tests/properties/test_service_model.py). The seed is printed;
STREAMGAUGE_TEST_SEED takes one, and STREAMGAUGE_SOAK_SECONDS says how long each storage is tried.
"""

import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from tests.soak.bounds import SECONDS, new_seed, report
from tests.support.service_model import ServiceModel, model_on_disk

HISTORIES = 20  # between two looks at the clock
LONG = settings(
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    max_examples=HISTORIES,
    stateful_step_count=60,
)


@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("storage", ["memory", "disk"])
def test_nothing_is_lost_and_nothing_doubled(storage: str, new_clickhouse_store: Callable[[], ClickHouseStore]) -> None:
    first_seed = new_seed()
    model = ServiceModel if storage == "memory" else model_on_disk(new_clickhouse_store)
    until, runs = time.monotonic() + SECONDS, 0
    while runs == 0 or time.monotonic() < until:
        print(f"{storage}: seed {first_seed + runs}", flush=True)  # noqa: T201  # `make soak` shows it
        # A class of its own, because a seed stays with its class.
        run_state_machine_as_test(seed(first_seed + runs)(type("Seeded", (model,), {})), settings=LONG)
        runs += 1
    report(f"service_model, {storage}", first_seed, f"{runs * HISTORIES} histories as the oracle has them")
