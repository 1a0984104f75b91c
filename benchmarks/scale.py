"""How the figures change with what is stored: one folder is filled in steps, and looked at after each."""

import itertools
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from benchmarks import event_lists, filled_server, load, report, request_file
from benchmarks.control import Control
from benchmarks.event_lists import ListTimes
from benchmarks.failure import BenchmarkFailed
from benchmarks.filled_server import Subjects
from benchmarks.load import percentile
from benchmarks.report import GIB, Figure
from benchmarks.server import Server, disk_bytes
from benchmarks.workload import (
    ADDITIVE_METERS,
    DAY_MS,
    EVENTS_PER_REQUEST,
    HOUR_MS,
    MINUTE_MS,
    Meter,
    Shape,
    TotalKey,
    Workload,
)

EVENTS_PER_PART = 1_000_000  # bounds what is rendered in memory at once
MONTH_MS = 30 * DAY_MS
STORM_PARTS_MAX = 10  # the repeats of a storm are taken from so many parts, spread over all that is stored
IDENTIFIERS_KEPT_PER_PART = 20
# Longer than until the store has deleted what it merged: a minute, and then it has to look for it.
SETTLED_SECONDS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`sizes`: events stored at which to look, ascending; 0 is an empty folder. `look_events` are sent `looks` times
    at each, and each kind of list is read `lists` times. The fill moves through the last 30 days, so that every hour of
    a month has summaries. A full folder is left alone for up to `settle_seconds` before its bytes are counted.
    """

    sizes: tuple[int, ...]
    look_events: int
    looks: int
    starts: int
    queries: int
    lists: int
    customers: int
    connections: int
    storm_seconds: float
    seed: int
    settle_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleStep:
    """What was seen with `events_stored` events, which include all that earlier steps sent, duplicates too.

    Rates are of events acknowledged and visible. `storm`: nothing but repeats. `page`: 100 hourly summaries of one
    customer and meter; `month`: all pages of 30 days, one after the other. Latencies are over HTTP, one at a time.
    `rss_ready`: right after a start; `rss_peak`: at the end of the step; both of all processes of the server.
    """

    events_stored: int
    fill_events_per_second: float | None
    events_per_second: tuple[float, ...]
    storm_events_per_second: float | None
    ready_seconds: tuple[float, ...]
    rss_ready_bytes: int
    rss_peak_bytes: int
    disk_bytes: dict[str, int]
    page_ms_p50: float | None
    page_ms_p99: float | None
    month_ms_p50: float | None
    month_ms_p99: float | None
    month_summaries: float | None
    receipt_ms_p50: float | None
    receipt_ms_p99: float | None
    lists: dict[str, ListTimes]
    totals_checked: int

    @property
    def disk_bytes_per_event(self) -> float | None:
        return sum(self.disk_bytes.values()) / self.events_stored if self.events_stored else None


@dataclass(frozen=True, slots=True)
class Part:
    """A workload that was sent, so that it can be made again."""

    shape: Shape
    now_ms: int


@dataclass(slots=True)
class Stored:
    """What the folder holds so far."""

    subjects: Subjects
    now_ms: int
    seed: int
    events: int = 0
    parts: list[Part] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    expected: dict[TotalKey, Decimal] = field(default_factory=dict)

    @property
    def range_seconds(self) -> tuple[int, int]:
        """[start, end) that covers every event, whole hours."""
        newest_ms = max(self.now_ms, *(part.now_ms for part in self.parts), 0)  # a run may outlast its first hour
        return (self.now_ms - MONTH_MS - 2 * DAY_MS) // HOUR_MS * 3_600, (newest_ms // HOUR_MS + 1) * 3_600

    @property
    def month_seconds(self) -> tuple[int, int]:
        """[start, end) of the last 30 days, whole hours."""
        end_s = (self.now_ms // HOUR_MS + 1) * 3_600
        return end_s - MONTH_MS // 1000, end_s

    def next_shape(self, events: int) -> Shape:
        """A shape with a seed of its own, so that no identifier comes twice."""
        self.seed += 1
        return Shape(events=events, seed=self.seed)


def run(plan: Plan, data_dir: Path, note: Callable[[str], None]) -> Iterator[ScaleStep]:
    """Fill a fresh folder and look at each size.

    Raises BenchmarkFailed when the server does not start or stop, or when a total is wrong.
    """
    with Server(data_dir) as server:
        server.wait_until_ready()
        with closing(Control(server.port)) as control:
            subjects = filled_server.create_subjects(control, plan.customers)
    stored = Stored(subjects, int(time.time() * 1000), plan.seed * 1_000_000)
    for size in plan.sizes:
        yield _step(size, plan, stored, data_dir, note)


def _step(size: int, plan: Plan, stored: Stored, data_dir: Path, note: Callable[[str], None]) -> ScaleStep:
    fill_rate: float | None = None
    if size > stored.events:
        with Server(data_dir) as server:
            server.wait_until_ready()
            with closing(Control(server.port)) as control:
                fill_rate = _fill(size, plan, stored, server, control, note)
            _settle(data_dir, plan.settle_seconds)
            server.stop()
    sizes, events_stored, old = disk_bytes(data_dir), stored.events, tuple(stored.parts)
    ready: list[float] = []
    for _ in range(plan.starts - 1):
        with Server(data_dir) as server:
            ready.append(server.wait_until_ready())
            server.stop()
    with Server(data_dir) as server:
        ready.append(server.wait_until_ready())
        rss_ready = sum(use.rss_bytes for use in server.use())
        note(f"{events_stored:,} events stored, ready after {ready[-1]:.2f} s")
        with closing(Control(server.port)) as control:
            pages, months, counts, receipts = _queries(plan, stored, control)
            lists = _lists(plan, stored, control)
            rates: list[float] = []
            for _ in range(plan.looks):
                rates.append(_look(plan, stored, server, control))
            storm_rate = _storm(old, plan, stored, server, control) if old else None
        note(f"{rates[-1]:,.0f} events/s" + (f", {storm_rate:,.0f} of repeats" if storm_rate else ""))
        additive = replace(stored.subjects, meters={each: stored.subjects.meters[each] for each in ADDITIVE_METERS})
        checked = filled_server.check(server, additive, stored.expected, stored.range_seconds, plan.seed)
        rss_peak = sum(use.rss_peak_bytes for use in server.use())
        server.stop()
    return ScaleStep(
        events_stored=events_stored,
        fill_events_per_second=fill_rate,
        events_per_second=tuple(rates),
        storm_events_per_second=storm_rate,
        ready_seconds=tuple(ready),
        rss_ready_bytes=rss_ready,
        rss_peak_bytes=rss_peak,
        disk_bytes=sizes,
        page_ms_p50=percentile(pages, 50) if pages else None,
        page_ms_p99=percentile(pages, 99) if pages else None,
        month_ms_p50=percentile(months, 50) if months else None,
        month_ms_p99=percentile(months, 99) if months else None,
        month_summaries=sum(counts) / len(counts) if counts else None,
        receipt_ms_p50=percentile(receipts, 50) if receipts else None,
        receipt_ms_p99=percentile(receipts, 99) if receipts else None,
        lists=lists,
        totals_checked=checked,
    )


def _fill(
    size: int, plan: Plan, stored: Stored, server: Server, control: Control, note: Callable[[str], None]
) -> float:
    """Store events up to `size`; events per second while they were sent, without the time for rendering them."""
    missing = size - stored.events
    count = -(-missing // EVENTS_PER_PART)
    span_ms = MONTH_MS // count
    seconds = 0.0
    for number in range(count):
        shape = replace(
            stored.next_shape(min(EVENTS_PER_PART, size - stored.events)),
            fresh_age_ms=(MINUTE_MS, MINUTE_MS + span_ms),
        )
        part = Part(shape, stored.now_ms - (count - 1 - number) * span_ms)
        seconds += _send(part, plan, stored, server, control)
        note(f"{stored.events:,} events sent")
    began = time.perf_counter()
    control.wait_until_visible()
    return missing / (seconds + time.perf_counter() - began)


def _send(part: Part, plan: Plan, stored: Stored, server: Server, control: Control) -> float:
    """Send a workload and take it into what is expected; the seconds it took until the last answer."""
    workload = Workload(part.shape, stored.subjects.customers, part.now_ms)
    with filled_server.rendered(server, control, workload) as descriptor:
        result = load.generate(descriptor, server.port, plan.connections)
    stored.parts.append(part)
    stored.events += result.requests * EVENTS_PER_REQUEST
    stored.identifiers += workload.counted_identifiers(IDENTIFIERS_KEPT_PER_PART)
    for key, total in workload.expected_totals(result.requests).items():
        if key.meter in ADDITIVE_METERS:
            stored.expected[key] = stored.expected.get(key, Decimal(0)) + total
    return result.seconds


def _look(plan: Plan, stored: Stored, server: Server, control: Control) -> float:
    """Events per second, acknowledged and visible, of events that are new."""
    control.wait_until_visible()
    part = Part(stored.next_shape(plan.look_events), int(time.time() * 1000))
    events_before = stored.events
    seconds = _send(part, plan, stored, server, control)
    began = time.perf_counter()
    control.wait_until_visible()
    return (stored.events - events_before) / (seconds + time.perf_counter() - began)


def _storm(old: Sequence[Part], plan: Plan, stored: Stored, server: Server, control: Control) -> float:
    """Events per second, acknowledged and visible, of events that are all repeats of old ones."""
    parts = old[:: max(len(old) // STORM_PARTS_MAX, 1)][:STORM_PARTS_MAX]
    per_part = max(plan.look_events // EVENTS_PER_REQUEST // len(parts), 1)
    bodies = list(_repeats(parts, stored, per_part))
    descriptor = request_file.write(bodies, len(bodies), load.HOST, server.port, control.open_session())
    try:
        began = time.perf_counter()
        result = load.generate(descriptor, server.port, plan.connections, plan.storm_seconds)
        control.wait_until_visible()
        seconds = time.perf_counter() - began
    finally:
        os.close(descriptor)
    events = result.requests * EVENTS_PER_REQUEST
    stored.events += events
    return events / seconds


def _repeats(parts: Sequence[Part], stored: Stored, per_part: int) -> Iterator[bytes]:
    """Request bodies of each part, word for word, taking turns: neighbours in the storm were far apart in the log."""
    each = [
        itertools.islice(Workload(part.shape, stored.subjects.customers, part.now_ms).bodies(), per_part)
        for part in parts
    ]
    return (body for turn in itertools.zip_longest(*each) for body in turn if body is not None)


def _queries(plan: Plan, stored: Stored, control: Control) -> tuple[list[float], list[float], list[int], list[float]]:
    """Milliseconds, ascending, of first pages, of whole months and of receipts; and how many summaries a month had."""
    if not stored.identifiers:
        return [], [], [], []
    rng = random.Random(plan.seed)
    pages: list[float] = []
    months: list[float] = []
    counts: list[int] = []
    receipts: list[float] = []
    for _ in range(plan.queries):
        customer = rng.choice(stored.subjects.customers)
        meter_id = stored.subjects.meters[rng.choice(list(Meter))]
        began = time.perf_counter()
        count, after = control.hourly_page(meter_id, customer, stored.month_seconds)
        pages.append((time.perf_counter() - began) * 1e3)
        while after is not None:
            more, after = control.hourly_page(meter_id, customer, stored.month_seconds, after)
            count += more
        months.append((time.perf_counter() - began) * 1e3)
        counts.append(count)
    for identifier in rng.choices(stored.identifiers, k=plan.queries):
        began = time.perf_counter()
        receipt = control.receipt(identifier)
        receipts.append((time.perf_counter() - began) * 1e3)
        if receipt["status"] != "counted":
            raise BenchmarkFailed(f"an event that was counted has the receipt {receipt}")
    return sorted(pages), sorted(months), counts, sorted(receipts)


def _lists(plan: Plan, stored: Stored, control: Control) -> dict[str, ListTimes]:
    if not stored.events:
        return {}
    filters = event_lists.filters(stored.subjects, stored.month_seconds, random.Random(plan.seed))
    return {name: event_lists.measure(control, wanted, plan.lists) for name, wanted in filters.items()}


def _settle(data_dir: Path, seconds_max: float) -> None:
    """Wait until the folder's size has stood still for a while: merges go on after the last event."""
    deadline = time.monotonic() + seconds_max
    size, since = -1, time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < SETTLED_SECONDS:
        time.sleep(0.5)
        now = sum(disk_bytes(data_dir).values())
        if now != size:
            size, since = now, time.monotonic()


