"""A folder's content at one moment, without copying it: files that are never written to again are linked."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from streamgauge.domain.errors import Unavailable

_ATTEMPTS_MAX: Final = 20


def link_copy(source: Path, target: Path, *, without: tuple[str, ...]) -> None:
    """Make the folder `target` of links to the files of `source`, but for those that are called as in `without`.

    Whoever owns the source may add files, and delete old ones: then it is begun again, since a set of files that
    belong together must not lack one. Raises Unavailable when that does not come to an end, or files cannot be linked.
    """
    ignored: Callable[[str, list[str]], set[str]] = shutil.ignore_patterns(*without)
    for _ in range(_ATTEMPTS_MAX):
        try:
            shutil.copytree(source, target, symlinks=True, ignore=ignored, copy_function=os.link)
        except (shutil.Error, OSError) as error:
            shutil.rmtree(target, ignore_errors=True)
            failure = error
        else:
            return
    raise Unavailable(f"could not link {source} to {target}: {failure}") from failure
