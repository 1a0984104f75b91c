"""What one would build instead, measured in the same run: the same requests, the same generator, the same totals."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import quote

from benchmarks import load, report, request_file
from benchmarks.comparison import postgresql, programs, redis_server
from benchmarks.failure import BenchmarkFailed
from benchmarks.load import percentile
from benchmarks.process_tree import ProcessUse, cpu_between, proportional_bytes
from benchmarks.report import GIB, Figure
from benchmarks.server import disk_bytes
from benchmarks.service_process import ServiceProcess
from benchmarks.workload import EVENTS_PER_REQUEST, Meter, Shape, TotalKey, Workload

WORKERS = 2  # of the service: as many as this machine has cores; PostgreSQL and Redis get what these leave
CUSTOMER_QUERIES = 20
ANSWER_SECONDS_MAX = 300


class Kind(StrEnum):
    """Which service; the names of its modules are in `_SERVICES`."""

    POSTGRES = "postgres"
    POSTGRES_UNNEST = "postgres-unnest"
    POSTGRES_COPY = "postgres-copy"
    REDIS = "redis"


TUNED = (Kind.POSTGRES_UNNEST, Kind.POSTGRES_COPY)
FASTER_TUNED = "streamgauge ÷ the faster tuned postgres"


@dataclass(frozen=True, slots=True)
class Service:
    module: str
    programs: tuple[str, ...]


_SERVICES = {
    Kind.POSTGRES: Service("benchmarks.comparison.postgres_plain", ("postgres",)),
    Kind.POSTGRES_UNNEST: Service("benchmarks.comparison.postgres_tuned", ("postgres",)),
    Kind.POSTGRES_COPY: Service("benchmarks.comparison.postgres_copy", ("postgres",)),
    Kind.REDIS: Service("benchmarks.comparison.redis_stream", ("redis-server",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sending ends after `seconds`, or when all of `shape` is sent; each service begins with an empty store."""

    shape: Shape
    customers: int
    connections: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRun:
    """One service. What is acknowledged is visible: totals are made from the events when somebody asks.

    `rss_bytes` after the last answer, pages that processes share counted once. `all_totals_seconds`: reading the totals
    of every customer once; `customer_ms_*`: those of one customer.
    """

    kind: Kind
    events: int
    events_per_second: float
    ack_ms_p50: float
    ack_ms_p99: float
    ack_ms_p999: float
    cpu_seconds_per_million: dict[str, float]
    generator_cpu_seconds_per_million: float
    rss_bytes: int
    disk_bytes_per_event: float
    all_totals_seconds: float
    customer_ms_p50: float
    customer_ms_p99: float
    totals_checked: int


def missing(kind: Kind) -> list[str]:
    """What the comparison needs and this machine lacks."""
    return programs.missing(_SERVICES[kind].programs)


def install(kinds: Sequence[Kind]) -> None:
    """Install the servers that are missing from Debian's packages. Raises BenchmarkFailed."""
    programs.install(sorted({each for kind in kinds for each in _SERVICES[kind].programs}))


def run(kind: Kind, plan: Plan, folder: Path, note: Callable[[str], None]) -> ComparisonRun:
    """Raises BenchmarkFailed unless every event is acknowledged and each identifier counted once, in every total."""
    customers = [f"cus_{index:014}" for index in range(plan.customers)]
    workload = Workload(plan.shape, customers, int(time.time() * 1000))
    with _store(kind, folder) as (store, environment), _service(kind, environment) as service:
        _call(service.port, "PUT", "/customers", customers)
        descriptor = request_file.write(workload.bodies(), workload.requests, load.HOST, service.port, "none")
        try:
            note(f"{kind}: sending for {plan.seconds:g} s")
            before = (service.use(), store.use())
            result = load.generate(descriptor, service.port, plan.connections, plan.seconds)
            after = (service.use(), store.use())
            rss_bytes = sum(map(proportional_bytes, after))
        finally:
            os.close(descriptor)
        events = result.requests * EVENTS_PER_REQUEST
        size = sum(disk_bytes(folder).values())
        began = time.perf_counter()
        answered = _totals(service.port)
        all_totals_seconds = time.perf_counter() - began
        checked = _check(kind, workload.expected_totals(result.requests), customers, answered)
        latencies: list[float] = []
        for customer in customers[:CUSTOMER_QUERIES]:
            began = time.perf_counter()
            _totals(service.port, customer)
            latencies.append((time.perf_counter() - began) * 1e3)
        latencies.sort()
    return ComparisonRun(
        kind=kind,
        events=events,
        events_per_second=events / result.seconds,
        ack_ms_p50=result.latency_ms_p50,
        ack_ms_p99=result.latency_ms_p99,
        ack_ms_p999=result.latency_ms_p999,
        cpu_seconds_per_million={
            name: _spent(*pair) / events * 1e6
            for name, pair in zip(("service", "store"), zip(before, after, strict=True), strict=True)
        },
        generator_cpu_seconds_per_million=result.cpu_seconds / events * 1e6,
        rss_bytes=rss_bytes,
        disk_bytes_per_event=size / events,
        all_totals_seconds=all_totals_seconds,
        customer_ms_p50=percentile(latencies, 50),
        customer_ms_p99=percentile(latencies, 99),
        totals_checked=checked,
    )


