"""Background merges of the embedded engine: they give way to everything else in the process."""

import logging
import os
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_MERGE_THREADS: Final = "MergeMutate"
_LOWEST_PRIORITY: Final = 19


def yield_to_applying() -> int:
    """Give the engine's merge threads the lowest priority; how many there were.

    Merging only tidies: it is due some time, while events are due now. A machine that is busy for long collects parts,
    and at a thousand of them the engine itself slows inserts down. Linux alone sets priorities by thread; elsewhere
    merges compete as before.
    """
    found = 0
    for task in Path("/proc/self/task").glob("*/comm"):
        try:
            if task.read_text().startswith(_MERGE_THREADS):
                os.setpriority(os.PRIO_PROCESS, int(task.parent.name), _LOWEST_PRIORITY)
                found += 1
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
    logger.info("merges yield threads=%d", found)
    return found
