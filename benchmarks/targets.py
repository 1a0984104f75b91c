"""The figures that were asked for: must, goal, and what was seen, read from the raw results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import paper_model
from benchmarks.compare import FASTER_TUNED
from benchmarks.failure import BenchmarkFailed
from benchmarks.paper_model import CORES, REPLICABLE, Costs
from benchmarks.report import number_text

FIGURES_MARK, MODEL_MARK = "figures", "model"
NOT_MEASURED = "not measured"
STORED = 100_000_000  # what most figures of a full folder are asked for at

Content = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A median, and with how many events stored, where that matters."""

    value: float
    stored_events: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """`must` and `goal` are floors, or ceilings when `at_most`. What was seen with fewer events stored than
    `stored_events` reaches neither.
    """

    name: str
    unit: str
    must: float
    goal: float
    at_most: bool
    seen: Callable[[Path], Seen | None]
    stored_events: int = 0

    def verdict(self, seen: Seen) -> str:
        if seen.stored_events < self.stored_events:
            return f"asked for at {self.stored_events:,}"
        value = seen.value

        def reaches(bound: float) -> bool:
            return value <= bound if self.at_most else value >= bound

        return "goal" if reaches(self.goal) else "must" if reaches(self.must) else "missed"


def read(results: Path, part: str) -> Content | None:
    """The raw results of one part, if it was run."""
    path = results / f"{part}.json"
    if not path.exists():
        return None
    content: Content = msgspec.json.decode(path.read_bytes())
    return content


def _figure(part: str, name: str) -> Callable[[Path], Seen | None]:
    def seen(results: Path) -> Seen | None:
        content = read(results, part)
        if content is None:
            return None
        return next((Seen(each["spread"]["median"]) for each in content["figures"] if each["name"] == name), None)

    return seen


def _largest(value: Callable[[Content, Content], float | None]) -> Callable[[Path], Seen | None]:
    """A figure of the fullest folder that was looked at, given that step and the one of the empty folder."""

    def seen(results: Path) -> Seen | None:
        content = read(results, "scale")
        if content is None or not content["runs"]:
            return None
        steps = sorted(content["runs"], key=lambda step: int(step["events_stored"]))
        found = value(steps[-1], steps[0])
        return None if found is None else Seen(found, int(steps[-1]["events_stored"]))

    return seen


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _disk(step: Content, _: Content) -> float | None:
    return sum(step["disk_bytes"].values()) / step["events_stored"] if step["events_stored"] else None


def _rate_of_empty(step: Content, empty: Content) -> float | None:
    if empty["events_stored"] or step is empty:
        return None
    return _median(step["events_per_second"]) / _median(empty["events_per_second"])


def _storm(step: Content, _: Content) -> float | None:
    rate = step["storm_events_per_second"]
    return None if rate is None else float(rate) / _median(step["events_per_second"])


TARGETS = (
    Target("end to end, acknowledged durably and visible", "events/s", 500_000, 1_000_000, False,
           _figure("throughput", "acknowledged and visible")),
    Target("ratio to the same server with strict decode, nothing else", "", 0.35, 0.6, False,
           _figure("throughput", "visible ÷ same, strict decode")),
    Target("ratio to the tuned PostgreSQL service", "", 10, 30, False,
           _figure("comparison", FASTER_TUNED)),
    Target("ack p99 at 100,000 events/s, open loop", "ms", 25, 10, True,
           _figure("latency-100k", "due → acknowledged p99")),
    Target("visible p99 at 200,000 events/s", "ms", 1_000, 300, True,
           _figure("latency-200k", "acknowledged → visible p99")),
    Target("resident memory at 100M identifiers in the window", "GB", 1.8, 1.2, True,
           _largest(lambda step, _: step["rss_peak_bytes"] / 1e9), STORED),
    Target("bytes on disk per event, log included", "bytes", 100, 70, True, _largest(_disk)),
    Target("ready after a start with 100M events", "s", 5, 2, True,
           _largest(lambda step, _: _median(step["ready_seconds"])), STORED),
    Target("hourly summaries of a month, one customer, 100M events, p99", "ms", 50, 10, True,
           _largest(lambda step, _: step["month_ms_p99"]), STORED),
    Target("receipt by identifier, 100M events, p99", "ms", 50, 10, True,
           _largest(lambda step, _: step["receipt_ms_p99"]), STORED),
    Target("throughput with 100M stored / empty", "", 0.9, 0.98, False, _largest(_rate_of_empty), STORED),
    Target("all repeats of old events / new events", "", 0.3, 0.3, False, _largest(_storm)),
    Target("idle: acknowledgement p99", "ms", 5, 5, True, _figure("idle", "acknowledgement p99")),
    Target("idle: acknowledged → visible p99", "ms", 300, 300, True, _figure("idle", "acknowledged → visible p99")),
)  # fmt: skip


