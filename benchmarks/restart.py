"""The second benchmark: how long a server with a full store takes from its start to accepting events again."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from benchmarks import filled_server, load
from benchmarks.control import Control
from benchmarks.filled_server import Subjects
from benchmarks.process_tree import ProcessUse
from benchmarks.report import GIB, Figure, spread
from benchmarks.server import Server, disk_bytes
from benchmarks.workload import ADDITIVE_METERS, EVENTS_PER_REQUEST, Shape, TotalKey, Workload

EVENTS_PER_WORKLOAD = 1_000_000  # bounds what is rendered in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRun:
    """`ready_seconds`, one per restart: from starting the process to the first 200 of /readyz. `stop_seconds`: from
    SIGTERM to the end of the server that stored the events. `server_processes` as they stood right after a start.
    """

    events: int
    stop_seconds: float
    ready_seconds: tuple[float, ...]
    server_processes: tuple[ProcessUse, ...]
    disk_bytes: dict[str, int]
    totals_checked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What a filled folder holds, and how long its server took to stop."""

    subjects: Subjects
    events: int
    expected: dict[TotalKey, Decimal]
    range_seconds: tuple[int, int]
    stop_seconds: float


def run(
    shape: Shape, customers: int, connections: int, restarts: int, data_dir: Path, note: Callable[[str], None]
) -> RestartRun:
    """Fill a fresh folder with `shape.events`, then restart the server on it `restarts` times.

    Raises BenchmarkFailed when the server does not start or stop, or when a total is wrong after a restart.
    """
    filled = _fill(shape, customers, connections, data_dir, note)
    ready_seconds: list[float] = []
    totals_checked = 0
    server_processes: tuple[ProcessUse, ...] = ()
    for _ in range(restarts):
        with Server(data_dir) as server:
            ready_seconds.append(server.wait_until_ready())
            server_processes = server.use()
            note(f"ready {ready_seconds[-1]:.2f} s after the start; comparing totals")
            totals_checked += filled_server.check(
                server, filled.subjects, filled.expected, filled.range_seconds, shape.seed
            )
    return RestartRun(
        events=filled.events,
        stop_seconds=filled.stop_seconds,
        ready_seconds=tuple(ready_seconds),
        server_processes=server_processes,
        disk_bytes=disk_bytes(data_dir),
        totals_checked=totals_checked,
    )


def _fill(shape: Shape, customers: int, connections: int, data_dir: Path, note: Callable[[str], None]) -> Filled:
    """Store the events as several workloads of different seeds, so that no identifier of one is in another."""
    expected: dict[TotalKey, Decimal] = {}
    events = 0
    now_ms = int(time.time() * 1000)
    with Server(data_dir) as server:
        server.wait_until_ready()
        with closing(Control(server.port)) as control:
            subjects = filled_server.create_subjects(control, customers)
            while events < shape.events:
                part = replace(shape, events=min(EVENTS_PER_WORKLOAD, shape.events - events), seed=shape.seed + events)
                workload = Workload(part, subjects.customers, now_ms)
                with filled_server.rendered(server, control, workload) as descriptor:
                    requests = load.generate(descriptor, server.port, connections).requests
                events += requests * EVENTS_PER_REQUEST
                for key, total in workload.expected_totals(requests).items():
                    if key.meter in ADDITIVE_METERS:
                        expected[key] = expected.get(key, Decimal(0)) + total
                note(f"{events:,} events stored")
            control.wait_until_visible()
        stop_seconds = server.stop()
    additive = replace(subjects, meters={meter: subjects.meters[meter] for meter in ADDITIVE_METERS})
    return Filled(
        subjects=additive,
        events=events,
        expected=expected,
        range_seconds=workload.range_seconds(),
        stop_seconds=stop_seconds,
    )


def figures(run: RestartRun) -> list[Figure]:
    """The figures of one run; only the time to readiness has more than one sample."""
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
