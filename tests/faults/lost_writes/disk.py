"""A disk that keeps what was synced, and of the rest what it likes.

POSIX promises little: data of a file is durable when a sync of that file, begun after it was written, has ended; a name
when the same is true of its folder. Everything else may be on the disk after a power cut or not, in any order, whatever
other file was synced. Common file systems promise more, but what holds here holds on all of them.
"""

import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from tests.faults.lost_writes.journal import Kind, Record, read

SECTOR_BYTES: Final = 512


class Mood(Enum):
    """What the disk makes of the changes that were not synced."""

    FORGETFUL = "none survives"
    HOLLOW = "every name survives, but of contents only what was synced: as journalling file systems like to do"
    PICKY = "of each file and folder either all survive or none"
    SCATTERED = "each write survives or not; names of a folder up to a random one; the last write of a file is torn"
    TEARING = "all survive, but the last write of each file is torn"
    KIND = "all survive"


class _Dated(Protocol):
    """What happened at a place of the journal."""

    place: int
    durable: bool


@dataclass(slots=True, eq=False)
class _Change:
    """Of a file's content: `data` at `number`, or with None the length `number`."""

    place: int
    number: int
    data: bytes | None
    durable: bool = False


@dataclass(slots=True, eq=False)
class _Naming:
    """Of a folder: names and what they mean from now on, at once; None is nothing."""

    place: int
    meanings: dict[str, "_Node | None"]
    durable: bool = False


@dataclass(slots=True, eq=False)
class _Node:
    """A file, a folder or a symbolic link, under whatever names."""

    mode: int
    base: Path | None  # where its content before the first change is
    target: str = ""
    name: str = ""
    parent: "_Node | None" = None
    names: dict[str, "_Node"] = field(default_factory=dict)  # of a folder: as the running program sees it
    changes: list[_Change] = field(default_factory=list)
    namings: list[_Naming] = field(default_factory=list)
    links: int = 1


@dataclass(frozen=True, slots=True)
class Lost:
    """What was not durable and did not survive: changes of contents, names, and torn writes."""

    changes: int
    names: int
    torn: int
    files: tuple[str, ...]


class Disk:
    """The folder as it was before the program ran (`base`, which must stay as it is), and what the journal says.

    `watched` is the folder that the program ran on; its inodes are those of the journal. It must have been equal to
    `base` when this was built, so build it before the program starts.
    """

    def __init__(self, base: Path, watched: Path) -> None:
        self._nodes: dict[int, _Node] = {}
        self._root = self._known(base, watched)

    def _known(self, base: Path, watched: Path) -> _Node:
        found = watched.lstat()
        node = _Node(found.st_mode, base)
        self._nodes[found.st_ino] = node
        if stat.S_ISLNK(found.st_mode):
            node.target = os.readlink(watched)
        if stat.S_ISDIR(found.st_mode):
            for each in sorted(base.iterdir()):
                child = node.names[each.name] = self._known(each, watched / each.name)
                child.name, child.parent = each.name, node
            node.namings.append(_Naming(-1, dict(node.names), durable=True))
        return node

    def play(self, journal: Path, until: int | None = None, deaf: Callable[[str], bool] = lambda path: False) -> None:
        """Up to the record at the place `until`, which had not happened yet when the power went.

        `deaf` says of a path, which begins with a slash at the watched folder, that its syncs are ignored: a disk that
        lies.
        """
        self._deaf = deaf
        for record in read(journal):
            if record.place == until:
                return
            self._play(record)

    def _play(self, record: Record) -> None:
        match record.kind:
            case Kind.WRITE | Kind.LENGTH:
                if (node := self._nodes.get(record.inode)) is not None:  # else something that came in from outside
                    data = record.first if record.kind is Kind.WRITE else None
                    node.changes.append(_Change(record.place, record.number, data))
            case Kind.CREATE:
                self._create(record)
            case Kind.UNLINK:
                self._name(record.place, record.folder, {record.first.decode(): None})
            case Kind.RENAME | Kind.EXCHANGE:
                self._rename(record)
            case Kind.SYNC:
                self._sync(record)

    def _create(self, record: Record) -> None:
        node = self._nodes.get(record.inode)
        if node is None or node.links == 0:  # else a further name of the file
            node = _Node(record.number, None, target=record.second.decode(), links=0)
            self._nodes[record.inode] = node
        self._name(record.place, record.folder, {record.first.decode(): node})

    def _rename(self, record: Record) -> None:
        old, new = record.first.decode(), record.second.decode()
        source, target = self._nodes[record.folder], self._nodes[record.second_folder]
        moved, met = source.names.get(old), target.names.get(new)
        left = met if record.kind is Kind.EXCHANGE else None
        if moved is None or moved is met:
            return
        if source is target:
            self._name(record.place, record.folder, {old: left, new: moved})
        else:
            # Two folders are two syncs: the disk may know of one end only.
            self._name(record.place, record.second_folder, {new: moved})
            self._name(record.place, record.folder, {old: left})

    def _name(self, place: int, inode: int, meanings: dict[str, _Node | None]) -> None:
        folder = self._nodes[inode]
        for name, node in meanings.items():
            before = folder.names.pop(name, None)
            if before is not None:
                before.links -= 1
            if node is not None:
                folder.names[name] = node
                node.links += 1
                node.name, node.parent = name, folder
        folder.namings.append(_Naming(place, meanings))

    def _sync(self, record: Record) -> None:
        node = self._nodes.get(record.inode)
        if node is None or self._deaf(_path(node)):
            return
        _make_durable(node.changes, record.number)
        _make_durable(node.namings, record.number)

    def cut_power(
        self, into: Path, mood: Mood, rng: random.Random, spared: Callable[[str], bool] = lambda path: False
    ) -> Lost:
        """Make the folder `into`, which must not be there, as the disk shows it after the power came back.

        `spared` says of a path like those of `deaf` that nothing of it is lost.
        """
        cut = _Cut(mood, rng, spared)
        cut.write(self._root, into, "")
        return Lost(cut.changes, cut.names, cut.torn, tuple(cut.files))


