"""Fixtures for tests of every kind."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streamgauge import native
from streamgauge.adapters.clickhouse.clients import embedded_clients
from streamgauge.adapters.clickhouse.store import ClickHouseStore

# On a busy machine an example may take any time; what must be fast is measured elsewhere.
settings.register_profile("streamgauge", deadline=None)
settings.load_profile("streamgauge")


@pytest.fixture(scope="session")
def new_clickhouse_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ClickHouseStore]]:
    """Makes empty stores. A process can have one embedded engine, so each store is a database of its own in it."""
    writer, reader = embedded_clients(Path(tmp_path_factory.mktemp("engine")))
    numbers = itertools.count()
    yield lambda: ClickHouseStore(writer, reader, f"test_{next(numbers)}")
    reader.close()
    writer.close()


@pytest.fixture(scope="module", params=["compiled", "python"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test of the module twice: with the compiled part, and as where it could not be built."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setattr(native, "compiled", None)
        elif native.compiled is None:
            pytest.skip("the compiled part is not built here")
        yield