def figures(runs: Sequence[ComparisonRun], ours: Sequence[float]) -> list[Figure]:
    """The figures of each service that was measured; `ours`: our own events per second in the same runs."""
    own = report.spread(ours) if ours else None
    found = [Figure(name="streamgauge: acknowledged and visible", unit="events/s", spread=own)] if own else []
    rates = [report.spread([each.events_per_second for each in runs if each.kind == kind]).median
             for kind in TUNED if any(each.kind == kind for each in runs)]  # fmt: skip
    if own and rates:
        found.append(Figure(name=FASTER_TUNED, unit="", spread=report.spread([own.median / max(rates)])))
    for kind in Kind:
        of = [each for each in runs if each.kind == kind]
        if not of:
            continue
        figure = report.figure(f"{kind}: acknowledged", "events/s", of, lambda run: run.events_per_second)
        if own and figure:
            found.append(
                Figure(
                    name=f"streamgauge ÷ {kind}",
                    unit="",
                    spread=report.spread([own.median / figure.spread.median]),
                )
            )
        found += report.present(
            figure,
            report.figure(f"{kind}: acknowledgement p50", "ms", of, lambda run: run.ack_ms_p50),
            report.figure(f"{kind}: acknowledgement p99", "ms", of, lambda run: run.ack_ms_p99),
            report.figure(f"{kind}: disk", "bytes/event", of, lambda run: run.disk_bytes_per_event),
            report.figure(f"{kind}: memory", "GiB", of, lambda run: run.rss_bytes / GIB),
            report.figure(f"{kind}: totals of one customer p50", "ms", of, lambda run: run.customer_ms_p50),
            report.figure(f"{kind}: totals of all customers", "s", of, lambda run: run.all_totals_seconds),
        )
        found += report.by_key(f"{kind}: CPU", "s per million", of, lambda run: run.cpu_seconds_per_million)
    return found


@contextmanager
def _store(kind: Kind, folder: Path) -> Iterator[tuple[ServiceProcess, Mapping[str, str]]]:
    """The store's process, and how the service is told of it."""
    match kind:
        case Kind.REDIS:
            with redis_server.running(folder) as server:
                yield server, {"BENCH_REDIS_PORT": str(server.port)}
        case Kind.POSTGRES | Kind.POSTGRES_UNNEST | Kind.POSTGRES_COPY:
            settings = postgresql.TUNED if kind in TUNED else postgresql.PLAIN
            with postgresql.running(folder, settings) as (server, address):
                yield server, {"BENCH_DSN": address}


def _service(kind: Kind, environment: Mapping[str, str]) -> ServiceProcess:
    def command(port: int) -> list[str]:
        words = [str(programs.PYTHON), "-m", "uvicorn", f"{_SERVICES[kind].module}:app", "--host", load.HOST]
        words += ["--port", str(port), "--workers", str(WORKERS), "--loop", "uvloop", "--http", "httptools"]
        return [*words, "--no-access-log", "--log-level", "warning"]

    return ServiceProcess(f"the service '{kind}'", command, environment=environment)


def _totals(port: int, customer: str | None = None) -> list[tuple[str, str, int, str, str]]:
    """(event name, customer, count, sum, last) for each that has events."""
    rows = _call(port, "GET", "/totals" + (f"?customer={quote(customer)}" if customer else ""))
    if not isinstance(rows, list):
        raise BenchmarkFailed(f"totals are {rows!r}")
    return [tuple(row) for row in rows]


def _check(
    kind: Kind,
    expected: Mapping[TotalKey, Decimal],
    customers: Sequence[str],
    answered: Sequence[tuple[str, str, int, str, str]],
) -> int:
    """Compare the totals of every customer; how many were compared. Raises BenchmarkFailed when one differs."""
    meters = {meter.event_name: meter for meter in Meter}
    index_of = {customer: index for index, customer in enumerate(customers)}
    found: dict[TotalKey, Decimal] = {}
    for event_name, customer, count, total, last in answered:
        meter = meters[event_name]
        value = {Meter.SUM: total, Meter.COUNT: str(count), Meter.LAST: last}[meter]
        found[TotalKey(meter, index_of[customer])] = Decimal(value)
    wrong = [
        f"{key.meter.event_name} of customer {key.customer_index}: {found.get(key, 0)}, expected {total}"
        for key, total in expected.items()
        if found.get(key, Decimal(0)) != total
    ]
    if wrong:
        raise BenchmarkFailed(f"{kind}: {len(wrong)} totals are wrong:\n" + "\n".join(wrong[:10]))
    return len(expected)


def _call(port: int, method: str, path: str, body: object = None) -> object:
    connection = HTTPConnection(load.HOST, port, timeout=ANSWER_SECONDS_MAX)
    headers = {"Content-Type": "application/json"}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, HTTPException) as error:
        raise BenchmarkFailed(f"{method} {path} got no answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise BenchmarkFailed(f"{method} {path} answered {answer.status}: {text.decode(errors='replace')}")
    return json.loads(text)


def _spent(before: Sequence[ProcessUse], after: Sequence[ProcessUse]) -> float:
    return sum(cpu_between(before, after).values())
