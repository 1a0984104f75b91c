"""A running server with meters and customers, into which workloads are sent and from which totals are checked."""

import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal

from benchmarks import load, request_file
from benchmarks.control import Control, check_totals
from benchmarks.server import Server
from benchmarks.workload import Meter, TotalKey, Workload

CHECKED_CUSTOMERS_MAX = 200  # a summary takes milliseconds to read, and there is one per customer and meter
BUSIEST_CUSTOMERS = 20  # of the sample: the hottest rollups are where a race would show


@dataclass(frozen=True, slots=True)
class Subjects:
    """What events are about: meter ids by meter, customer ids by index."""

    meters: Mapping[Meter, str]
    customers: tuple[str, ...]
    setup_seconds: float = field(compare=False)


def create_subjects(control: Control, customers: int) -> Subjects:
    """Create the workload's meters and `customers` customers."""
    began = time.perf_counter()
    meters = control.create_meters()
    return Subjects(meters, tuple(control.create_customers(customers)), time.perf_counter() - began)


@contextmanager
def rendered(server: Server, control: Control, workload: Workload) -> Iterator[int]:
    """The workload as HTTP requests with a fresh session's token, in shared memory: a descriptor for load.generate."""
    with rendered_bodies(server, control, workload.bodies(), workload.requests) as descriptor:
        yield descriptor


@contextmanager
def rendered_bodies(server: Server, control: Control, bodies: Iterable[bytes], count: int) -> Iterator[int]:
    """`count` bodies, as `rendered` does it."""
    descriptor = request_file.write(bodies, count, load.HOST, server.port, control.open_session())
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def check(
    server: Server,
    subjects: Subjects,
    expected: Mapping[TotalKey, Decimal],
    range_seconds: tuple[int, int],
    seed: int,
) -> int:
    """Compare totals with what is expected: of every customer, or of a seeded sample when there are many.

    Returns how many totals were compared; raises BenchmarkFailed when one differs.
    """
    indexes = list(range(len(subjects.customers)))
    if len(indexes) > CHECKED_CUSTOMERS_MAX:
        others = random.Random(seed).sample(indexes[BUSIEST_CUSTOMERS:], CHECKED_CUSTOMERS_MAX - BUSIEST_CUSTOMERS)
        indexes = indexes[:BUSIEST_CUSTOMERS] + sorted(others)
    customers = {index: subjects.customers[index] for index in indexes}
    with closing(Control(server.port)) as control:
        return check_totals(control, subjects.meters, customers, expected, range_seconds)
