"""Fixtures for tests of every kind."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamgauge.adapters.clickhouse.clients import embedded_clients
from streamgauge.adapters.clickhouse.store import ClickHouseStore


@pytest.fixture(scope="session")
def new_clickhouse_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ClickHouseStore]]:
    """Makes empty stores. A process can have one embedded engine, so each store is a database of its own in it."""
    writer, reader = embedded_clients(Path(tmp_path_factory.mktemp("engine")))
    numbers = itertools.count()
    yield lambda: ClickHouseStore(writer, reader, f"test_{next(numbers)}")
    reader.close()
    writer.close()
