"""What the commands share: options, the folder for the servers' data, runs within a time, the report."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from benchmarks.failure import BenchmarkFailed

# On the disk of the repository: a temporary folder is memory on many machines, and there fsync costs nothing.
RESULTS = Path(__file__).parent / "results"
WORK_DIR = RESULTS / "tmp"

CUSTOMERS, SMOKE_CUSTOMERS = 2_000, 40
CONNECTIONS, RUNS = 64, 5

events_option = click.option("--events", type=click.IntRange(1), help="Events to send.")
runs_option = click.option("--runs", type=click.IntRange(1), help=f"Runs, or restarts.  [default: {RUNS}]")
customers_option = click.option("--customers", type=click.IntRange(1), help="Customers to create.")
connections_option = click.option("--connections", type=click.IntRange(1), default=CONNECTIONS, show_default=True)
seed_option = click.option("--seed", type=int, default=1, show_default=True, help="Seed of the workload.")
smoke_option = click.option("--smoke", is_flag=True, help="One small run: does it work at all?")
json_option = click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures there.")

Note = Callable[[str], None]
Run = TypeVar("Run")


@contextmanager
def work_dir() -> Iterator[Path]:
    """A folder for the servers' data, removed at the end; a failed benchmark becomes the exit status."""
    WORK_DIR.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=WORK_DIR))
    try:
        yield folder
    except BenchmarkFailed as failure:
        notes: list[str] = getattr(failure, "__notes__", [])
        raise click.ClickException("\n".join([str(failure), *notes])) from failure
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fresh(folder: Path) -> Path:
    """An empty folder for the next server; what the run before left is removed, so that disks do not fill up."""
    for entry in folder.iterdir():
        shutil.rmtree(entry)
    return Path(tempfile.mkdtemp(dir=folder))


def repeated(
    count: int, folder: Path, note: Note, run: Callable[[Path, Note], Run], deadline: float | None = None
) -> Sequence[Run]:
    """At least one run, and up to `count` of them while `deadline` (time.monotonic) has not passed."""
    done: list[Run] = []
    for number in range(1, count + 1):
        if done and deadline is not None and time.monotonic() > deadline:
            note(f"no time is left for run {number} of {count}")
            break
        prefix = f"run {number}: " if count > 1 else ""
        done.append(run(fresh(folder), lambda text, prefix=prefix: note(prefix + text)))  # type: ignore[misc]
    return done


def noting(console: Console) -> Note:
    return lambda text: console.print(text, style="dim", markup=False, highlight=False)


def command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


class EventCount(click.ParamType[int]):
    """A number of events: 500000, 1M, 100k."""

    name = "events"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).replace("_", "").replace(",", "")
        factor = {"k": 1_000, "m": 1_000_000, "g": 1_000_000_000}.get(text[-1:].lower(), 1)
        try:
            return int(float(text[:-1] if factor > 1 else text) * factor)
        except ValueError:
            self.fail(f"{value!r} is no number of events: 500000, 1M, 100k", param, ctx)
