"""The small compiled part: bodies to columns, and the columns of many requests to one.

It is built when the package is installed on a machine with a C compiler and Python's headers (`hatch_build.py`).
Elsewhere `compiled` is None and the same work is done in Python: slower, with the same result. docs/adr/0016 says what
it gains.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

VERSION: Final = 3  # of what `_columns.pyi` says; a module that an older checkout left behind has another

compiled: "ModuleType | None"
try:
    from streamgauge.native import _columns

    compiled = _columns if _columns.VERSION == VERSION else None
except ImportError:  # not built here, or for another Python
    compiled = None
