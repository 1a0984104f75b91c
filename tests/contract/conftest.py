"""Fixtures for the contracts."""

import pytest

from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.engine.ports.usage_store import UsageStore


@pytest.fixture(params=["memory", "clickhouse"])
def store(request: pytest.FixtureRequest) -> UsageStore:
    """An empty usage store of each adapter. The modules of other ports have a `store` of their own."""
    if request.param == "memory":
        return MemoryUsageStore()
    made: UsageStore = request.getfixturevalue("new_clickhouse_store")()
    return made
