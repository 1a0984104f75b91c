"""Ceilings, measured in the same run: what the edge's HTTP server does with the same bytes and nothing behind it."""

import sys
from dataclasses import dataclass
from enum import StrEnum

from benchmarks import load
from benchmarks.process_tree import cpu_between
from benchmarks.service_process import ServiceProcess
from benchmarks.workload import EVENTS_PER_REQUEST


class Kind(StrEnum):
    """See ceiling_server.py."""

    ANSWER = "answer"
    DECODE = "decode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """Events per second of one process of the HTTP server, with one core for it and one for the generator."""

    kind: Kind
    events: int
    events_per_second: float
    server_cpu_seconds_per_million: float
    generator_cpu_seconds_per_million: float
    ack_ms_p50: float
    ack_ms_p99: float


def measure(kind: Kind, descriptor: int, connections: int, seconds: float) -> Ceiling:
    """Send the requests of a run to the bare server, for at most `seconds`."""
    service = ServiceProcess(
        f"the ceiling '{kind}'",
        lambda port: [sys.executable, "-m", "benchmarks.ceiling_server", str(port), kind],
    )
    with service:
        before = service.use()
        result = load.generate(descriptor, service.port, connections, seconds)
        cpu = cpu_between(before, service.use())
    events = result.requests * EVENTS_PER_REQUEST
    return Ceiling(
        kind=kind,
        events=events,
        events_per_second=events / result.seconds,
        server_cpu_seconds_per_million=sum(cpu.values()) / events * 1e6,
        generator_cpu_seconds_per_million=result.cpu_seconds / events * 1e6,
        ack_ms_p50=result.latency_ms_p50,
        ack_ms_p99=result.latency_ms_p99,
    )
