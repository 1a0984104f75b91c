"""The matrix of a run: printed at its end, and kept in .clients/matrix.json."""

import json
from pathlib import Path

import pytest

from tests.clients.matrix import Row

BUILDS = Path(__file__).parents[2] / ".clients"  # git-ignored; a folder for each client, and the matrix
ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture(scope="session")
def builds() -> Path:
    return BUILDS


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> list[Row]:
    """To be filled by the tests, a row for each client."""
    return request.config.stash.setdefault(ROWS, [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    rows = session.config.stash.get(ROWS, [])
    if rows:
        BUILDS.mkdir(exist_ok=True)
        (BUILDS / "matrix.json").write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("official clients")
        for row in rows:
            terminalreporter.line(row.shown())
