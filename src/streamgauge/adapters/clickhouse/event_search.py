"""`EventSearch` on ClickHouse SQL: through `events` in the order of the log, from the newest or the oldest on.

No index but the primary key and the one that says where codes are: others that were tried (sets of statuses and codes,
bounds of times) cost inserts as much time again, and a search reads 25 to 50 million rows a second of one column.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, cast

import msgspec
from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.adapters.clickhouse.stored_events import STORED_COLUMNS, cancelled_sql, stored_event
from streamgauge.domain.account import Tenant
from streamgauge.domain.error_report import SAMPLES_MAX, VALIDATION_WINDOW_MS, RejectedSample, Rejections
from streamgauge.domain.fate import CODE_NUMBER, Fate, RejectionCode
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.receipt import StoredEvent
from streamgauge.engine.ports.event_search import (
    ALIKE_MAX,
    IDENTIFIER_EVENTS_MAX,
    NONE_KNOWN,
    EventFilter,
    EventRange,
    FoundEvents,
    Usage,
)

# Portions of the log that one query looks through. The first has what is asked for nearly always; a rare one is
# looked for in ever larger ones, as long as the time suffices.
FIRST_PORTION: Final = 2**18
_PORTION_GROWTH: Final = 4
_PORTION_MAX: Final = 2**22
SEARCH_SECONDS: Final = 1.0
# So many entries are looked through for a moment of receipt; in more, the middle tells which half it is in.
_LINEAR_MAX: Final = 2**18
# Offsets that one query names.
_LISTED_MAX: Final = 10_000
# With more events of a moment and its customers they are looked for again where they are read.
_ALIKE_LISTED_MAX: Final = 1_000

# Searching must not take cores from applying.
_SETTINGS: Final[dict[str, Any]] = {"max_threads": 1, "max_query_size": 2**24}
# A hundred thousand rows of one column: less work in one piece than in ten.
_IN_ONE_BLOCK: Final = {**_SETTINGS, "max_block_size": 2**18, "preferred_block_size_bytes": 2**24}

_OF_TENANT: Final = "account = {account:String} AND livemode = {livemode:Bool}"
_IN_RANGE: Final = "log_offset >= {first:UInt64} AND log_offset < {next:UInt64}"
# Every rejected event has a code; the index of codes leaves out what holds none.
_HAS_CODE: Final = "code > ''"
_TEXTS: Final = ("identifier", "customer", "meter", "event_name", "code")
_BOUNDS: Final = (
    ("received_from_ms", "received_at >="),
    ("received_before_ms", "received_at <"),
    ("timestamp_from_ms", "timestamp >="),
    ("timestamp_before_ms", "timestamp <"),
)


class ClickHouseEventSearch:
    """With a client of its own, since an embedded one answers one query at a time and receipts must not wait."""

    def __init__(
        self,
        client: Client,
        database: str = "streamgauge",
        partition: int = 0,
        *,
        portion: int = FIRST_PORTION,
        seconds: float = SEARCH_SECONDS,
    ) -> None:
        self._client = client
        self._database = database
        # Where everything that is searched for stands. A redriven event has a second row, which is none of its own.
        self._all = f"log_partition = {partition:d}"
        self._own = f"{self._all} AND first_offset = log_offset"
        self._portion = portion
        self._seconds = seconds
        self._asking = threading.Lock()

    def find(self, tenant: Tenant, wanted: EventFilter, where: EventRange) -> FoundEvents:
        conditions, parameters = self._conditions(tenant, wanted)
        order = "ASC" if where.oldest_first else "DESC"
        sql = (
            f"SELECT log_offset FROM {self._database}.events WHERE {self._own} AND {_IN_RANGE} AND {conditions} "
            f"ORDER BY log_offset {order} LIMIT {{limit:UInt32}}"
        )
        offsets: list[int] = []
        first, end, portion = where.first_offset, where.next_offset, self._portion
        deadline = time.monotonic() + self._seconds
        if wanted.identifier is not None:  # the offsets are few and known, so one look is enough
            portion = max(end - first, 1)
        while first < end and len(offsets) < where.limit and (time.monotonic() < deadline or portion == self._portion):
            part = (first, min(first + portion, end)) if where.oldest_first else (max(end - portion, first), end)
            asked = {"first": part[0], "next": part[1], "limit": where.limit - len(offsets)}
            offsets += [int(row[0]) for row in self._read("search events", sql, {**parameters, **asked})]
            first, end = (part[1], end) if where.oldest_first else (first, part[0])
            portion = min(portion * _PORTION_GROWTH, _PORTION_MAX)
        reached = first if where.oldest_first else end
        if len(offsets) >= where.limit:
            reached = offsets[-1] + 1 if where.oldest_first else offsets[-1]
        events = {event.log_offset: event for event in self._events_at(tenant, offsets)}
        return FoundEvents(tuple(events[offset] for offset in offsets if offset in events), reached)

    def with_identifiers(
        self, tenant: Tenant, identifiers: Sequence[str], known: Sequence[StoredEvent] = ()
    ) -> Mapping[str, Sequence[StoredEvent]]:
        found: dict[str, list[StoredEvent]] = defaultdict(list)
        if not identifiers:
            return found
        hashes = ",".join(map(str, hash_names([(tenant, each) for each in identifiers]).tolist()))
        # Names that share a hash share the bound, too.
        places = self._read(
            "look up identifiers",
            f"SELECT log_offset FROM {self._database}.identifiers WHERE identifier_hash IN ({hashes}) "
            f"ORDER BY log_offset LIMIT {IDENTIFIER_EVENTS_MAX} BY identifier_hash",
            {},
        )
        # An event that is far from the others costs a granule of every column, so none is read twice.
        unknown = {int(row[0]) for row in places} - {each.log_offset for each in known}
        rows: Sequence[Sequence[Any]] = ()
        if unknown:
            rows = self._read(
                "read events",
                f"SELECT {STORED_COLUMNS} FROM {self._database}.events WHERE {self._all} "
                f"AND log_offset IN ({_listed(unknown)}) AND {_OF_TENANT} "
                "AND identifier IN (SELECT arrayJoin(JSONExtract({names:String}, 'Array(String)')))",
                {**_of(tenant), "names": _json(identifiers)},
            )
        events = [*self._stored(tenant, rows), *(each for each in known if each.identifier in identifiers)]
        for event in sorted(events, key=lambda each: each.log_offset):
            if len(found[event.identifier]) < IDENTIFIER_EVENTS_MAX:
                found[event.identifier].append(event)
        return found

    def alike(
        self,
        tenant: Tenant,
        usages: Sequence[Usage],
        ranges: Sequence[tuple[int, int]],
        known: Mapping[int, tuple[Usage, str]] = NONE_KNOWN,
    ) -> Mapping[Usage, Sequence[str]]:
        if not usages or not ranges:
            return {}
        moments = ",".join(_moment(each) for each in sorted({usage.timestamp_ms for usage in usages}))
        within = " OR ".join(f"log_offset >= {first:d} AND log_offset < {end:d}" for first, end in ranges)
        # Few share a moment, so nothing else is read before.
        source = f"FROM {self._database}.events PREWHERE timestamp IN ({moments}) WHERE {self._all}"
        of_customers = "has(JSONExtract({customers:String}, 'Array(String)'), customer)"
        customers = {"customers": _json({usage.customer for usage in usages})}
        # Mostly none is found but those that are known: to see that takes a third of what reading them does.
        offsets = self._read(
            "look for events that are alike",
            f"SELECT log_offset {source} AND ({within}) AND {of_customers} LIMIT {_ALIKE_LISTED_MAX}",
            customers,
            _IN_ONE_BLOCK,
        )
        are_all_told = len(offsets) < _ALIKE_LISTED_MAX
        unknown = {int(row[0]) for row in offsets} - known.keys()
        if are_all_told:
            within = f"log_offset IN ({_listed(unknown)})"
        events = dict(known)
        if unknown or not are_all_told:
            rows = self._read(
                "read events that are alike",
                "SELECT log_offset, meter, customer, value, toUnixTimestamp64Milli(timestamp), identifier "
                f"{source} AND first_offset = log_offset AND ({within}) AND {of_customers} "
                f"AND timestamp_given AND status = 'counted' AND {_OF_TENANT} ORDER BY log_offset "
                f"LIMIT {ALIKE_MAX} BY meter, customer, value, timestamp",
                {**_of(tenant), **customers},
            )
            for offset, meter, customer, value, timestamp_ms, identifier in rows:
                events[int(offset)] = Usage(meter, customer, Decimal(value), int(timestamp_ms)), identifier
        found: dict[Usage, list[str]] = {usage: [] for usage in usages}
        for _, (usage, identifier) in sorted(events.items(), key=lambda each: each[0]):
            others = found.get(usage)
            if others is not None and identifier not in others and len(others) < ALIKE_MAX:
                others.append(identifier)
        return {usage: others for usage, others in found.items() if others}

    def rejected(self, first_offset: int, next_offset: int) -> Sequence[Rejections]:
        groups = self._read(
            "look for rejected events",
            f"SELECT intDiv(toUnixTimestamp64Milli(received_at), {VALIDATION_WINDOW_MS}) AS window, account, livemode, "
            f"meter, code, count(), groupArraySorted({SAMPLES_MAX})(log_offset) FROM {self._database}.events "
            f"WHERE {self._own} AND {_IN_RANGE} AND status = 'rejected' AND {_HAS_CODE} "
            "GROUP BY window, account, livemode, meter, code",
            {"first": first_offset, "next": next_offset},
        )
        samples = self._samples([offset for *_, offsets in groups for offset in offsets])
        rejections = [
            Rejections(
                window_start_ms=int(window) * VALIDATION_WINDOW_MS,
                tenant=Tenant(account, bool(livemode)),
                meter_id=meter,
                code=RejectionCode(code),
                count=int(count),
                samples=tuple(samples[offset] for offset in offsets),
            )
            for window, account, livemode, meter, code, count, offsets in groups
        ]
        return sorted(
            rejections, key=lambda each: (each.window_start_ms, each.tenant, each.meter_id, CODE_NUMBER[each.code])
        )

    def first_received_from(self, at_ms: int, first_offset: int, next_offset: int) -> int | None:
        found = None
        # Times of receipt grow with offsets.
        while next_offset - first_offset > _LINEAR_MAX:
            middle = (first_offset + next_offset) // 2
            hit = self._first(middle, next_offset)
            if hit is None or hit[1] >= at_ms:
                found, next_offset = found if hit is None else hit[0], middle
            else:
                first_offset = hit[0] + 1
        hit = self._first(first_offset, next_offset, f"AND received_at >= {_moment(at_ms)}")
        return found if hit is None else hit[0]

    def _first(self, first_offset: int, next_offset: int, condition: str = "") -> tuple[int, int] | None:
        """Offset and time of receipt of the first event there is."""
        rows = self._read(
            "look for a moment of receipt",
            f"SELECT log_offset, toUnixTimestamp64Milli(received_at) FROM {self._database}.events WHERE {self._own} "
            f"AND {_IN_RANGE} {condition} ORDER BY log_offset LIMIT 1",
            {"first": first_offset, "next": next_offset},
        )
        return (int(rows[0][0]), int(rows[0][1])) if rows else None

    def last_received_ms(self, first_offset: int, next_offset: int) -> int | None:
        rows = self._read(
            "look for the last receipt",
            f"SELECT toUnixTimestamp64Milli(received_at) FROM {self._database}.events WHERE {self._own} "
            f"AND {_IN_RANGE} ORDER BY log_offset DESC LIMIT 1",
            {"first": first_offset, "next": next_offset},
        )
        return int(rows[0][0]) if rows else None

    def close(self) -> None:
        self._client.close()

    def _conditions(self, tenant: Tenant, wanted: EventFilter) -> tuple[str, dict[str, Any]]:
        conditions, parameters = [_OF_TENANT], _of(tenant)
        for name in _TEXTS:
            if (text := getattr(wanted, name)) is not None:
                conditions.append(f"{name} = {{{name}:String}}")
                parameters[name] = text
        for name, compared in _BOUNDS:
            if (at_ms := getattr(wanted, name)) is not None:
                conditions.append(f"{compared} {_moment(at_ms)}")
        if wanted.identifier is not None:
            (number,) = hash_names([(tenant, wanted.identifier)]).tolist()
            conditions.append(
                f"log_offset IN (SELECT log_offset FROM {self._database}.identifiers "
                f"WHERE identifier_hash = {number:d})"
            )
        if wanted.status is not None:
            if wanted.status is Fate.REJECTED:
                conditions.append(_HAS_CODE)
            is_cancelled = wanted.status is Fate.CANCELLED
            conditions.append("status = {status:String}")
            parameters["status"] = str(Fate.COUNTED if is_cancelled else wanted.status)
            if is_cancelled or wanted.status is Fate.COUNTED:
                conditions.append(
                    f"log_offset {'IN' if is_cancelled else 'NOT IN'} (SELECT event_offset "
                    f"FROM {self._database}.cancellations WHERE {_OF_TENANT} "
                    "AND event_offset >= {first:UInt64} AND event_offset < {next:UInt64})"
                )
        return " AND ".join(conditions), parameters

    def _events_at(self, tenant: Tenant, offsets: Sequence[int]) -> list[StoredEvent]:
        if not offsets:
            return []
        rows = self._read(
            "read events",
            f"SELECT {STORED_COLUMNS} FROM {self._database}.events WHERE {self._own} "
            f"AND log_offset IN ({_listed(offsets)}) AND {_OF_TENANT}",
            _of(tenant),
        )
        return self._stored(tenant, rows)

    def _stored(self, tenant: Tenant, rows: Sequence[Sequence[Any]]) -> list[StoredEvent]:
        """The rows, of STORED_COLUMNS, as events, cancelled ones as such."""
        identifiers = sorted({str(row[0]) for row in rows})
        if not identifiers:
            return []
        hashes = hash_names([(tenant, each) for each in identifiers]).tolist()
        cancelled = self._read("look up cancellations", cancelled_sql(self._database, hashes), {})
        cancelled_at_ms = {int(offset): int(at_ms) for offset, at_ms in cancelled}
        return [stored_event(row, cancelled_at_ms) for row in rows]

    def _samples(self, offsets: Sequence[int]) -> Mapping[int, RejectedSample]:
        samples: dict[int, RejectedSample] = {}
        for start in range(0, len(offsets), _LISTED_MAX):
            rows = self._read(
                "read rejected events",
                f"SELECT log_offset, identifier, event_name, customer FROM {self._database}.events "
                f"WHERE {self._own} AND log_offset IN ({_listed(offsets[start : start + _LISTED_MAX])})",
                {},
            )
            samples |= {int(offset): RejectedSample(*texts) for offset, *texts in rows}
        return samples

    def _read(
        self, doing: str, sql: str, parameters: Mapping[str, Any], settings: Mapping[str, Any] = _SETTINGS
    ) -> Sequence[Sequence[Any]]:
        with self._asking, translated(doing):
            found = self._client.query(sql, parameters=dict(parameters), settings=dict(settings))
            return cast(Sequence[Sequence[Any]], found.result_rows)


def _of(tenant: Tenant) -> dict[str, Any]:
    return {"account": tenant.account_id, "livemode": tenant.livemode}


def _json(names: Iterable[str]) -> str:
    return msgspec.json.encode(list(names)).decode()


def _moment(at_ms: int) -> str:
    return f"fromUnixTimestamp64Milli({at_ms:d}, 'UTC')"


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
