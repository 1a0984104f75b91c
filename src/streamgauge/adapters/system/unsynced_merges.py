"""Merged parts of the usage store of which a power cut left the name and not the files.

The embedded engine syncs the folder of an inserted part before the part gets its name, but that of a merged one only
afterwards. In between a disk may show the name, and in the folder no file, or some. The engine then calls the part
damaged and does not start. What it was merged from is still there, since the engine keeps that for a minute: so the
folder can go, and nothing with it.

An empty part that stands for a day that was just dropped lacks the files of indexes, too, and goes in the same way.
Then the day is there again until retention drops it once more.
"""

import logging
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streamgauge.adapters.system.durable_files import sync_folder

logger = logging.getLogger(__name__)

_PART: Final = re.compile(r"(\w+)_(\d+)_(\d+)_(\d+)")
# Written last. Of all others a part has those that what it was merged from has, but for its columns, which are in one
# file or in one for each.
_CHECKSUMS: Final = "checksums.txt"
_COLUMNS: Final = (".bin", ".cmrk4")


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    partition: str
    first_block: int
    last_block: int
    level: int
    names: frozenset[str]

    def spans(self, other: "_Part") -> bool:
        return (
            self.partition == other.partition
            and self.first_block <= other.first_block
            and other.last_block <= self.last_block
        )


def take_back_unsynced_merges(store: Path) -> None:
    """Delete them, before the engine opens the store. Parts whose rows are nowhere else stay as they are."""
    for table in store.glob("store/*/*"):
        whole: list[_Part] = []
        # A part is of a higher level than what it was merged from.
        for part in sorted(_parts(table), key=lambda part: part.level):
            sources = [each for each in whole if part.spans(each)]
            if _is_covered(part, sources) and _lacks_names(part, sources):
                logger.warning("merge taken back, since it had not been synced part=%s", part.path)
                shutil.rmtree(part.path)
                sync_folder(table)
            elif _CHECKSUMS in part.names:
                whole.append(part)


def _parts(table: Path) -> Iterable[_Part]:
    if not table.is_dir():
        return
    for path in table.iterdir():
        if found := _PART.fullmatch(path.name):
            partition, first, last, level = found.groups()
            names = frozenset(each.name for each in path.iterdir())
            yield _Part(path, partition, int(first), int(last), int(level), names)


def _is_covered(part: _Part, sources: Sequence[_Part]) -> bool:
    """Whether the sources have all of its blocks. One that no insert got is a gap, and then the answer is no."""
    reached = part.first_block
    for source in sorted(sources, key=lambda each: each.first_block):
        if source.first_block > reached:
            return False
        reached = max(reached, source.last_block + 1)
    return reached > part.last_block


def _lacks_names(part: _Part, sources: Sequence[_Part]) -> bool:
    common = frozenset.intersection(*(each.names for each in sources))
    expected = {name for name in common if not name.endswith(_COLUMNS)}
    has_columns = any(name.endswith(".bin") for name in part.names)
    return _CHECKSUMS not in part.names or not has_columns or not expected <= part.names
