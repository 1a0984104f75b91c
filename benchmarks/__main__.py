"""`python -m benchmarks`: the throughput; `... COMMAND`: another benchmark; `... suite`: the main set of them."""

from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from benchmarks import commands, machine, report, throughput
from benchmarks.command_line import (
    CUSTOMERS,
    RUNS,
    SMOKE_CUSTOMERS,
    command,
    connections_option,
    customers_option,
    events_option,
    json_option,
    noting,
    repeated,
    runs_option,
    seed_option,
    smoke_option,
    work_dir,
)
from benchmarks.workload import Shape

EVENTS, SMOKE_EVENTS, SMOKE_CEILING_SECONDS = 3_000_000, 20_000, 0.2


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
@click.option("--alerts", type=click.IntRange(0), default=0, help="Active billing alerts that never fire.")
@click.option("--no-ceilings", is_flag=True, help="Leave out the bare HTTP server.")
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
    alerts: int,
    no_ceilings: bool,
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
        alerts=alerts,
    )
    if smoke or no_ceilings:
        plan = replace(plan, ceiling_seconds=0.0 if no_ceilings else SMOKE_CEILING_SECONDS)
    with work_dir() as folder:
        where = machine.describe(folder)
        done = repeated(
            runs or (1 if smoke else RUNS),
            folder,
            noting(console),
            lambda data_dir, note: throughput.run(plan, data_dir, note),
        )
    figures = throughput.figures(done)
    checked = sum(run.totals_checked for run in done)
    report.show(console, f"{done[0].events:,} events, {connections} connections", figures, len(done), checked, where)
    if json_path is not None:
        report.write_json(json_path, command(), where, figures, done, plan)


commands.add_to(main)

if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
