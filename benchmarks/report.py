"""What a benchmark says at its end: a table for people, JSON for comparisons. Medians, with the least and the most."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.restart import RestartRun
from benchmarks.single import SingleRun
from benchmarks.throughput import Plan, ThroughputRun

GIB, MIB = 2**30, 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One figure over all runs."""

    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    name: str
    unit: str
    spread: Spread


def spread(values: Sequence[float]) -> Spread:
    """Median, least and most of at least one value."""
    return Spread(median=statistics.median(values), minimum=min(values), maximum=max(values))


def throughput_figures(runs: Sequence[ThroughputRun]) -> list[Figure]:
    """The figures of the throughput benchmark, over at least one run."""

    def figure(name: str, unit: str, of: Callable[[ThroughputRun], float]) -> Figure:
        return Figure(name=name, unit=unit, spread=spread([of(run) for run in runs]))

    figures = [
        figure("acknowledged and visible", "events/s", lambda run: run.events_per_second_visible),
        figure("acknowledged", "events/s", lambda run: run.events_per_second_acknowledged),
        figure("acknowledgement p50", "ms", lambda run: run.ack_ms_p50),
        figure("acknowledgement p99", "ms", lambda run: run.ack_ms_p99),
        figure("acknowledgement, slowest", "ms", lambda run: run.ack_ms_max),
        figure("requests refused (429, 503)", "", lambda run: run.requests_refused),
        figure("waiting after the last ack", "events", lambda run: run.backlog_events_after_last_ack),
    ]
    figures += [
        figure(f"CPU, {name}", "s per million", _cpu_of(name)) for name in runs[0].server_cpu_seconds_per_million
    ]
    figures += [
        figure("CPU, load generator", "s per million", lambda run: run.generator_cpu_seconds_per_million),
        figure("memory, all server processes, peak", "GiB", lambda run: _rss_peak(run) / GIB),
    ]
    figures += [figure(f"disk, {name}", "bytes/event", _disk_of(name)) for name in runs[0].disk_bytes]
    figures.append(figure("disk, all", "bytes/event", lambda run: sum(run.disk_bytes.values()) / run.events))
    return figures


def restart_figures(run: RestartRun) -> list[Figure]:
    """The figures of the restart benchmark; only the time to readiness has more than one sample."""
    return [
        Figure(name="start to ready", unit="s", spread=spread(run.ready_seconds)),
        Figure(name="stop", unit="s", spread=spread([run.stop_seconds])),
        Figure(
            name="memory after the start, all processes",
            unit="GiB",
            spread=spread([sum(use.rss_bytes for use in run.server_processes) / GIB]),
        ),
        Figure(name="disk, all", unit="bytes/event", spread=spread([sum(run.disk_bytes.values()) / run.events])),
    ]


def single_figures(runs: Sequence[SingleRun]) -> list[Figure]:
    """The figures of the benchmark of single events, over at least one run."""

    def figure(name: str, unit: str, of: Callable[[SingleRun], float]) -> Figure:
        return Figure(name=name, unit=unit, spread=spread([of(run) for run in runs]))

    return [
        figure("validated and answered", "events/s", lambda run: run.events_per_second),
        figure("answer p50", "ms", lambda run: run.answer_ms_p50),
        figure("answer p99", "ms", lambda run: run.answer_ms_p99),
        figure("last answer to all visible", "ms", lambda run: run.visible_ms),
        *(
            figure(f"CPU, {name}", "ms per event", lambda run, name=name: run.server_cpu_ms_per_event.get(name, 0.0))  # type: ignore[misc]
            for name in runs[0].server_cpu_ms_per_event
        ),
    ]


def show(console: Console, title: str, figures: Sequence[Figure], samples: int, checked: int, machine: Machine) -> None:
    """The table, and beneath it where it was measured and how many totals were compared."""
    table = Table(title=f"{title}; {samples} sample{'' if samples == 1 else 's'}")
    table.add_column("figure")
    for heading in ("median", "least", "most"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for figure in figures:
        numbers = (figure.spread.median, figure.spread.minimum, figure.spread.maximum)
        table.add_row(figure.name, *(_number(number) for number in numbers), figure.unit)
    console.print(table)
    console.print(
        f"{checked:,} totals compared, all exact. {machine.cpus} × {machine.cpu}, {machine.memory_gib} GiB,"
        f" {machine.filesystem} (4 KiB and fsync: {machine.fsync_ms_p50} ms), Python {machine.python},"
        " load generator on the same machine.",
        highlight=False,
    )


def write_json(
    path: Path,
    command: str,
    machine: Machine,
    figures: Sequence[Figure],
    runs: Sequence[ThroughputRun | RestartRun | SingleRun],
    plan: Plan | None = None,
) -> None:
    """Everything that was measured, raw runs included."""
    content = {
        "command": command,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "plan": plan,
        "figures": figures,
        "runs": runs,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def _cpu_of(process: str) -> Callable[[ThroughputRun], float]:
    return lambda run: run.server_cpu_seconds_per_million.get(process, 0.0)


def _disk_of(entry: str) -> Callable[[ThroughputRun], float]:
    return lambda run: run.disk_bytes.get(entry, 0) / run.events


def _rss_peak(run: ThroughputRun) -> int:
    return sum(use.rss_peak_bytes for use in run.server_processes)


def _number(value: float) -> str:
    """Three digits after the point for small figures, none for large ones."""
    if float(value).is_integer() or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.2f}" if abs(value) >= 1 else f"{value:,.3f}"
