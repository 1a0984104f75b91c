"""What more cores would do, on paper: from the CPU that each stage was measured to use for an event.

A stage of which there may be several (edge processes) is bounded by the cores alone. What there is one of is bounded by
its busiest thread too, because a thread runs on one core. Appends to the log exclude each other, whichever edge they
come from, so what the edges' threads beside their event loops use is done by one at a time. The disk is bounded by what
it writes in a second. The rate is the least of these bounds, and its name is what saturates first.

Assumed: clients run elsewhere; cores are like those measured; costs per event do not grow with the number of
processes, which shared caches, memory bandwidth and the hypervisor will not quite grant.
"""

from collections.abc import Mapping
from dataclasses import dataclass

REPLICABLE = "edge"  # in the name of a process of which there may be several
CORES = (2, 8, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """CPU seconds per million events by process, and of each process' busiest thread; bytes written per event.

    `append_seconds`: CPU seconds per million events of appending, of all edges. Waiting for the sync comes on top.
    """

    process_seconds: Mapping[str, float]
    busiest_thread_seconds: Mapping[str, float]
    disk_bytes_per_event: float
    disk_bytes_per_second: float
    append_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """`bounds`: events per second that each bound alone would allow; `saturates`: the lowest of them."""

    cores: int
    events_per_second: float
    saturates: str
    edges: int
    bounds: Mapping[str, float]


def estimate(costs: Costs, cores: int) -> Estimate:
    """The model for a machine of so many cores."""
    bounds = {"all cores": cores * 1e6 / sum(costs.process_seconds.values())}
    for process, seconds in costs.busiest_thread_seconds.items():
        if REPLICABLE not in process and seconds:
            bounds[f"one thread of {process}"] = 1e6 / seconds
    if costs.append_seconds:
        bounds["appending to the log"] = 1e6 / costs.append_seconds
    bounds["the disk"] = costs.disk_bytes_per_second / costs.disk_bytes_per_event
    saturates = min(bounds, key=lambda name: bounds[name])
    rate = bounds[saturates]
    edge_seconds = sum(seconds for name, seconds in costs.process_seconds.items() if REPLICABLE in name)
    return Estimate(
        cores=cores,
        events_per_second=rate,
        saturates=saturates,
        edges=max(-int(-rate * edge_seconds // 1e6), 1),
        bounds=bounds,
    )
