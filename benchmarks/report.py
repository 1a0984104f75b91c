"""What a benchmark says at its end: a table for people, JSON for comparisons. Medians, with the least and the most."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine

GIB = 2**30
Run = TypeVar("Run")


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


def figure(name: str, unit: str, runs: Sequence[Run], of: Callable[[Run], float | None]) -> Figure | None:
    """One figure over the runs that have it; None when none has."""
    values = [value for value in map(of, runs) if value is not None]
    return Figure(name=name, unit=unit, spread=spread(values)) if values else None


def by_key(prefix: str, unit: str, runs: Sequence[Run], of: Callable[[Run], dict[str, float]]) -> list[Figure]:
    """A figure for each key that the first run has; where another run lacks it, it counts as 0."""
    return [
        Figure(name=f"{prefix}, {key}", unit=unit, spread=spread([of(run).get(key, 0.0) for run in runs]))
        for key in of(runs[0])
    ]


def present(*figures: Figure | None) -> list[Figure]:
    return [each for each in figures if each is not None]


def show(console: Console, title: str, figures: Sequence[Figure], samples: int, checked: int, machine: Machine) -> None:
    """The table, and beneath it where it was measured and how many totals were compared."""
    table = Table(title=f"{title}; {samples} sample{'' if samples == 1 else 's'}")
    table.add_column("figure")
    for heading in ("median", "least", "most"):
        table.add_column(heading, justify="right")
    table.add_column("unit")
    for each in figures:
        numbers = (each.spread.median, each.spread.minimum, each.spread.maximum)
        table.add_row(each.name, *(number_text(number) for number in numbers), each.unit)
    console.print(table)
    console.print(
        f"{checked:,} totals compared, all exact. {machine.cpus} × {machine.cpu}, {machine.memory_gib} GiB,"
        f" {machine.filesystem} (4 KiB and fsync: {machine.fsync_ms_p50} ms), Python {machine.python},"
        f" one core for the same work {machine.core_ms_p50} ms (p99 {machine.core_ms_p99}),"
        " load generator on the same machine.",
        highlight=False,
    )


def write_json(
    path: Path,
    command: str,
    machine: Machine,
    figures: Sequence[Figure],
    runs: Sequence[object],
    plan: object = None,
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


def number_text(value: float) -> str:
    """Three digits after the point for small figures, none for large ones."""
    if float(value).is_integer() or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:,.2f}" if abs(value) >= 1 else f"{value:,.3f}"
