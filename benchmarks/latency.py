"""Latencies at a fixed arrival rate: until a request is acknowledged, and from then until its events are visible.

Visible is what `applied_events` of `GET /streamgauge/status` counts: it is polled while events arrive, and the request
that was acknowledged as the n-th is visible at the first reading that covers n requests. Acknowledgements come in log
order but for those of one group, which come together; so this is exact but for the distance of two readings, and on
the side of too long. That a summary really shows what is counted there, `idle` and the totals at the end check.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks import filled_server, load, machine, report
from benchmarks.control import Control
from benchmarks.failure import BenchmarkFailed
from benchmarks.load import Arrivals, percentile
from benchmarks.process_tree import cpu_between
from benchmarks.report import Figure
from benchmarks.server import Server
from benchmarks.workload import EVENTS_PER_REQUEST, Shape, Workload

# An answer costs the server 1 to 2 ms of CPU: asked a hundred times a second it loses a tenth of a core.
POLL_SECONDS = 0.025
VISIBLE_WAIT_SECONDS_MAX = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`events_per_second` for `seconds`, after `warm_seconds` at the same rate that are not measured."""

    events_per_second: int
    seconds: float
    warm_seconds: float
    customers: int
    connections: int
    evenly: bool
    seed: int

    def requests(self, seconds: float) -> int:
        return max(round(self.events_per_second * seconds / EVENTS_PER_REQUEST), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRun:
    """One run on a fresh folder. Acknowledgement: from when a request was due. Visible: from its acknowledgement.

    `generator_lateness_ms_p99` is in the acknowledgement, `readings_ms_p99`, the distance of two readings, in the
    visibility. `waiting_max`: most requests that were due and had no free connection. Shares are of all cores.
    """

    events_per_second_offered: float
    events_per_second_acknowledged: float
    ack_ms_p50: float
    ack_ms_p99: float
    ack_ms_p999: float
    ack_ms_max: float
    visible_ms_p50: float
    visible_ms_p99: float
    visible_ms_p999: float
    visible_ms_max: float
    generator_lateness_ms_p99: float
    readings_ms_p99: float
    waiting_max: int
    requests_refused: int
    server_cpu_seconds_per_million: dict[str, float]
    generator_share_of_cores: float
    readings_share_of_cores: float
    stolen_share_of_cores: float
    totals_checked: int


@dataclass(frozen=True, slots=True)
class Reading:
    """`applied_events`, and when the answer was there."""

    at_ns: int
    applied_events: int


class Watch:
    """Polls the status on a thread of its own, over a connection of its own, from `with` on."""

    def __init__(self, port: int) -> None:
        self._control = Control(port)
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._until_events: int | None = None
        self._deadline_ns = 0
        self._failure: BenchmarkFailed | None = None
        self.readings: list[Reading] = []

    def start(self) -> None:
        self._thread.start()

    def wait_for(self, events: int) -> None:
        """Return once `events` are visible. Raises BenchmarkFailed when that takes too long."""
        self._deadline_ns = time.perf_counter_ns() + VISIBLE_WAIT_SECONDS_MAX * 10**9
        self._until_events = events
        self._thread.join()
        self._control.close()
        if self._failure is not None:
            raise self._failure

    def _poll(self) -> None:
        try:
            while True:
                applied_events = self._control.applied_events()
                now_ns = time.perf_counter_ns()
                self.readings.append(Reading(now_ns, applied_events))
                if self._until_events is not None and applied_events >= self._until_events:
                    return
                if self._until_events is not None and now_ns > self._deadline_ns:
                    raise BenchmarkFailed(f"{applied_events:,} of {self._until_events:,} events became visible")
                time.sleep(POLL_SECONDS)
        except BenchmarkFailed as failure:
            self._failure = failure


def visible_ms(acknowledged_ns: Sequence[int], readings: Sequence[Reading], events_before: int) -> list[float]:
    """For each request, how long after its acknowledgement the first reading was that covers it; ascending.

    Shape:  both ascending in time; the last reading covers all. `events_before` were applied before the first request.
    """
    latencies: list[float] = []
    place = 0
    for number, at_ns in enumerate(acknowledged_ns, start=1):
        needed = events_before + number * EVENTS_PER_REQUEST
        while readings[place].applied_events < needed:
            place += 1
        latencies.append(max(readings[place].at_ns - at_ns, 0) / 1e6)
    return sorted(latencies)


def run(plan: Plan, data_dir: Path, note: Callable[[str], None]) -> LatencyRun:
    """One run. Raises BenchmarkFailed unless every event is acknowledged, becomes visible and the totals are exact."""
    warm, measured = plan.requests(plan.warm_seconds), plan.requests(plan.seconds)
    arrivals = Arrivals(
        requests_per_second=plan.events_per_second / EVENTS_PER_REQUEST, evenly=plan.evenly, seed=plan.seed
    )
    with Server(data_dir) as server:
        server.wait_until_ready()
        server.wait_until_announced()
        with closing(Control(server.port)) as control:
            subjects = filled_server.create_subjects(control, plan.customers)
            shape = Shape(events=(warm + measured) * EVENTS_PER_REQUEST, seed=plan.seed)
            workload = Workload(shape, subjects.customers, int(time.time() * 1000))
            bodies = workload.bodies()
            with (
                filled_server.rendered_bodies(server, control, islice(bodies, warm), warm) as warm_requests,
                filled_server.rendered_bodies(server, control, bodies, measured) as requests,
            ):
                note(f"{plan.events_per_second:,} events/s for {plan.warm_seconds:g} s to warm up")
                load.generate(warm_requests, server.port, plan.connections, arrivals=arrivals)
                control.wait_until_visible()
                note(f"{plan.events_per_second:,} events/s for {plan.seconds:g} s")
                watch = Watch(server.port)
                before, stolen_before, own_before = server.use(), machine.stolen_seconds(), time.process_time()
                began = time.perf_counter()
                watch.start()
                result = load.generate(requests, server.port, plan.connections, arrivals=arrivals, with_times=True)
                events_before = warm * EVENTS_PER_REQUEST
                watch.wait_for(events_before + result.requests * EVENTS_PER_REQUEST)
                core_seconds = (time.perf_counter() - began) * machine.cores()
                after, stolen_after, own_after = server.use(), machine.stolen_seconds(), time.process_time()
        totals = workload.expected_totals(warm + measured)
        checked = filled_server.check(server, subjects, totals, workload.range_seconds(), plan.seed)
        server.stop()
    events = result.requests * EVENTS_PER_REQUEST
    visible = visible_ms(result.acknowledged_ns, watch.readings, events_before)
    distances = sorted(
        (later.at_ns - earlier.at_ns) / 1e6 for earlier, later in zip(watch.readings, watch.readings[1:], strict=False)
    )
    return LatencyRun(
        events_per_second_offered=plan.events_per_second,
        events_per_second_acknowledged=events / result.seconds,
        ack_ms_p50=result.latency_ms_p50,
        ack_ms_p99=result.latency_ms_p99,
        ack_ms_p999=result.latency_ms_p999,
        ack_ms_max=result.latency_ms_max,
        visible_ms_p50=percentile(visible, 50),
        visible_ms_p99=percentile(visible, 99),
        visible_ms_p999=percentile(visible, 99.9),
        visible_ms_max=visible[-1],
        generator_lateness_ms_p99=result.lateness_ms_p99,
        readings_ms_p99=percentile(distances, 99) if distances else 0.0,
        waiting_max=result.waiting_max,
        requests_refused=result.refused,
        server_cpu_seconds_per_million={
            name: seconds / events * 1e6 for name, seconds in cpu_between(before, after).items()
        },
        generator_share_of_cores=result.cpu_seconds / core_seconds,
        readings_share_of_cores=(own_after - own_before) / core_seconds,
        stolen_share_of_cores=(stolen_after - stolen_before) / core_seconds,
        totals_checked=checked,
    )


def figures(runs: Sequence[LatencyRun]) -> list[Figure]:
    """The figures of at least one run."""

    def of(name: str, unit: str, value: Callable[[LatencyRun], float]) -> Figure | None:
        return report.figure(name, unit, runs, value)

    return [
        *report.present(
            of("offered", "events/s", lambda run: run.events_per_second_offered),
            of("acknowledged", "events/s", lambda run: run.events_per_second_acknowledged),
            of("due → acknowledged p50", "ms", lambda run: run.ack_ms_p50),
            of("due → acknowledged p99", "ms", lambda run: run.ack_ms_p99),
            of("due → acknowledged p99.9", "ms", lambda run: run.ack_ms_p999),
            of("due → acknowledged, slowest", "ms", lambda run: run.ack_ms_max),
            of("acknowledged → visible p50", "ms", lambda run: run.visible_ms_p50),
            of("acknowledged → visible p99", "ms", lambda run: run.visible_ms_p99),
            of("acknowledged → visible, slowest", "ms", lambda run: run.visible_ms_max),
            of("generator late p99", "ms", lambda run: run.generator_lateness_ms_p99),
            of("distance of two readings p99", "ms", lambda run: run.readings_ms_p99),
            of("due without a free connection, most", "requests", lambda run: run.waiting_max),
            of("requests refused (429, 503)", "", lambda run: run.requests_refused),
        ),
        *report.by_key("CPU", "s per million", runs, lambda run: run.server_cpu_seconds_per_million),
        *report.present(
            of("share of all cores, load generator", "", lambda run: run.generator_share_of_cores),
            of("share of all cores, readings", "", lambda run: run.readings_share_of_cores),
            of("share of all cores, stolen by the host", "", lambda run: run.stolen_share_of_cores),
        ),
    ]
