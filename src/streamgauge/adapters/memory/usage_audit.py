"""`UsageAudit` of the store in memory, which has no rollups: they are made of its events."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import pyarrow as pa

from streamgauge.adapters.memory.usage_store import MemoryUsageStore, first_place
from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.recount import RECOUNT_SCHEMA
from streamgauge.domain.settled_events import milliseconds
from streamgauge.domain.summary import MINUTE_S, Range
from streamgauge.engine.ports.usage_audit import EVENTS_KEPT_SCHEMA, LATESTS_SCHEMA, SUMS_SCHEMA
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

_Key: TypeAlias = tuple[Tenant, str, str, int]


class MemoryUsageAudit:
    def __init__(self, store: MemoryUsageStore) -> None:
        self._store = store

    def events(self, first_hash: int, last_hash: int) -> pa.Table:
        rows = [row for row in self._store.rows if first_hash <= row["identifier_hash"] <= last_hash]
        return pa.Table.from_pylist([_plain(row) for row in rows], schema=RECOUNT_SCHEMA)

    def unnamed(self, limit: int) -> Sequence[int]:
        return []

    def cancellations(self, first_hash: int, last_hash: int) -> Sequence[Cancellation]:
        return [each for each in self._store.cancellations if first_hash <= each.identifier_hash <= last_hash]

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        return self._store.totals(query)

    def days(self) -> Sequence[int]:
        return sorted({event.timestamp_ms // 86_400_000 for _, event, _ in self._store.counting()})

    def sums(self, range: Range) -> pa.Table:
        return _rows(
            self._windows(range, MINUTE_S, keeps_latest=False),
            SUMS_SCHEMA,
            lambda events: {"events": len(events), "total": sum(each.value or Decimal(0) for each in events)},
        )

    def latests(self, range: Range, step_s: int) -> pa.Table:
        return _rows(self._windows(range, step_s, keeps_latest=True), LATESTS_SCHEMA, _latest)

    def events_kept(self, range: Range) -> pa.Table:
        windows = self._windows(range, MINUTE_S, keeps_latest=True)
        return _rows(windows, EVENTS_KEPT_SCHEMA, lambda events: {"events": len(events)})

    def _windows(self, range: Range, step_s: int, *, keeps_latest: bool) -> dict[_Key, list[StoredEvent]]:
        windows: dict[_Key, list[StoredEvent]] = defaultdict(list)
        for tenant, event, latest in self._store.counting():
            if latest is keeps_latest and range.start_s * 1000 <= event.timestamp_ms < range.end_s * 1000:
                start_s = event.timestamp_ms // 1000 // step_s * step_s
                windows[tenant, event.meter, event.customer, start_s].append(event)
        return windows


def _latest(events: list[StoredEvent]) -> dict[str, Any]:
    last = max(events, key=lambda each: (each.timestamp_ms, first_place(each)))
    survivor = max(events, key=first_place)
    return {"last": last.value, "survivor_at_ms": survivor.timestamp_ms, "survivor": survivor.value}


def _rows(
    windows: dict[_Key, list[StoredEvent]], schema: pa.Schema, of: Callable[[list[StoredEvent]], dict[str, Any]]
) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "account": tenant.account_id,
                "livemode": tenant.livemode,
                "meter": meter,
                "customer": customer,
                "start_s": start_s,
                **of(events),
            }
            for (tenant, meter, customer, start_s), events in windows.items()
        ],
        schema=schema,
    )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    first = {"first_offset": row["log_offset"], "first_received_at": row["received_at"]}
    row = first | row
    return row | {name: milliseconds(row[name]) for name in ("timestamp", "received_at", "first_received_at")}
