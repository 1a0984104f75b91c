"""The installed program as a command that ends by itself, and what lies in a data folder afterwards."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Read = TypeVar("Read")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of the standard error output."""
        return self.err.splitlines()


def run(*arguments: str, seconds: float = 60, **settings: object) -> Ended:
    """`streamgauge` with these arguments and settings, and no others of the environment's."""
    return run_module("streamgauge", *arguments, seconds=seconds, **settings)


def run_module(module: str, *arguments: str, seconds: float = 60, **settings: object) -> Ended:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
    environment |= {f"STREAMGAUGE_{name.upper()}": str(value) for name, value in settings.items()}
    # Wide enough that no table is wrapped.
    environment |= {"COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """False also for a process that has ended and that nobody has asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def files_in(folder: Path) -> Iterator[Path]:
    """Every file and folder below, without links and sockets. A running server may take some away meanwhile."""
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            if not path.is_symlink() and (path.is_file() or path.is_dir()):
                yield path


def still_there(paths: Iterable[Path], read: Callable[[Path], Read]) -> Iterator[Read]:
    """What is read of each, but of those that a running server has taken away."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield read(path)
