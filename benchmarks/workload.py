"""The canonical workload: seeded meter events as rendered request bodies, and the exact totals they must lead to.

Everything is decided in NumPy columns from one seed; the text of the events is made from the columns, and so are the
expected totals. `tests/unit/benchmarks/test_workload.py` recomputes the totals from the text alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

EVENTS_PER_REQUEST = 100
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

FRESH_AGE_MS = (1 * MINUTE_MS, 6 * MINUTE_MS)  # most events are a few minutes old
LATE_AGE_MS = (1 * HOUR_MS, 24 * HOUR_MS)
VALUE_THOUSANDTHS_MAX = 1_000_000  # values of the sum meter lie in 0.001 ... 1000.000
ZIPF_OFFSET = 10  # weight of the customer of rank r: 1 / (r + offset); the first of 2,000 sends about 1.8 %
UNKNOWN_CUSTOMER = "cus_nobody"

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Meter(IntEnum):
    """The three meters; the value is the meter's place in the columns."""

    SUM = 0
    COUNT = 1
    LAST = 2

    @property
    def event_name(self) -> str:
        return f"bench_{self.name.lower()}"

    @property
    def formula(self) -> str:
        return self.name.lower()


# Their totals add up over several workloads; those of `last` do not.
ADDITIVE_METERS = (Meter.SUM, Meter.COUNT)


