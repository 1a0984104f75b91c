"""The first benchmark: how many events per second are acknowledged durably and become visible in exact totals."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ceiling, filled_server, load, machine, report
from benchmarks.ceiling import Ceiling, Kind
from benchmarks.control import Control
from benchmarks.failure import BenchmarkFailed
from benchmarks.process_tree import ProcessUse, busiest_thread_between, cpu_between, thread_cpu_between
from benchmarks.report import GIB, Figure
from benchmarks.server import Server, disk_bytes
from benchmarks.workload import EVENTS_PER_REQUEST, Fates, Shape, Workload

SETUP_SECONDS_ADVISED = 20
CEILING_SECONDS = 3.0
THREADS_SHOWN = 8
# From this share on, a run is over when all of them are reported: at most 10 s later, when their window has ended.
INVALID_SHARE_REPORTED = 0.01
DISK_BYTES_PER_EVENT_SHOWN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`seconds` ends the sending early; then totals are checked for what was sent. Each ceiling is measured for
    `ceiling_seconds`, with as many connections; 0 leaves them out. So many `alerts` are active and never fire.
    """

    shape: Shape
    customers: int
    connections: int
    seconds: float | None
    alerts: int = 0
    ceiling_seconds: float = CEILING_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputRun:
    """One run on a fresh folder. Both rates count all events sent, from the first byte sent: `acknowledged` to the
    last 200, `visible` until the backlog was 0. `disk_bytes` after the server has stopped. Shares of all cores are from
    the first byte until the backlog was 0; `stolen` is what the host of a virtual machine gave to others.
    `seconds_from_visible_to_reported`: until error reports told of all that was rejected, when much was.
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
    ack_ms_p999: float
    ack_ms_max: float
    requests_refused: int
    backlog_events_after_last_ack: int
    server_processes: tuple[ProcessUse, ...]
    server_cpu_seconds_per_million: dict[str, float]
    thread_cpu_seconds_per_million: dict[str, float]
    busiest_thread_cpu_seconds_per_million: dict[str, float]
    generator_cpu_seconds_per_million: float
    generator_share_of_cores: float
    stolen_share_of_cores: float
    disk_bytes: dict[str, int]
    totals_checked: int
    seconds_from_visible_to_reported: float | None = None
    ceilings: tuple[Ceiling, ...] = ()

    def ratio_to(self, kind: Kind) -> float | None:
        """Acknowledged and visible events per second to a ceiling of the same run, if it was measured."""
        rates = {ceiling.kind: ceiling.events_per_second for ceiling in self.ceilings}
        return self.events_per_second_visible / rates[kind] if kind in rates else None


def run(plan: Plan, data_dir: Path, note: Callable[[str], None]) -> ThroughputRun:
    """One run. Raises BenchmarkFailed unless every event is acknowledged, becomes visible and the totals are exact."""
    with ExitStack() as held:
        with Server(data_dir) as server:
            server.wait_until_ready()
            server.wait_until_announced()
            with closing(Control(server.port)) as control:
                subjects = filled_server.create_subjects(control, plan.customers)
                note(f"{plan.customers:,} customers created in {subjects.setup_seconds:.1f} s; rendering requests")
                if subjects.setup_seconds > SETUP_SECONDS_ADVISED:
                    note(f"creating customers took over {SETUP_SECONDS_ADVISED} s: try a smaller --customers")
                if plan.alerts:
                    control.create_alerts([*subjects.meters.values()], subjects.customers, plan.alerts)
                    note(f"{plan.alerts:,} alerts created")
                workload = Workload(plan.shape, subjects.customers, int(time.time() * 1000))
                descriptor = held.enter_context(filled_server.rendered(server, control, workload))
                before, stolen_before = server.use(), machine.stolen_seconds()
                result = load.generate(descriptor, server.port, plan.connections, plan.seconds)
                backlog_events = control.wait_until_visible()
                visible_ns = time.perf_counter_ns()
                after, stolen_after = server.use(), machine.stolen_seconds()
                accepted_events = control.accepted_events()
                seconds_reported: float | None = None
                if plan.shape.invalid_share >= INVALID_SHARE_REPORTED:
                    control.wait_until_reported(workload.fates(result.requests).rejected)
                    seconds_reported = (time.perf_counter_ns() - visible_ns) / 1e9
            events = result.requests * EVENTS_PER_REQUEST
            if accepted_events != events:
                raise BenchmarkFailed(f"{events:,} events were acknowledged, the server says {accepted_events:,}")
            note(f"{events:,} events visible; comparing totals")
            totals = workload.expected_totals(result.requests)
            checked = filled_server.check(server, subjects, totals, workload.range_seconds(), plan.shape.seed)
            server.stop()
        ceilings: tuple[Ceiling, ...] = ()
        if plan.ceiling_seconds:
            note("measuring the ceilings")
            ceilings = tuple(ceiling.measure(kind, descriptor, plan.connections, plan.ceiling_seconds) for kind in Kind)
    seconds_visible = (visible_ns - result.started_ns) / 1e9
    core_seconds = seconds_visible * machine.cores()
    return ThroughputRun(
        events=events,
        fates=workload.fates(result.requests),
        seconds_acknowledged=result.seconds,
        seconds_visible=seconds_visible,
        events_per_second_acknowledged=events / result.seconds,
        events_per_second_visible=events / seconds_visible,
        ack_ms_p50=result.latency_ms_p50,
        ack_ms_p90=result.latency_ms_p90,
        ack_ms_p99=result.latency_ms_p99,
        ack_ms_p999=result.latency_ms_p999,
        ack_ms_max=result.latency_ms_max,
        requests_refused=result.refused,
        backlog_events_after_last_ack=backlog_events,
        server_processes=after,
        server_cpu_seconds_per_million=_per_million(cpu_between(before, after), events),
        thread_cpu_seconds_per_million=_per_million(thread_cpu_between(before, after), events),
        busiest_thread_cpu_seconds_per_million=_per_million(busiest_thread_between(before, after), events),
        generator_cpu_seconds_per_million=result.cpu_seconds / events * 1e6,
        generator_share_of_cores=result.cpu_seconds / core_seconds,
        stolen_share_of_cores=(stolen_after - stolen_before) / core_seconds,
        disk_bytes=disk_bytes(data_dir),
        totals_checked=checked,
        seconds_from_visible_to_reported=seconds_reported,
        ceilings=ceilings,
    )


def _per_million(seconds: Mapping[str, float], events: int) -> dict[str, float]:
    return {name: each / events * 1e6 for name, each in seconds.items()}


def figures(runs: Sequence[ThroughputRun]) -> list[Figure]:
    """The figures of at least one run."""

    def of(name: str, unit: str, value: Callable[[ThroughputRun], float | None]) -> Figure | None:
        return report.figure(name, unit, runs, value)

    def rate(kind: Kind) -> Callable[[ThroughputRun], float | None]:
        return lambda run: next((each.events_per_second for each in run.ceilings if each.kind == kind), None)

    return [
        *report.present(
            of("acknowledged and visible", "events/s", lambda run: run.events_per_second_visible),
            of("acknowledged", "events/s", lambda run: run.events_per_second_acknowledged),
            of("ceiling: same server, `{}`", "events/s", rate(Kind.ANSWER)),
            of("ceiling: same, strict decode", "events/s", rate(Kind.DECODE)),
            of("visible ÷ same server, `{}`", "", lambda run: run.ratio_to(Kind.ANSWER)),
            of("visible ÷ same, strict decode", "", lambda run: run.ratio_to(Kind.DECODE)),
            of("acknowledgement p50", "ms", lambda run: run.ack_ms_p50),
            of("acknowledgement p99", "ms", lambda run: run.ack_ms_p99),
            of("acknowledgement p99.9", "ms", lambda run: run.ack_ms_p999),
            of("acknowledgement, slowest", "ms", lambda run: run.ack_ms_max),
            of("requests refused (429, 503)", "", lambda run: run.requests_refused),
            of("visible → all rejected are reported", "s", lambda run: run.seconds_from_visible_to_reported),
            of("waiting after the last ack", "events", lambda run: run.backlog_events_after_last_ack),
        ),
        *report.by_key("CPU", "s per million", runs, lambda run: run.server_cpu_seconds_per_million),
        *report.present(
            of("CPU, load generator", "s per million", lambda run: run.generator_cpu_seconds_per_million),
            of("share of all cores, load generator", "", lambda run: run.generator_share_of_cores),
            of("share of all cores, stolen by the host", "", lambda run: run.stolen_share_of_cores),
            of("memory, all server processes, peak", "GiB", lambda run: _rss_peak(run) / GIB),
        ),
        *report.by_key("disk", "bytes/event", runs, _disk_per_event),
        *report.present(of("disk, all", "bytes/event", lambda run: sum(run.disk_bytes.values()) / run.events)),
        *report.by_key("thread", "s per million", runs, _busy_threads),
    ]


def _busy_threads(run: ThroughputRun) -> dict[str, float]:
    return dict(list(run.thread_cpu_seconds_per_million.items())[:THREADS_SHOWN])


def _disk_per_event(run: ThroughputRun) -> dict[str, float]:
    sizes = {name: size / run.events for name, size in run.disk_bytes.items()}
    return {name: size for name, size in sizes.items() if size >= DISK_BYTES_PER_EVENT_SHOWN}


def _rss_peak(run: ThroughputRun) -> int:
    return sum(use.rss_peak_bytes for use in run.server_processes)
