"""What several of the faults need."""

import pytest

from tests.support.faults import Shim, built_shim


@pytest.fixture
def shim(tmp_path_factory: pytest.TempPathFactory) -> Shim:
    """A folder of its own for each test: nothing of one is armed in the next."""
    return built_shim(tmp_path_factory.mktemp("shim"))
