"""The matrix of a run: printed at its end, and kept in .clients/matrix.json."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.clients.matrix import OFFICIAL_CLIENT, Row
from tests.clients.programs import BUILDS

ROWS = pytest.StashKey[list[Row]]()


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
