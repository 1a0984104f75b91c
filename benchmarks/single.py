"""The benchmark of single events: how many a second, each validated and answered on its own."""

import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

from benchmarks import filled_server, load, report, request_file
from benchmarks.control import Control
from benchmarks.failure import BenchmarkFailed
from benchmarks.process_tree import cpu_between
from benchmarks.report import Figure
from benchmarks.server import SECRET_KEY, Server
from benchmarks.workload import Meter

PATH = "/v1/billing/meter_events"
CONTENT_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleRun:
    """One run on a fresh folder. The rate counts from the first byte sent to the last 200; `visible_ms` is from then
    until the backlog was 0.
    """

    events: int
    events_per_second: float
    answer_ms_p50: float
    answer_ms_p99: float
    answer_ms_max: float
    visible_ms: float
    server_cpu_ms_per_event: dict[str, float]


def run(events: int, customers: int, connections: int, data_dir: Path, note: Callable[[str], None]) -> SingleRun:
    """Every request has an identifier and an Idempotency-Key of its own, as official clients send them.

    Raises BenchmarkFailed unless each is answered with 200 and the totals are exact.
    """
    with Server(data_dir) as server:
        server.wait_until_ready()
        server.wait_until_announced()
        with closing(Control(server.port)) as control:
            subjects = filled_server.create_subjects(control, customers)
            descriptor = request_file.write(
                (_body(subjects.customers[number % customers]) for number in range(events)),
                events,
                "127.0.0.1",
                server.port,
                SECRET_KEY,
                path=PATH,
                content_type=CONTENT_TYPE,
            )
            try:
                before = server.use()
                result = load.generate(descriptor, server.port, connections)
                answered_ns = time.perf_counter_ns()
                control.wait_until_visible()
                visible_ns = time.perf_counter_ns()
                after = server.use()
            finally:
                os.close(descriptor)
            now_s = int(time.time()) // 60 * 60
            total = sum(
                control.total(subjects.meters[Meter.SUM], customer, (now_s - 3_600, now_s + 120))
                for customer in subjects.customers
            )
            if total != Decimal(events):
                raise BenchmarkFailed(f"{events:,} events were answered, and the totals say {total:,}")
            note(f"{events:,} events counted")
        server.stop()
    return SingleRun(
        events=events,
        events_per_second=events / (result.finished_ns - result.started_ns) * 1e9,
        answer_ms_p50=result.latency_ms_p50,
        answer_ms_p99=result.latency_ms_p99,
        answer_ms_max=result.latency_ms_max,
        visible_ms=(visible_ns - answered_ns) / 1e6,
        server_cpu_ms_per_event={name: seconds / events * 1e3 for name, seconds in cpu_between(before, after).items()},
    )


def _body(customer: str) -> bytes:
    form = {
        "event_name": Meter.SUM.event_name,
        "identifier": str(uuid.uuid4()),
        "payload[stripe_customer_id]": customer,
        "payload[value]": "1",
    }
    return urlencode(form).encode()


def figures(runs: Sequence[SingleRun]) -> list[Figure]:
    """The figures of at least one run."""
    return [
        *report.present(
            report.figure("validated and answered", "events/s", runs, lambda run: run.events_per_second),
            report.figure("answer p50", "ms", runs, lambda run: run.answer_ms_p50),
            report.figure("answer p99", "ms", runs, lambda run: run.answer_ms_p99),
            report.figure("last answer to all visible", "ms", runs, lambda run: run.visible_ms),
        ),
        *report.by_key("CPU", "ms per event", runs, lambda run: run.server_cpu_ms_per_event),
    ]