def figures(steps: Sequence[ScaleStep]) -> list[Figure]:
    """The figures of every size, the size in front."""
    empty = next((each for each in steps if not each.events_stored), None)
    found: list[Figure] = []
    for step in steps:
        name = f"{step.events_stored:,}" if step.events_stored else "empty"
        rows: list[tuple[str, str, Sequence[float | None]]] = [
            ("fill", "events/s", [step.fill_events_per_second]),
            ("acknowledged and visible", "events/s", step.events_per_second),
            ("all repeats", "events/s", [step.storm_events_per_second]),
            ("all repeats ÷ new", "", [_ratio(step.storm_events_per_second, step)]),
            ("÷ empty", "", [_median(step) / _median(empty) if empty and step is not empty else None]),
            ("start to ready", "s", step.ready_seconds),
            ("memory after the start", "GiB", [step.rss_ready_bytes / GIB]),
            ("memory, peak", "GiB", [step.rss_peak_bytes / GIB]),
            ("disk at rest", "bytes/event", [step.disk_bytes_per_event]),
            ("100 hourly summaries p50", "ms", [step.page_ms_p50]),
            ("100 hourly summaries p99", "ms", [step.page_ms_p99]),
            ("a month of hourly summaries p50", "ms", [step.month_ms_p50]),
            ("a month of hourly summaries p99", "ms", [step.month_ms_p99]),
            ("receipt p50", "ms", [step.receipt_ms_p50]),
            ("receipt p99", "ms", [step.receipt_ms_p99]),
        ]
        for listed, times in step.lists.items():
            rows += [(f"list of {listed} p50", "ms", [times.ms_p50]), (f"list of {listed} p99", "ms", [times.ms_p99])]
        for label, unit, values in rows:
            present = [value for value in values if value is not None]
            if present:
                found.append(Figure(name=f"{name}: {label}", unit=unit, spread=report.spread(present)))
    return found


def _median(step: ScaleStep) -> float:
    return report.spread(step.events_per_second).median


def _ratio(rate: float | None, step: ScaleStep) -> float | None:
    return rate / _median(step) if rate is not None else None
