"""`UsageWatch` over the usage store in memory: by the definitions of its formulas."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.alert import day_start_of
from streamgauge.domain.meter import Meter
from streamgauge.domain.summary import Range
from streamgauge.domain.touched_usage import Touched
from streamgauge.engine.ports.usage_store import SummaryQuery
from streamgauge.engine.ports.usage_watch import UsageKey

_ALWAYS: Final = Range(0, 2**32)


class MemoryUsageWatch:
    def __init__(self, store: MemoryUsageStore) -> None:
        self._store = store

    def touched(
        self, meters: Collection[str], first_offset: int, next_offset: int, *, by_day: Collection[str]
    ) -> Sequence[Touched]:
        changes: dict[tuple[str, str, int], list[tuple[int, int, Decimal]]] = defaultdict(list)
        for meter_id, customer_id, timestamp_ms, offset, events, added in self._changes():
            if meter_id in meters and first_offset <= offset < next_offset:
                day_start_ms = day_start_of(timestamp_ms) if meter_id in by_day else 0
                changes[meter_id, customer_id, day_start_ms].append((offset, events, added))
        return [_touched(key, those) for key, those in changes.items()]

    def usage(self, meters: Mapping[str, Meter], keys: Collection[UsageKey]) -> Mapping[UsageKey, Decimal]:
        totals = {key: self._total(meters[key[0]], key[1], key[2]) for key in keys}
        return {key: total for key, total in totals.items() if total is not None}

    def reaching(self, meter: Meter, period: Range | None, at_least: int) -> Mapping[str, Decimal]:
        customers = {event.customer for tenant, event, _ in self._store.counting() if event.meter == meter.id}
        totals = {customer: self._total(meter, customer, period) for customer in customers}
        return {customer: total for customer, total in totals.items() if total is not None and total >= at_least}

    def _total(self, meter: Meter, customer_id: str, period: Range | None) -> Decimal | None:
        query = SummaryQuery(meter=meter, customer_id=customer_id, range=period or _ALWAYS, grouping=None, limit=1)
        totals = self._store.totals(query)
        return totals[0].value if totals else None

    def _changes(self) -> Iterator[tuple[str, str, int, int, int, Decimal]]:
        """Events and cancellations: meter and customer, when they happened, where they are logged, what they add."""
        for row in list(self._store.rows):
            if row["status"] == "counted":
                at_ms = round(row["timestamp"].timestamp() * 1000)
                yield row["meter"], row["customer"], at_ms, row["log_offset"], 1, row["value"] or Decimal(0)
        for each in self._store.cancellations:
            yield each.meter, each.customer, each.timestamp_ms, each.offset, 0, -each.value


def _touched(key: tuple[str, str, int], changes: Sequence[tuple[int, int, Decimal]]) -> Touched:
    is_cancelled = not all(events for _, events, _ in changes)
    return Touched(
        *key,
        events=sum(events for _, events, _ in changes),
        rise=_bound(sum((added for *_, added in changes if added > 0), Decimal(0))),
        highest=math.inf if is_cancelled else _bound(max(added for *_, added in changes)),
        last_offset=max(offset for offset, *_ in changes),
    )


def _bound(value: Decimal) -> float:
    return math.nextafter(float(value), math.inf)
