import pytest

from .control_edge import ControlEdge


@pytest.fixture
def edge() -> ControlEdge:
    return ControlEdge()
