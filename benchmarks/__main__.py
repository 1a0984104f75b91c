"""`python -m benchmarks`: throughput; `... restart`: time from start to ready; `... single`: events one by one."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from benchmarks import machine, report, restart, single, throughput
from benchmarks.failure import BenchmarkFailed
from benchmarks.workload import Shape

# On the disk of the repository: a temporary folder is memory on many machines, and there fsync costs nothing.
WORK_DIR = Path(__file__).parent / "results" / "tmp"

EVENTS, SMOKE_EVENTS, RESTART_EVENTS = 3_000_000, 20_000, 10_000_000
SINGLE_EVENTS, SMOKE_SINGLE_EVENTS, SINGLE_CUSTOMERS = 20_000, 300, 20
CUSTOMERS, SMOKE_CUSTOMERS = 2_000, 200
CONNECTIONS, RUNS = 32, 3

events_option = click.option("--events", type=click.IntRange(1), help="Events to send.")
runs_option = click.option("--runs", type=click.IntRange(1), help=f"Runs, or restarts.  [default: {RUNS}]")
customers_option = click.option("--customers", type=click.IntRange(1), help="Customers to create.")
connections_option = click.option("--connections", type=click.IntRange(1), default=CONNECTIONS, show_default=True)
seed_option = click.option("--seed", type=int, default=1, show_default=True, help="Seed of the workload.")
smoke_option = click.option("--smoke", is_flag=True, help=f"One run of {SMOKE_EVENTS:,} events: does it work at all?")
json_option = click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures there.")


@click.group(invoke_without_command=True)
@events_option
@runs_option
@customers_option
@connections_option
@seed_option
@smoke_option
@json_option
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop sending after this long.")
@click.option("--duplicates", type=click.FloatRange(0, 0.5), default=0.01, show_default=True, help="Share of retries.")
@click.option("--invalid", type=click.FloatRange(0, 0.5), default=0.001, show_default=True, help="Unknown customers.")
@click.pass_context
def main(
    context: click.Context,
    events: int | None,
    runs: int | None,
    customers: int | None,
    connections: int,
    seed: int,
    smoke: bool,
    json_path: Path | None,
    seconds: float | None,
    duplicates: float,
    invalid: float,
) -> None:
    """Events per second, acknowledged durably and visible in exact totals."""
    if context.invoked_subcommand is not None:
        return
    console = Console()
    plan = throughput.Plan(
        shape=Shape(
            events=events or (SMOKE_EVENTS if smoke else EVENTS),
            seed=seed,
            duplicate_share=duplicates,
            invalid_share=invalid,
        ),
        customers=customers or (SMOKE_CUSTOMERS if smoke else CUSTOMERS),
        connections=connections,
        seconds=seconds,
    )
    count = runs or (1 if smoke else RUNS)
    with _work_dir() as folder:
        where = machine.describe(folder)
        done = [
            throughput.run(plan, _fresh(folder), partial(_note, console, f"run {run}: ")) for run in range(1, count + 1)
        ]
    figures = report.throughput_figures(done)
    checked = sum(run.totals_checked for run in done)
    report.show(console, f"{done[0].events:,} events, {connections} connections", figures, count, checked, where)
    if json_path is not None:
        report.write_json(json_path, _command(), where, figures, done, plan)


@main.command("restart")
@events_option
@runs_option
@customers_option
@connections_option
@seed_option
@smoke_option
@json_option
def restart_command(
    events: int | None,
    runs: int | None,
    customers: int | None,
    connections: int,
    seed: int,
    smoke: bool,
    json_path: Path | None,
) -> None:
    """Seconds from starting the server on a filled folder to the first 200 of /readyz."""
    console = Console()
    shape = Shape(events=events or (SMOKE_EVENTS if smoke else RESTART_EVENTS), seed=seed)
    customers = customers or (SMOKE_CUSTOMERS if smoke else CUSTOMERS)
    count = runs or (1 if smoke else RUNS)
    with _work_dir() as folder:
        where = machine.describe(folder)
        done = restart.run(shape, customers, connections, count, _fresh(folder), partial(_note, console, ""))
    figures = report.restart_figures(done)
    report.show(console, f"Restart with {done.events:,} events stored", figures, count, done.totals_checked, where)
    if json_path is not None:
        report.write_json(json_path, _command(), where, figures, [done])


@main.command("single")
@events_option
@runs_option
@connections_option
@smoke_option
@json_option
def single_command(events: int | None, runs: int | None, connections: int, smoke: bool, json_path: Path | None) -> None:
    """Single events per second over v1, each validated, durable and told apart from repeats when it is answered."""
    console = Console()
    events = events or (SMOKE_SINGLE_EVENTS if smoke else SINGLE_EVENTS)
    count = runs or (1 if smoke else RUNS)
    with _work_dir() as folder:
        where = machine.describe(folder)
        done = [
            single.run(events, SINGLE_CUSTOMERS, connections, _fresh(folder), partial(_note, console, f"run {run}: "))
            for run in range(1, count + 1)
        ]
    figures = report.single_figures(done)
    title = f"{events:,} single events, {connections} connections"
    report.show(console, title, figures, count, SINGLE_CUSTOMERS * count, where)
    if json_path is not None:
        report.write_json(json_path, _command(), where, figures, done)


@contextmanager
def _work_dir() -> Iterator[Path]:
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


def _fresh(folder: Path) -> Path:
    """An empty folder for the next server; what the run before left is removed, so that disks do not fill up."""
    for entry in folder.iterdir():
        shutil.rmtree(entry)
    return Path(tempfile.mkdtemp(dir=folder))


def _note(console: Console, prefix: str, text: str) -> None:
    console.print(prefix + text, style="dim", markup=False, highlight=False)


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