def rows(results: Path) -> list[tuple[str, str, str, str, str]]:
    """(figure, must, goal, seen, verdict) of every target, as text."""
    found: list[tuple[str, str, str, str, str]] = []
    for target in TARGETS:
        seen = target.seen(results)
        unit = f" {target.unit}" if target.unit else ""
        shown = NOT_MEASURED if seen is None else f"{number_text(seen.value)}{unit}"
        if seen is not None and seen.stored_events:
            shown += f" ({seen.stored_events:,} stored)"
        sign = "≤" if target.at_most else "≥"
        found.append(
            (
                target.name,
                f"{sign} {number_text(target.must)}{unit}",
                f"{sign} {number_text(target.goal)}{unit}",
                shown,
                "" if seen is None else target.verdict(seen),
            )
        )
    return found


def model_rows(results: Path) -> list[tuple[str, str, str, str]]:
    """(cores, events per second, what saturates, edge processes) as text; none before the throughput was measured."""
    content = read(results, "throughput")
    if content is None or "busiest_thread_cpu_seconds_per_million" not in content["runs"][0]:
        return []
    # The run of the median rate: medians of each stage would belong to no run.
    runs = sorted(content["runs"], key=lambda each: float(each["events_per_second_visible"]))
    run = runs[len(runs) // 2]
    costs = Costs(
        process_seconds=run["server_cpu_seconds_per_million"],
        busiest_thread_seconds=run["busiest_thread_cpu_seconds_per_million"],
        disk_bytes_per_event=sum(run["disk_bytes"].values()) / run["events"],
        disk_bytes_per_second=content["machine"]["disk_mb_per_second"] * 1e6,
        append_seconds=_append_seconds(run.get("thread_cpu_seconds_per_million", {})),
    )
    estimates = [paper_model.estimate(costs, cores) for cores in CORES]
    return [
        (str(each.cores), number_text(round(each.events_per_second, -3)), each.saturates, str(each.edges))
        for each in estimates
    ]


def _append_seconds(threads: Mapping[str, float]) -> float:
    """What edges use beside their event loops: the threads that append."""
    return sum(each for name, each in threads.items() if REPLICABLE in name and not name.endswith(": main"))


def show(console: Console, results: Path) -> None:
    table = Table(title="Figures asked for, medians")
    for heading in ("figure", "must", "goal", "seen", ""):
        table.add_column(heading)
    for row in rows(results):
        table.add_row(*row)
    console.print(table)


def write(page: Path, results: Path) -> None:
    """Put the tables into the page, between `<!-- begin NAME -->` and `<!-- end NAME -->`."""
    text = page.read_text()
    text = _between(text, FIGURES_MARK, _markdown(("figure", "must", "goal", "seen", "reached"), rows(results)))
    modelled = model_rows(results)
    if modelled:
        headings = ("cores", "events/s", "saturates first", "edge processes")
        text = _between(text, MODEL_MARK, _markdown(headings, modelled))
    page.write_text(text)


def _between(text: str, mark: str, table: str) -> str:
    begin, end = f"<!-- begin {mark} -->\n", f"<!-- end {mark} -->"
    if begin not in text or end not in text:
        raise BenchmarkFailed(f"the page has no marks for '{mark}'")
    before, _, rest = text.partition(begin)
    return before + begin + table + end + rest.partition(end)[2]


def _markdown(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [headings, ["---"] * len(headings), *lines])
