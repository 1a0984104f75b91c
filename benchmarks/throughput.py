"""The first benchmark: how many events per second are acknowledged durably and become visible in exact totals."""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks import filled_server, load
from benchmarks.control import Control
from benchmarks.failure import BenchmarkFailed
from benchmarks.process_tree import ProcessUse
from benchmarks.server import Server, disk_bytes
from benchmarks.workload import EVENTS_PER_REQUEST, Fates, Shape, Workload

SETUP_SECONDS_ADVISED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`seconds` ends the sending early; then totals are checked for what was sent."""

    shape: Shape
    customers: int
    connections: int
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputRun:
    """One run on a fresh folder. Both rates count all events sent, from the first byte sent: `acknowledged` to the
    last 200, `visible` until the backlog was 0. `disk_bytes` after the server has stopped.
    """

    events: int
    fates: Fates
    seconds_acknowledged: float
    seconds_visible: float
    events_per_second_acknowledged: float
    events_per_second_visible: float
    ack_ms_p50: float
    ack_ms_p90: float
    ack_ms_p99: float
    ack_ms_max: float
    requests_refused: int
    backlog_events_after_last_ack: int
    server_processes: tuple[ProcessUse, ...]
    server_cpu_seconds_per_million: dict[str, float]
    generator_cpu_seconds_per_million: float
    disk_bytes: dict[str, int]
    totals_checked: int


def run(plan: Plan, data_dir: Path, note: Callable[[str], None]) -> ThroughputRun:
    """One run. Raises BenchmarkFailed unless every event is acknowledged, becomes visible and the totals are exact."""
    with Server(data_dir) as server:
        server.wait_until_ready()
        server.wait_until_announced()
        with closing(Control(server.port)) as control:
            subjects = filled_server.create_subjects(control, plan.customers)
            note(f"{plan.customers:,} customers created in {subjects.setup_seconds:.1f} s; rendering requests")
            if subjects.setup_seconds > SETUP_SECONDS_ADVISED:
                note(f"creating customers took over {SETUP_SECONDS_ADVISED} s: try a smaller --customers")
            workload = Workload(plan.shape, subjects.customers, int(time.time() * 1000))
            with filled_server.rendered(server, control, workload) as descriptor:
                before = server.use()
                result = load.generate(descriptor, "127.0.0.1", server.port, plan.connections, plan.seconds)
            backlog_events = control.wait_until_visible()
            visible_ns = time.perf_counter_ns()
            after = server.use()
            accepted_events = control.accepted_events()
        events = result.requests * EVENTS_PER_REQUEST
        if accepted_events != events:
            raise BenchmarkFailed(f"{events:,} events were acknowledged, the server says {accepted_events:,}")
        note(f"{events:,} events visible; comparing totals")
        totals = workload.expected_totals(result.requests)
        checked = filled_server.check(server, subjects, totals, workload.range_seconds(), plan.shape.seed)
        server.stop()
    seconds_acknowledged = (result.finished_ns - result.started_ns) / 1e9
    seconds_visible = (visible_ns - result.started_ns) / 1e9
    return ThroughputRun(
        events=events,
        fates=workload.fates(result.requests),
        seconds_acknowledged=seconds_acknowledged,
        seconds_visible=seconds_visible,
        events_per_second_acknowledged=events / seconds_acknowledged,
        events_per_second_visible=events / seconds_visible,
        ack_ms_p50=result.latency_ms_p50,
        ack_ms_p90=result.latency_ms_p90,
        ack_ms_p99=result.latency_ms_p99,
        ack_ms_max=result.latency_ms_max,
        requests_refused=result.refused,
        backlog_events_after_last_ack=backlog_events,
        server_processes=after,
        server_cpu_seconds_per_million=_cpu_per_million(before, after, events),
        generator_cpu_seconds_per_million=result.cpu_seconds / events * 1e6,
        disk_bytes=disk_bytes(data_dir),
        totals_checked=checked,
    )


def _cpu_per_million(before: tuple[ProcessUse, ...], after: tuple[ProcessUse, ...], events: int) -> dict[str, float]:
    """CPU seconds per million events by process; the key starts with its place in the tree, as names may repeat."""
    spent_before = {use.pid: use.cpu_seconds for use in before}
    return {
        f"{place}. {use.name}": (use.cpu_seconds - spent_before.get(use.pid, 0.0)) / events * 1e6
        for place, use in enumerate(after, start=1)
    }
