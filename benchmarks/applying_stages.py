"""What each stage of applying costs: CPU time per event of the whole process, in the order in which the applier goes.

A folder is made with the meters and customers of the workload and a log of it, in records of 5,000 events. Then the log
is applied step by step, by the applier's own functions, each timed by itself: nothing runs beside it but the store's
own threads, whose merges fall into whatever stage is under way.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from benchmarks.workload import Meter as Kind
from benchmarks.workload import Shape, Workload
from streamgauge.adapters.clickhouse.background import yield_to_applying
from streamgauge.adapters.clickhouse.event_rows import event_rows
from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.api.v2.stream_body import request_of
from streamgauge.bootstrap.data_plane import DataPlane, open_data_plane
from streamgauge.config import load
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CancelBlock
from streamgauge.domain.credential import Principal
from streamgauge.domain.customer import Customer
from streamgauge.domain.event_block import encoded
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.judgement import judge
from streamgauge.domain.meter import Formula, Meter
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.rollups import fold
from streamgauge.domain.settled_events import settled_events
from streamgauge.domain.settlement import settle
from streamgauge.domain.span import Span
from streamgauge.engine.accounts import Accounts
from streamgauge.engine.apply import contents_of, logged_events
from streamgauge.engine.ports.event_log import LogRecord

RECORD_REQUESTS = 50
CUSTOMERS = 2_000

T = TypeVar("T")


class Stopwatch:
    """Nanoseconds of CPU of each stage, user and system, of all threads of the process."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def __call__(self, stage: str, work: Callable[[], T]) -> T:
        began = time.process_time_ns()
        result = work()
        self.spent[stage] = time.process_time_ns() - began
        return result


def run(events: int, seed: int, step_events: int, folder: Path) -> list[dict[str, float]]:
    """For each step the nanoseconds per event of each stage. A process can do it once: it has one embedded engine."""
    config = load({"STREAMGAUGE_DATA_DIR": str(folder)})
    data_folder = DataFolder(folder)
    data_folder.lock()
    done: list[dict[str, float]] = []
    with ExitStack() as stack:
        plane = open_data_plane(config, data_folder, stack, is_server=True)
        yield_to_applying()
        _fill(plane, events, seed)
        plane.deduplication.rebuild(plane.progress.checkpoint())
        offset = 0
        while offset < plane.log.end_offset():
            watch = Stopwatch()
            next_offset = _step(plane, offset, step_events, watch)
            spent = watch.spent
            spent["insert"] = spent.pop("store") - spent["rows"] - spent["fold"]
            done.append({stage: each / (next_offset - offset) for stage, each in spent.items()})
            offset = next_offset
    return done


def _step(plane: DataPlane, offset: int, step_events: int, timed: Stopwatch) -> int:
    records = timed("read", lambda: plane.log.read(offset, events_max=step_events))
    blocks = timed("decode", lambda: _blocks(records))
    events = timed("join", lambda: received(blocks))
    judgement = timed("judge", lambda: judge(events, plane.catalogue.settled()))
    hashes = timed("hash", lambda: hash_identifiers(events.identifier, events.tenant, events.tenants))
    claims = timed("claims", lambda: plane.deduplication.claimed(events, hashes, below_offset=offset))
    settlement = timed("settle", lambda: settle(events, judgement.code, hashes, claims))
    settled = timed("columns", lambda: settled_events(events, judgement, settlement, hashes, plane.log.partition))
    timed("learn", lambda: plane.deduplication.claim(settled, records[-1].received_at_ms))
    # The store does these two itself; they are done once more to know their part of it.
    timed("rows", lambda: event_rows(settled.table))
    timed("fold", lambda: fold(settled.table))
    timed("store", lambda: plane.store.insert(settled, step=offset))
    return records[-1].next_offset


def _blocks(records: Sequence[LogRecord]) -> list[LoggedBlock]:
    blocks = [(contents_of(record), record) for record in records]
    return [logged_events(block, record) for block, record in blocks if not isinstance(block, CancelBlock)]


def _fill(plane: DataPlane, events: int, seed: int) -> None:
    clock, entropy = SystemClock(), SystemEntropy()
    tenant = Tenant(Accounts(plane.control, clock, entropy).default().id, livemode=False)
    names = [f"cus_{number:014d}" for number in range(CUSTOMERS)]
    with plane.catalogue.change() as change:
        for kind in Kind:
            meter = Meter(
                id=f"mtr_{kind.event_name}",
                tenant=tenant,
                display_name=kind.event_name,
                event_name=kind.event_name,
                formula=Formula(kind.formula),
                event_time_window=None,
                created_ms=change.at_ms,
                updated_ms=change.at_ms,
                active_spans=(Span(change.at_ms),),
            )
            plane.control.add_meter(meter)
            change.put_meter(meter)
        for name in names:
            customer = Customer(id=name, tenant=tenant, created_ms=change.at_ms)
            plane.control.add_customer(customer)
            change.put_customer(customer)
    origin = Principal(tenant, "key_bench", "mes_bench")
    bodies = list(Workload(Shape(events=events, seed=seed), names, clock.now_ms()).bodies())
    for start in range(0, len(bodies), RECORD_REQUESTS):
        block = encoded([request_of(origin, body, "key") for body in bodies[start : start + RECORD_REQUESTS]])
        plane.log.append(block.data, block.tallies)
