"""Fixtures for tests of every kind."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from streamgauge import native
from streamgauge.adapters.clickhouse.clients import another_embedded_client, embedded_clients
from streamgauge.adapters.clickhouse.store import ClickHouseStore
from tests.clients.matrix import OFFICIAL_CLIENT
from tests.support.faults import Shim, built_shim
from tests.support.left_secrets import secrets_left_in

# On a busy machine an example may take any time; what must be fast is measured elsewhere.
settings.register_profile("streamgauge", deadline=None)
settings.load_profile("streamgauge")

SECRETS_LEFT = pytest.StashKey[list[str]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """After all tests: no secret is in what they left, wherever in the service it may have slipped out."""
    if hasattr(session.config, "workerinput") or session.config.option.collectonly:
        return  # a worker: its folders lie in those of the process that looks through all
    basetemp: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]  # its one place
    found = list(secrets_left_in(basetemp.getbasetemp()))
    if found:
        session.config.stash[SECRETS_LEFT] = found
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = [
        str(value)
        for report in itertools.chain.from_iterable(terminalreporter.stats.values())
        if getattr(report, "when", None) == "teardown"
        for name, value in report.user_properties
        if name == OFFICIAL_CLIENT
    ]
    if rows:
        terminalreporter.section("official clients")
        for row in sorted(rows):
            terminalreporter.line(row)
    found = config.stash.get(SECRETS_LEFT, [])
    if found:
        terminalreporter.section("secrets in what the tests left", red=True)
        for each in found:
            terminalreporter.line(each)


@pytest.fixture(scope="session")
def new_clickhouse_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], ClickHouseStore]]:
    """Makes empty stores. A process can have one embedded engine, so each store is a database of its own in it."""
    folder = Path(tmp_path_factory.mktemp("engine"))
    writer, reader = embedded_clients(folder)
    events_writer = another_embedded_client(folder)
    numbers = itertools.count()
    yield lambda: ClickHouseStore(writer, reader, f"test_{next(numbers)}", events_writer=events_writer)
    events_writer.close()
    reader.close()
    writer.close()


@pytest.fixture
def shim(tmp_path_factory: pytest.TempPathFactory) -> Shim:
    """A folder of its own for each test: nothing of one is armed in the next."""
    return built_shim(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module", params=["compiled", "python"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test of the module twice: with the compiled part, and as where it could not be built."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "python":
            patch.setattr(native, "compiled", None)
        elif native.compiled is None:
            pytest.skip("the compiled part is not built here")
        yield
