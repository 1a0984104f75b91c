"""The main set, within a bound of time: what `make bench` runs. Raw results go into one file for each part."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import idle, latency, machine, report, single, throughput
from benchmarks.command_line import CONNECTIONS, CUSTOMERS, SMOKE_CUSTOMERS, command, noting, repeated, work_dir
from benchmarks.report import Figure
from benchmarks.workload import Shape

MINUTES = 20.0
# A part begins no run of its own after its share of the time; a run that has begun takes about half a minute.
SHARES = {"throughput": 0.4, "latency-100k": 0.6, "latency-200k": 0.8, "idle": 0.9, "single": 1.0}
EVENTS, SMOKE_EVENTS = 3_000_000, 20_000
WARM_SECONDS, LATENCY_SECONDS = 2.0, 10.0
LATENCY_RATES = {"latency-100k": 100_000, "latency-200k": 200_000}
SMOKE_RATE = 5_000
IDLE_EVENTS, SMOKE_IDLE_EVENTS = 200, 3
SINGLE_EVENTS, SMOKE_SINGLE_EVENTS, SINGLE_CUSTOMERS = 20_000, 200, 20


def run(console: Console, runs: int, minutes: float, smoke: bool, results: Path) -> None:
    """Every part at least once, and up to `runs` times while there is time; see SHARES."""
    began = time.monotonic()
    note = noting(console)
    customers = SMOKE_CUSTOMERS if smoke else CUSTOMERS
    main = throughput.Plan(
        shape=Shape(events=SMOKE_EVENTS if smoke else EVENTS),
        customers=customers,
        connections=CONNECTIONS,
        seconds=None,
        ceiling_seconds=0.2 if smoke else throughput.CEILING_SECONDS,
    )
    idle_events = SMOKE_IDLE_EVENTS if smoke else IDLE_EVENTS
    single_events = SMOKE_SINGLE_EVENTS if smoke else SINGLE_EVENTS
    with work_dir() as folder:
        where = machine.describe(folder)

        def deadline(part: str) -> float:
            return began + 60 * minutes * SHARES[part]

        def finish(part: str, title: str, figures: Sequence[Figure], done: Sequence[object], plan: object) -> None:
            checked = sum(getattr(each, "totals_checked", 0) for each in done)
            report.show(console, title, figures, len(done), checked, where)
            report.write_json(results / f"{part}.json", command(), where, figures, done, plan)

        whole = repeated(runs, folder, note, lambda each, say: throughput.run(main, each, say), deadline("throughput"))
        title = f"{whole[0].events:,} events, {CONNECTIONS} connections"
        finish("throughput", title, throughput.figures(whole), whole, main)
        for part, rate in LATENCY_RATES.items():
            plan = latency.Plan(
                events_per_second=SMOKE_RATE if smoke else rate,
                seconds=0.5 if smoke else LATENCY_SECONDS,
                warm_seconds=0.2 if smoke else WARM_SECONDS,
                customers=customers,
                connections=CONNECTIONS,
                evenly=False,
                seed=1,
            )
            due = repeated(runs, folder, note, _latency(plan), deadline(part))
            finish(part, f"{plan.events_per_second:,} events/s, open loop", latency.figures(due), due, plan)
        alone = repeated(1, folder, note, lambda each, say: idle.run(idle_events, 1, each, say), deadline("idle"))
        finish("idle", f"{idle_events:,} events, one by one", idle.figures(alone), alone, None)
        ones = repeated(
            runs,
            folder,
            note,
            lambda each, say: single.run(single_events, SINGLE_CUSTOMERS, CONNECTIONS, each, say),
            deadline("single"),
        )
        finish("single", f"{single_events:,} single events", single.figures(ones), ones, None)
    note(f"{(time.monotonic() - began) / 60:.1f} minutes")


def _latency(plan: latency.Plan) -> Callable[[Path, Callable[[str], None]], latency.LatencyRun]:
    return lambda data_dir, note: latency.run(plan, data_dir, note)
