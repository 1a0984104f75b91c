"""Time until the list of events has told its 100 newest: of all, by each kind of filter, and where there are none."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.control import PAGE_SIZE, Control
from benchmarks.filled_server import Subjects
from benchmarks.load import percentile
from benchmarks.workload import HOUR_MS, UNKNOWN_CUSTOMER, Meter

Filter = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTimes:
    """Milliseconds until 100 events were read, or the end was reached, one list after the other over HTTP.

    A search takes a second at most and says where to go on, so a list of rare events takes several requests:
    `requests_max` in the longest. `events_min` in the shortest.
    """

    ms_p50: float
    ms_p99: float
    requests_max: int
    events_min: int


def filters(subjects: Subjects, range_seconds: tuple[int, int], rng: random.Random) -> dict[str, Callable[[], Filter]]:
    """What is listed, by name. Each call draws another customer, meter or hour."""

    def customer() -> Filter:
        return {"customer": rng.choice(subjects.customers)}

    def meter() -> Filter:
        return {"meter": subjects.meters[rng.choice(list(Meter))]}

    def hour(name: str) -> Filter:
        start_s = rng.randrange(*range_seconds, HOUR_MS // 1000)
        return {f"{name}[gte]": str(start_s), f"{name}[lt]": str(start_s + HOUR_MS // 1000)}

    return {
        "all": dict,
        "a customer": customer,
        "a meter": meter,
        "an event name": lambda: {"event_name": rng.choice(list(Meter)).event_name},
        "a customer and a meter": lambda: {**customer(), **meter()},
        "rejected": lambda: {"status": "rejected"},
        "duplicates": lambda: {"status": "duplicate"},
        "a code": lambda: {"code": "meter_event_customer_not_found"},
        "an hour of event time": lambda: hour("timestamp"),
        "a customer without events": lambda: {"customer": f"{UNKNOWN_CUSTOMER}_at_all"},
    }


def measure(control: Control, wanted: Callable[[], Filter], lists: int) -> ListTimes:
    """`lists` of them, one after the other."""
    times: list[float] = []
    requests: list[int] = []
    events: list[int] = []
    for _ in range(lists):
        began = time.perf_counter()
        pages = list(_pages(control, wanted()))
        times.append((time.perf_counter() - began) * 1e3)
        requests.append(len(pages))
        events.append(sum(pages))
    times.sort()
    return ListTimes(
        ms_p50=percentile(times, 50),
        ms_p99=percentile(times, 99),
        requests_max=max(requests),
        events_min=min(events),
    )


def _pages(control: Control, wanted: Filter) -> Iterator[int]:
    """How many events each page had, until it is one page full of them altogether."""
    found, after = 0, None
    while found < PAGE_SIZE:
        count, after = control.listed_page(wanted, PAGE_SIZE - found, after)
        found += count
        yield count
        if after is None:
            return
