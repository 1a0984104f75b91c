"""The commands beside the throughput: restart, single, latency, idle, scale, compare, and how the figures stand."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from benchmarks import (
    alerts,
    compare,
    idle,
    latency,
    machine,
    report,
    restart,
    scale,
    single,
    suite,
    targets,
    throughput,
)
from benchmarks.command_line import (
    CUSTOMERS,
    RESULTS,
    RUNS,
    SMOKE_CUSTOMERS,
    EventCount,
    command,
    connections_option,
    customers_option,
    events_option,
    fresh,
    json_option,
    noting,
    repeated,
    runs_option,
    seed_option,
    smoke_option,
    work_dir,
)
from benchmarks.throughput import ThroughputRun
from benchmarks.workload import Shape

RESTART_EVENTS, SMOKE_RESTART_EVENTS = 10_000_000, 20_000
SINGLE_EVENTS, SMOKE_SINGLE_EVENTS, SINGLE_CUSTOMERS = 20_000, 300, 20
IDLE_EVENTS, SMOKE_IDLE_EVENTS = 200, 5
SCALE_SIZES, SMOKE_SCALE_SIZES = (0, 1_000_000, 10_000_000), (0, 20_000)
ALERT_PAIRS, ALERT_EVENTS, SMOKE_ALERT_EVENTS = 8, 2_000_000, 10_000
ALERTS, SMOKE_ALERTS = 10_000, 20
STAGES_EVENTS = 100_000
APPLYING_EVENTS, STEP_EVENTS = 2_000_000, 200_000
COMPARE_EVENTS, SMOKE_COMPARE_EVENTS, COMPARE_SECONDS = 2_000_000, 10_000, 10.0


@click.command("restart")
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
    shape = Shape(events=events or (SMOKE_RESTART_EVENTS if smoke else RESTART_EVENTS), seed=seed)
    customers = customers or (SMOKE_CUSTOMERS if smoke else CUSTOMERS)
    count = runs or (1 if smoke else RUNS)
    with work_dir() as folder:
        where = machine.describe(folder)
        done = restart.run(shape, customers, connections, count, fresh(folder), noting(console))
    figures = restart.figures(done)
    report.show(console, f"Restart with {done.events:,} events stored", figures, count, done.totals_checked, where)
    if json_path is not None:
        report.write_json(json_path, command(), where, figures, [done])


@click.command("single")
@events_option
@runs_option
@connections_option
@smoke_option
@json_option
def single_command(events: int | None, runs: int | None, connections: int, smoke: bool, json_path: Path | None) -> None:
    """Single events per second over v1, each validated, durable and told apart from repeats when it is answered."""
    console = Console()
    count = events or (SMOKE_SINGLE_EVENTS if smoke else SINGLE_EVENTS)
    with work_dir() as folder:
        where = machine.describe(folder)
        done = repeated(
            runs or (1 if smoke else RUNS),
            folder,
            noting(console),
            lambda data_dir, note: single.run(count, SINGLE_CUSTOMERS, connections, data_dir, note),
        )
    figures = single.figures(done)
    title = f"{count:,} single events, {connections} connections"
    report.show(console, title, figures, len(done), SINGLE_CUSTOMERS * len(done), where)
    if json_path is not None:
        report.write_json(json_path, command(), where, figures, done)


@click.command("latency")
@click.option("--rate", type=EventCount(), default="100k", show_default=True, help="Events per second.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=10, show_default=True)
@click.option("--evenly", is_flag=True, help="Evenly spaced, not as in a Poisson process.")
@runs_option
@customers_option
@connections_option
@seed_option
@smoke_option
@json_option
def latency_command(
    rate: int,
    seconds: float,
    evenly: bool,
    runs: int | None,
    customers: int | None,
    connections: int,
    seed: int,
    smoke: bool,
    json_path: Path | None,
) -> None:
    """Latencies at a fixed arrival rate: due → acknowledged → visible."""
    console = Console()
    plan = latency.Plan(
        events_per_second=5_000 if smoke else rate,
        seconds=1 if smoke else seconds,
        warm_seconds=0.5 if smoke else suite.WARM_SECONDS,
        customers=customers or (SMOKE_CUSTOMERS if smoke else CUSTOMERS),
        connections=connections,
        evenly=evenly,
        seed=seed,
    )
    with work_dir() as folder:
        where = machine.describe(folder)
        done = repeated(
            runs or (1 if smoke else RUNS),
            folder,
            noting(console),
            lambda data_dir, note: latency.run(plan, data_dir, note),
        )
    figures = latency.figures(done)
    checked = sum(run.totals_checked for run in done)
    title = f"{plan.events_per_second:,} events/s for {plan.seconds:g} s, {connections} connections"
    report.show(console, title, figures, len(done), checked, where)
    if json_path is not None:
        report.write_json(json_path, command(), where, figures, done, plan)


@click.command("idle")
@events_option
@runs_option
@seed_option
@smoke_option
@json_option
def idle_command(events: int | None, runs: int | None, seed: int, smoke: bool, json_path: Path | None) -> None:
    """A single event on an idle server: until its acknowledgement, and until a summary shows it."""
    console = Console()
    count = events or (SMOKE_IDLE_EVENTS if smoke else IDLE_EVENTS)
    with work_dir() as folder:
        where = machine.describe(folder)
        done = repeated(
            runs or 1, folder, noting(console), lambda data_dir, note: idle.run(count, seed, data_dir, note)
        )
    figures = idle.figures(done)
    report.show(console, f"{count:,} events, one by one", figures, len(done), count * len(done), where)
    if json_path is not None:
        report.write_json(json_path, command(), where, figures, done)


@click.command("alerts")
@click.option(
    "--pairs",
    type=click.IntRange(1, alerts.PAIRS_MAX),
    default=ALERT_PAIRS,
    show_default=True,
    help="Pairs of portions.",
)
@click.option("--alerts", "active", type=click.IntRange(1), help="Active alerts.")
@events_option
@customers_option
@connections_option
@seed_option
@smoke_option
@json_option
def alerts_command(
    pairs: int,
    active: int | None,
    events: int | None,
    customers: int | None,
    connections: int,
    seed: int,
    smoke: bool,
    json_path: Path | None,
) -> None:
    """What active alerts cost: portions of --events in turns, whose usage alerts watch and whose they do not."""
    console = Console()
    plan = alerts.Plan(
        pairs=1 if smoke else pairs,
        portion_events=events or (SMOKE_ALERT_EVENTS if smoke else ALERT_EVENTS),
        alerts=active or (SMOKE_ALERTS if smoke else ALERTS),
        customers=customers or (SMOKE_CUSTOMERS if smoke else CUSTOMERS),
        connections=connections,
        seed=seed,
    )
    with work_dir() as folder:
        where = machine.describe(folder)
        done = alerts.run(plan, fresh(folder), noting(console))
    figures = alerts.figures(done)
    title = f"{plan.alerts:,} alerts, portions of {plan.portion_events:,} events"
    report.show(console, title, figures, plan.pairs, alerts.TOTALS_CHECKED, where)
    if json_path is not None:
        report.write_json(json_path, command(), where, figures, done, plan)


@click.command("scale")
@click.option("--events", type=EventCount(), multiple=True, help="Events stored, e.g. --events 1M 10M 100M.")
@click.argument("more", type=EventCount(), nargs=-1)
@click.option("--looks", type=click.IntRange(1), default=3, show_default=True, help="Millions sent at each size.")
@click.option("--starts", type=click.IntRange(1), default=3, show_default=True, help="Starts at each size.")
@customers_option
@connections_option
@seed_option
@smoke_option
@json_option
def scale_command(
    events: tuple[int, ...],
    more: tuple[int, ...],
    looks: int,
    starts: int,
    customers: int | None,
    connections: int,
    seed: int,
    smoke: bool,
    json_path: Path | None,
) -> None:
    """Rate, memory, start, queries and repeats with 1M, 10M, 100M events stored. An empty folder comes first."""
    console = Console()
    sizes = events + more or (SMOKE_SCALE_SIZES if smoke else SCALE_SIZES)
    plan = scale.Plan(
        sizes=tuple(sorted({0, *sizes})),
        look_events=10_000 if smoke else 1_000_000,
        looks=1 if smoke else looks,
        starts=1 if smoke else starts,
        queries=10 if smoke else 200,
        lists=2 if smoke else 30,
        customers=customers or (SMOKE_CUSTOMERS if smoke else CUSTOMERS),
        connections=connections,
        storm_seconds=10 if smoke else 60,
        seed=seed,
        settle_seconds=2 if smoke else 600,
    )
    done: list[scale.ScaleStep] = []

    def keep() -> None:
        """After every size: an hour of filling is not lost to what happens at the next one."""
        if json_path is not None:
            report.write_json(json_path, command(), where, scale.figures(done), done, plan)

    with work_dir() as folder:
        where = machine.describe(folder)
        for step in scale.run(plan, fresh(folder), noting(console)):
            done.append(step)
            keep()
    checked = sum(step.totals_checked for step in done)
    report.show(console, "By events stored", scale.figures(done), plan.looks, checked, where)


@click.command("compare")
@click.option(
    "--with",
    "kinds",
    type=click.Choice([kind.value for kind in compare.Kind]),
    multiple=True,
    help="Some of them only.",
)
@click.option("--install", is_flag=True, help="Install missing servers from Debian's packages first.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=COMPARE_SECONDS, show_default=True)
@events_option
@runs_option
@customers_option
@connections_option
@seed_option
@smoke_option
@json_option
def compare_command(
    kinds: Sequence[str],
    install: bool,
    seconds: float,
    events: int | None,
    runs: int | None,
    customers: int | None,
    connections: int,
    seed: int,
    smoke: bool,
    json_path: Path | None,
) -> None:
    """What one would build instead, beside us in every run: PostgreSQL, PostgreSQL tuned (two ways), Redis."""
    console = Console()
    note = noting(console)
    chosen = [compare.Kind(each) for each in kinds] or list(compare.Kind)
    shape = Shape(events=events or (SMOKE_COMPARE_EVENTS if smoke else COMPARE_EVENTS), seed=seed)
    customers = customers or (SMOKE_CUSTOMERS if smoke else CUSTOMERS)
    plan = compare.Plan(shape=shape, customers=customers, connections=connections, seconds=seconds)
    own = throughput.Plan(shape=shape, customers=customers, connections=connections, seconds=seconds, ceiling_seconds=0)
    ours: list[ThroughputRun] = []
    others: list[compare.ComparisonRun] = []
    with work_dir() as folder:
        where = machine.describe(folder)
        if install:
            compare.install(chosen)
        for kind in list(chosen):
            if absent := compare.missing(kind):
                note(f"{kind} is left out: {', '.join(absent)} not here")
                chosen.remove(kind)
        for number in range(1, (runs or (1 if smoke else RUNS)) + 1):
            note(f"run {number}")
            ours.append(throughput.run(own, fresh(folder), note))
            others += [compare.run(kind, plan, fresh(folder), note) for kind in chosen]
    figures = compare.figures(others, [run.events_per_second_visible for run in ours])
    checked = sum(run.totals_checked for run in ours) + sum(run.totals_checked for run in others)
    report.show(console, f"Beside others, {connections} connections", figures, len(ours), checked, where)
    if json_path is not None:
        report.write_json(json_path, command(), where, figures, [*ours, *others], plan)


@click.command("suite")
@runs_option
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=suite.MINUTES, show_default=True)
@smoke_option
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the raw results.")
def suite_command(runs: int | None, minutes: float, smoke: bool, results: Path) -> None:
    """The main set within --minutes: throughput with ceilings, latencies at two rates, idle, single events."""
    console = Console()
    if smoke and results == RESULTS:
        raise click.UsageError("a smoke run would overwrite real results: name another folder with --results")
    suite.run(console, runs or (1 if smoke else RUNS), minutes, smoke, results)
    targets.show(console, results)


@click.command("table")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the raw results.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the tables into this page, between its marks.")
def table_command(results: Path, page: Path | None) -> None:
    """The figures that were asked for: must, goal, and what was seen, from the raw results."""
    targets.show(Console(), results)
    if page is not None:
        targets.write(page, results)


@click.command("stages")
@click.option("--events", type=click.IntRange(1), default=STAGES_EVENTS, show_default=True)
@runs_option
@connections_option
@seed_option
def stages_command(events: int, runs: int | None, connections: int, seed: int) -> None:
    """CPU time per event of each stage of the way in, with the compiled part and without, in turn."""
    from benchmarks import stages  # with NumPy and the server's own modules, which no other benchmark needs here

    with work_dir() as folder:
        done = [
            stages.run(events, seed, connections, fresh(folder), way)
            for _ in range(runs or RUNS)
            for way in stages.WAYS
        ]
    for way in stages.WAYS:
        own = [run for run in done if run.way == way]
        print(f"{way}: {own[0].block_bytes:.1f} bytes of block per event; ns of CPU per event, median (least, most)")
        for stage in own[0].nanoseconds:
            figures = sorted(run.nanoseconds[stage] for run in own)
            print(f"  {stage:12}{figures[len(figures) // 2]:8,.0f}  ({figures[0]:,.0f}, {figures[-1]:,.0f})")


@click.command("applying")
@click.option("--events", type=click.IntRange(1), default=APPLYING_EVENTS, show_default=True)
@click.option("--step", type=click.IntRange(1), default=STEP_EVENTS, show_default=True, help="Events in a step.")
@seed_option
def applying_command(events: int, step: int, seed: int) -> None:
    """CPU time per event of each stage of applying; a sample for each step."""
    from benchmarks import applying_stages

    with work_dir() as folder:
        done = applying_stages.run(events, seed, step, fresh(folder))
    print(f"{len(done)} steps of {step:,} events; ns of CPU per event, median (least, most)")
    for stage in done[0]:
        figures = sorted(each[stage] for each in done)
        print(f"  {stage:12}{statistics.median(figures):8,.0f}  ({figures[0]:,.0f}, {figures[-1]:,.0f})")


def add_to(group: click.Group) -> None:
    """Make every command above one of `group`."""
    for each in (
        restart_command,
        single_command,
        latency_command,
        idle_command,
        alerts_command,
        scale_command,
        compare_command,
        suite_command,
        table_command,
        stages_command,
        applying_command,
    ):
        group.add_command(each)
