"""What a process of the server leaves out, although it is installed."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)
        return None


def leave_out_pandas() -> None:
    """The engine of the store brings pandas along, and PyArrow imports it to look whether a list that it is given is a
    Series: a third of a second within the first step, and 50 MB, for an answer that is always no."""
    sys.meta_path.insert(0, _NoPandas())