def _make_durable(history: Sequence[_Dated], before: int) -> None:
    for each in reversed(history):
        if each.durable:  # and then all that came earlier is
            return
        each.durable = each.place < before


def _path(node: _Node) -> str:
    return f"{_path(node.parent)}/{node.name}" if node.parent is not None else ""


class _Cut:
    """One outcome; each file and folder is decided once, whatever names it has."""

    def __init__(self, mood: Mood, rng: random.Random, spared: Callable[[str], bool]) -> None:
        self._of_all = mood
        self._spared = spared
        self._rng = rng
        self._written: dict[int, Path] = {}
        self.changes = self.names = self.torn = 0
        self.files: list[str] = []

    def write(self, node: _Node, path: Path, shown: str) -> None:
        self._mood = Mood.KIND if self._spared(shown) else self._of_all
        if stat.S_ISDIR(node.mode):
            path.mkdir(mode=stat.S_IMODE(node.mode))
            for name, child in sorted(self._names(node, shown).items()):
                self.write(child, path / name, f"{shown}/{name}")
        elif stat.S_ISLNK(node.mode):
            path.symlink_to(node.target)
        elif stat.S_ISREG(node.mode):
            if (twin := self._written.get(id(node))) is not None:
                os.link(twin, path)
                return
            self._written[id(node)] = path
            self._write_content(node, path, shown)
            path.chmod(stat.S_IMODE(node.mode))

    def _names(self, node: _Node, shown: str) -> dict[str, _Node]:
        pending = sum(not each.durable for each in node.namings)
        keep = self._names_kept(pending)
        if keep < pending:
            self.names += pending - keep
            self.files.append(f"{shown}/ (names)")
        names: dict[str, _Node] = {}
        for naming in node.namings:
            if not naming.durable:
                if keep == 0:
                    continue
                keep -= 1
            for name, child in naming.meanings.items():
                if child is None:
                    names.pop(name, None)
                else:
                    names[name] = child
        return names

    def _names_kept(self, pending: int) -> int:
        match self._mood:
            case Mood.FORGETFUL:
                return 0
            case Mood.PICKY:
                return self._rng.choice((0, pending))
            case Mood.SCATTERED:
                return self._rng.randint(0, pending)
            case _:
                return pending

    def _write_content(self, node: _Node, path: Path, shown: str) -> None:
        kept = self._kept(node)
        if lost := len(node.changes) - len(kept):
            self.changes += lost
            self.files.append(shown)
        if not kept and node.base is not None:
            shutil.copyfile(node.base, path)
            return
        content = bytearray(node.base.read_bytes() if node.base is not None else b"")
        for change in kept:
            if change.data is None:
                del content[change.number :]
                content.extend(bytes(change.number - len(content)))
                continue
            content.extend(bytes(max(0, change.number - len(content))))
            for start, data in self._pieces(change, is_last=change is kept[-1], shown=shown):
                content.extend(bytes(max(0, start - len(content))))
                content[start : start + len(data)] = data
        path.write_bytes(content)

    def _kept(self, node: _Node) -> list[_Change]:
        match self._mood:
            case Mood.FORGETFUL | Mood.HOLLOW:
                return [each for each in node.changes if each.durable]
            case Mood.PICKY:
                all_survive = self._rng.random() < 0.5
                return [each for each in node.changes if each.durable or all_survive]
            case Mood.SCATTERED:
                return [each for each in node.changes if each.durable or self._rng.random() < 0.5]
            case _:
                return node.changes

    def _pieces(self, change: _Change, *, is_last: bool, shown: str) -> Iterator[tuple[int, bytes]]:
        """What of a write is on the disk: all, a first part of it, or some of its sectors."""
        data = change.data or b""
        if change.durable or not is_last or self._mood not in (Mood.SCATTERED, Mood.TEARING):
            yield change.number, data
            return
        self.torn += 1
        self.files.append(f"{shown} (torn)")
        if self._rng.random() < 0.5:
            yield change.number, data[: self._rng.randrange(len(data))]
            return
        start = 0
        while start < len(data):
            end = start + SECTOR_BYTES - (change.number + start) % SECTOR_BYTES
            if self._rng.random() < 0.5:
                yield change.number + start, data[start:end]
            start = end
