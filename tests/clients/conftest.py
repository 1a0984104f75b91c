"""The matrix of a run: printed at its end, and kept in .clients/matrix.json."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.matrix import OFFICIAL_CLIENT, Row

BUILDS = Path(__file__).parents[2] / ".clients"  # git-ignored; a folder for each client, and the matrix
ROWS = pytest.StashKey[list[Row]]()


@pytest.fixture(scope="session")
def builds() -> Path:
    return BUILDS


@pytest.fixture
def matrix(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Iterator[list[Row]]:
    """To be filled by a test with the row of its client, which tests/conftest.py prints at the end."""
    rows: list[Row] = []
    yield rows
    request.config.stash.setdefault(ROWS, []).extend(rows)
    for row in rows:
        record_property(OFFICIAL_CLIENT, row.shown())


def pytest_sessionfinish(session: pytest.Session) -> None:
    rows = session.config.stash.get(ROWS, [])
    if rows:
        BUILDS.mkdir(exist_ok=True)
        (BUILDS / "matrix.json").write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")
