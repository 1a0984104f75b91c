"""What active billing alerts cost, and how soon one fires: portions of events in turns, for those whose usage is
watched and for those whose is not, on one server. Runs of different minutes on a shared machine differ by more than
alerts cost; portions beside each other do not.

Watched is the usage of test mode, not watched the same of live mode: meters, customers and keys of its own, in the same
log and the same tables.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from benchmarks import filled_server, load, report
from benchmarks.control import Control, check_totals
from benchmarks.failure import BenchmarkFailed
from benchmarks.filled_server import Subjects
from benchmarks.process_tree import cpu_between
from benchmarks.report import Figure
from benchmarks.server import SECRET_KEY, Server
from benchmarks.workload import ADDITIVE_METERS, EVENTS_PER_REQUEST, Meter, Shape, TotalKey, Workload

PAIRS_MAX = 50  # an alert fires in each, and one page is asked for them
FIRED_WAIT_SECONDS_MAX = 30
FIRED_POLL_SECONDS = 0.01
CHECKED_CUSTOMERS = 20
TOTALS_CHECKED = 2 * len(ADDITIVE_METERS) * CHECKED_CUSTOMERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`pairs` of portions of `portion_events` each, after one of each kind to warm up. So many `alerts` are active and
    never fire, each of one meter and customer."""

    pairs: int
    portion_events: int
    alerts: int
    customers: int
    connections: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """`fired_seconds`: from when all of it was visible until the alert was told that its last events made fire; before
    that counts as 0, and it was looked for every 10 ms. Only where usage is watched."""

    is_watched: bool
    events_per_second: float
    cpu_seconds_per_million: float
    fired_seconds: float | None


@dataclass(slots=True)
class _Side:
    control: Control
    subjects: Subjects
    expected: dict[TotalKey, Decimal] = field(default_factory=dict)
    ranges: list[tuple[int, int]] = field(default_factory=list)
    fired: int = 0


def run(plan: Plan, data_dir: Path, note: Callable[[str], None]) -> Sequence[Portion]:
    """All portions, the first two left out. Raises BenchmarkFailed when a total is wrong or an alert does not fire."""
    with ExitStack() as stack:
        server = stack.enter_context(Server(data_dir))
        server.wait_until_ready()
        server.wait_until_announced()
        sides: dict[bool, _Side] = {}
        for is_watched, secret in ((True, SECRET_KEY), (False, _live_key(data_dir))):
            control = stack.enter_context(closing(Control(server.port, secret)))
            sides[is_watched] = _Side(control, filled_server.create_subjects(control, plan.customers))
        watched = sides[True]
        meters = [*watched.subjects.meters.values()]
        watched.control.create_alerts(meters, watched.subjects.customers, plan.alerts)
        note(f"{plan.alerts:,} alerts created")
        done: list[Portion] = []
        for number in range(2 * plan.pairs + 2):
            # In the order of ABBA: what changes evenly with time touches both alike.
            is_watched = number % 4 in (0, 3)
            done.append(_portion(plan, number, server, sides[is_watched], is_watched=is_watched))
            note(f"{'watched' if is_watched else 'not watched'}: {done[-1].events_per_second:,.0f} events/s")
        for side in sides.values():
            _check(side)
        server.stop()
    return done[2:]


def _portion(plan: Plan, number: int, server: Server, side: _Side, *, is_watched: bool) -> Portion:
    shape = Shape(events=plan.portion_events, seed=plan.seed * 1_000 + number)
    workload = Workload(shape, side.subjects.customers, int(time.time() * 1000))
    for key, total in workload.expected_totals(workload.requests).items():
        if key.meter in ADDITIVE_METERS:
            side.expected[key] = side.expected.get(key, Decimal(0)) + total
    side.ranges.append(workload.range_seconds())
    if is_watched:
        # The busiest customer's usage reaches it with the last of the portion's events.
        reached = side.expected[TotalKey(Meter.COUNT, 0)]
        side.control.create_alert(side.subjects.meters[Meter.COUNT], side.subjects.customers[0], int(reached))
    with filled_server.rendered(server, side.control, workload) as descriptor:
        before = server.use()
        result = load.generate(descriptor, server.port, plan.connections)
        side.control.wait_until_visible()
        visible_ns = time.perf_counter_ns()
        cpu_seconds = sum(cpu_between(before, server.use()).values())
    events = result.requests * EVENTS_PER_REQUEST
    return Portion(
        is_watched=is_watched,
        events_per_second=events / ((visible_ns - result.started_ns) / 1e9),
        cpu_seconds_per_million=cpu_seconds / events * 1e6,
        fired_seconds=_wait_until_fired(side, visible_ns) if is_watched else None,
    )


def _wait_until_fired(side: _Side, since_ns: int) -> float:
    side.fired += 1
    deadline_ns = since_ns + FIRED_WAIT_SECONDS_MAX * 1_000_000_000
    while (fired := side.control.fired_alerts()) < side.fired and time.perf_counter_ns() < deadline_ns:
        time.sleep(FIRED_POLL_SECONDS)
    if fired != side.fired:
        raise BenchmarkFailed(f"{fired} alerts fired, and {side.fired} were reached")
    return (time.perf_counter_ns() - since_ns) / 1e9


def _check(side: _Side) -> None:
    customers = dict(enumerate(side.subjects.customers[:CHECKED_CUSTOMERS]))
    meters = {meter: side.subjects.meters[meter] for meter in ADDITIVE_METERS}
    whole = min(start for start, _ in side.ranges), max(end for _, end in side.ranges)
    check_totals(side.control, meters, customers, side.expected, whole)


def _live_key(data_dir: Path) -> str:
    command = [sys.executable, "-m", "streamgauge", "keys", "create", "--live", "--data-dir", str(data_dir)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(word for word in printed.split() if word.startswith("sk_live_"))


def figures(portions: Sequence[Portion]) -> list[Figure]:
    """The figures of whole pairs."""
    watched = [each for each in portions if each.is_watched]
    others = [each for each in portions if not each.is_watched]
    # What changes evenly with time is the same in the sums of both.
    whole = sum(1 / each.events_per_second for each in others) / sum(1 / each.events_per_second for each in watched)
    whole_cpu = sum(each.cpu_seconds_per_million for each in watched) / sum(
        each.cpu_seconds_per_million for each in others
    )
    # Each with the one beside it.
    rates = [own.events_per_second / other.events_per_second for own, other in zip(watched, others, strict=True)]
    cpu = [
        own.cpu_seconds_per_million / other.cpu_seconds_per_million for own, other in zip(watched, others, strict=True)
    ]
    return report.present(
        report.figure("not watched", "events/s", others, lambda each: each.events_per_second),
        report.figure("watched", "events/s", watched, lambda each: each.events_per_second),
        report.figure("watched ÷ not, all together", "", [whole], lambda each: each),
        report.figure("watched ÷ not, of each pair", "", rates, lambda each: each),
        report.figure("CPU, not watched", "s per million", others, lambda each: each.cpu_seconds_per_million),
        report.figure("CPU, watched", "s per million", watched, lambda each: each.cpu_seconds_per_million),
        report.figure("CPU, watched ÷ not, all together", "", [whole_cpu], lambda each: each),
        report.figure("CPU, watched ÷ not, of each pair", "", cpu, lambda each: each),
        report.figure("visible → fired", "s", watched, lambda each: each.fired_seconds),
    )