class TotalKey(NamedTuple):
    meter: Meter
    customer_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the workload looks like. Shares are parts of all events; `events` is rounded up to full requests. Ages are
    in milliseconds, least and most.
    """

    events: int
    seed: int = 1
    fresh_age_ms: tuple[int, int] = FRESH_AGE_MS
    late_share: float = 0.05
    duplicate_share: float = 0.01
    invalid_share: float = 0.001

    @property
    def requests(self) -> int:
        return -(-self.events // EVENTS_PER_REQUEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """How many of the events sent must be counted, duplicate, rejected."""

    counted: int
    duplicate: int
    rejected: int


class Workload:
    """One seeded set of events, in the order in which they are sent.

    Shape:  every column has one entry per event; a request is EVENTS_PER_REQUEST consecutive events.
    Units:  times in milliseconds since the epoch, values in thousandths.
    The same shape, time and customers give the same bytes, on any machine.
    """

    def __init__(self, shape: Shape, customers: Sequence[str], now_ms: int) -> None:
        self._customers = tuple(customers)
        self._now_ms = now_ms
        self._age_ms_max = max(LATE_AGE_MS[1], shape.fresh_age_ms[1])
        self.requests = shape.requests
        size = self.requests * EVENTS_PER_REQUEST
        rng = np.random.default_rng(shape.seed)
        identifiers = _uuids(rng, size)
        meter = rng.integers(0, len(Meter), size)
        customer = _skewed(rng, size, len(self._customers))
        late = rng.random(size) < shape.late_share
        age_ms = np.where(late, rng.integers(*LATE_AGE_MS, size), rng.integers(*shape.fresh_age_ms, size))
        time_ms = now_ms - age_ms
        thousandths = rng.integers(1, VALUE_THOUSANDTHS_MAX + 1, size)
        # A reading of the last meter is a function of its moment: connections race, so the log order of two events of
        # one millisecond is not known here, and it must not matter.
        thousandths = np.where(meter == Meter.LAST, time_ms % VALUE_THOUSANDTHS_MAX, thousandths)
        invalid = rng.random(size) < shape.invalid_share

        # A duplicate repeats an earlier event word for word, as a client's retry does.
        source = np.arange(size)
        duplicate = rng.random(size) < shape.duplicate_share
        duplicate[0] = False
        originals = np.flatnonzero(~duplicate & ~invalid)
        candidates = np.flatnonzero(duplicate)
        earlier = np.searchsorted(originals, candidates)
        candidates, earlier = candidates[earlier > 0], earlier[earlier > 0]
        source[candidates] = originals[rng.integers(0, earlier)]

        self._is_repeat = source != np.arange(size)
        self._source = source
        self._identifiers = identifiers
        self._meter: Int64s = meter[source]
        self._customer: Int64s = customer[source]
        self._time_ms: Int64s = time_ms[source]
        self._thousandths: Int64s = thousandths[source]
        self._is_invalid: Bools = invalid & ~self._is_repeat

    def bodies(self) -> Iterator[bytes]:
        """The JSON body of each request, in order. About 0.1 ms each: render before the clock starts."""
        for start in range(0, len(self._source), EVENTS_PER_REQUEST):
            yield b'{"events":[' + ",".join(self._events(slice(start, start + EVENTS_PER_REQUEST))).encode() + b"]}"

    def counted_identifiers(self, count: int) -> list[str]:
        """Up to `count` identifiers of events that are to be counted, evenly spaced over the workload."""
        rows = np.flatnonzero(~(self._is_repeat | self._is_invalid))
        chosen = rows[np.linspace(0, len(rows) - 1, min(count, len(rows)), dtype=np.int64)].tolist()
        return [self._identifiers[row * 36 : row * 36 + 36] for row in chosen]

    def fates(self, requests: int) -> Fates:
        """What becomes of the events of the first `requests` requests."""
        sent = requests * EVENTS_PER_REQUEST
        duplicate = int(self._is_repeat[:sent].sum())
        rejected = int(self._is_invalid[:sent].sum())
        return Fates(counted=sent - duplicate - rejected, duplicate=duplicate, rejected=rejected)

    def expected_totals(self, requests: int) -> dict[TotalKey, Decimal]:
        """The exact total of every meter and customer after the first `requests` requests; 0 where there is no event.

        All arithmetic is on integers: NumPy would add floats in np.bincount, so it is np.add.at on int64 here.
        """
        sent = requests * EVENTS_PER_REQUEST
        counted = ~(self._is_repeat[:sent] | self._is_invalid[:sent])
        meter, customer = self._meter[:sent][counted], self._customer[:sent][counted]
        time_ms, thousandths = self._time_ms[:sent][counted], self._thousandths[:sent][counted]
        totals: dict[TotalKey, Decimal] = {}
        for each in Meter:
            own = meter == each
            result = np.zeros(len(self._customers), np.int64)
            match each:
                case Meter.SUM:
                    np.add.at(result, customer[own], thousandths[own])
                case Meter.COUNT:
                    np.add.at(result, customer[own], 1_000)
                case Meter.LAST:
                    np.maximum.at(result, customer[own], time_ms[own])
                    result %= VALUE_THOUSANDTHS_MAX
            for customer_index, total in enumerate(result.tolist()):
                totals[TotalKey(each, customer_index)] = Decimal(total).scaleb(-3)
        return totals

    def range_seconds(self) -> tuple[int, int]:
        """[start, end) of a minute-aligned range that covers every event, in Unix seconds."""
        start_ms = (self._now_ms - self._age_ms_max) // MINUTE_MS * MINUTE_MS
        end_ms = -(-self._now_ms // MINUTE_MS) * MINUTE_MS
        return start_ms // 1000, end_ms // 1000

    def _events(self, rows: slice) -> Iterator[str]:
        times = np.datetime_as_string(self._time_ms[rows].astype("datetime64[ms]"), unit="ms", timezone="UTC").tolist()
        columns = zip(
            self._source[rows].tolist(),
            times,
            self._meter[rows].tolist(),
            self._customer[rows].tolist(),
            self._thousandths[rows].tolist(),
            self._is_invalid[rows].tolist(),
            strict=True,
        )
        identifiers, customers = self._identifiers, self._customers
        for source, time, meter, customer, thousandths, is_invalid in columns:
            customer_id = UNKNOWN_CUSTOMER if is_invalid else customers[customer]
            identifier = identifiers[source * 36 : source * 36 + 36]
            value = "" if meter == Meter.COUNT else f',"value":"{thousandths // 1000}.{thousandths % 1000:03}"'
            yield (
                f'{{"event_name":"{_EVENT_NAMES[meter]}","identifier":"{identifier}","timestamp":"{time}",'
                f'"payload":{{"stripe_customer_id":"{customer_id}"{value}}}}}'
            )


_EVENT_NAMES = [meter.event_name for meter in Meter]
_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_UUID_DIGIT_PLACES = np.array([place for place in range(36) if place not in (8, 13, 18, 23)])
_UUID_VERSION_DIGIT, _UUID_VARIANT_DIGIT = 12, 16


def _uuids(rng: np.random.Generator, count: int) -> str:
    """`count` random version 4 UUIDs, 36 characters each, one after the other: no Python object per identifier."""
    digits = rng.integers(0, 16, (count, 32), np.uint8)
    digits[:, _UUID_VERSION_DIGIT] = 4
    digits[:, _UUID_VARIANT_DIGIT] = 8 | (digits[:, _UUID_VARIANT_DIGIT] & 3)
    text = np.full((count, 36), ord("-"), np.uint8)
    text[:, _UUID_DIGIT_PLACES] = _HEX_DIGITS[digits]
    return text.tobytes().decode("ascii")


def _skewed(rng: np.random.Generator, count: int, customers: int) -> Int64s:
    """Customer indexes, index 0 the busiest: weights fall with the rank as in Zipf's law, flattened at the top."""
    weights = 1.0 / (np.arange(customers) + ZIPF_OFFSET)
    return np.searchsorted(np.cumsum(weights / weights.sum()), rng.random(count)).clip(max=customers - 1)
