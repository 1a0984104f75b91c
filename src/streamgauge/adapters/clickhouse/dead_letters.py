"""`DeadLetters` on ClickHouse SQL.

Rejected events alone have a code, which an index tells of, and so the rest is left out. Whether one is still open is
told by what else carries its identifier: of that, only what counted and what was redriven matters, which is little.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse.errors import translated
from streamgauge.domain.account import Tenant
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.payload_text import payload_of
from streamgauge.domain.redrive import DeadLetter
from streamgauge.engine.ports.dead_letters import LetterFilter, Places

# More is looked at than is asked for, since letters may be closed; each look at the next ones is a larger one.
_LOOKED_AT_MIN: Final = 200
_LOOKED_AT_MAX: Final = 50_000
_LISTED_MAX: Final = 10_000
_SETTINGS: Final[dict[str, Any]] = {"max_threads": 2, "max_query_size": 2**20}
_OFFSETS_OF: Final = "log_offset IN (SELECT log_offset FROM {database}.identifiers WHERE identifier_hash = {number:d})"


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A rejected row."""

    first_offset: int
    offset: int
    identifier: str


@dataclass(frozen=True, slots=True)
class _Since:
    """By identifier what counted last, and by first offset the last redrive that was rejected: places in the log."""

    counted: Mapping[str, int]
    rejected: Mapping[int, int]

    def is_superseded(self, row: _Candidate) -> bool:
        return self.rejected.get(row.first_offset, -1) > row.offset

    def is_open(self, row: _Candidate) -> bool:
        return self.counted.get(row.identifier, -1) < row.first_offset


class ClickHouseDeadLetters:
    """With a client of its own, which answers one query at a time."""

    def __init__(self, client: Client, database: str = "streamgauge") -> None:
        self._client = client
        self._database = database
        self._asking = threading.Lock()

    def find(self, tenant: Tenant, wanted: LetterFilter, places: Places, *, limit: int) -> Sequence[DeadLetter]:
        found: dict[int, bool] = {}
        looked_at = max(limit, _LOOKED_AT_MIN)
        while len(found) < limit:
            looked_at = min(looked_at, _LOOKED_AT_MAX)
            rows = self._candidates(tenant, wanted, places, looked_at)
            # Of several rows of one event the newest comes first; what stands behind it is no news.
            newest = list({row.first_offset: row for row in reversed(rows)}.values())[::-1]
            since = self._since(tenant, [row.identifier for row in newest])
            for row in newest:
                is_open = since.is_open(row)
                if not since.is_superseded(row) and wanted.is_open in (None, is_open):
                    found[row.offset] = is_open
            if len(rows) < looked_at:
                break
            last = rows[-1].first_offset
            if places.newest_first:
                places = Places(places.first_offset, last, newest_first=True)
            else:
                places = Places(last + 1, places.below_offset)
            looked_at *= 4
        return self._letters(tenant, dict(list(found.items())[:limit]))

    def fates(self, first_offset: int, next_offset: int) -> Mapping[tuple[str, str], int]:
        rows = self._read(
            "read fates",
            f"SELECT status, code, count() FROM {self._database}.events WHERE log_partition = 0 "
            f"AND log_offset >= {first_offset:d} AND log_offset < {next_offset:d} GROUP BY status, code",
        )
        return {(status, code): int(count) for status, code, count in rows}

    def close(self) -> None:
        self._client.close()

    def _candidates(self, tenant: Tenant, wanted: LetterFilter, places: Places, limit: int) -> list[_Candidate]:
        where, parameters = _conditions(self._database, tenant, wanted)
        direction = "DESC" if places.newest_first else "ASC"
        rows = self._read(
            "look for dead letters",
            f"SELECT first_offset, log_offset, identifier FROM {self._database}.events WHERE {where} "
            # Nothing stands before its first place, so the order of the table leaves out what does.
            f"AND log_offset >= {places.first_offset:d} AND first_offset >= {places.first_offset:d} "
            f"AND first_offset < {places.below_offset:d} "
            f"ORDER BY first_offset {direction}, log_offset DESC LIMIT {limit:d}",
            parameters,
        )
        return [_Candidate(int(first), int(offset), identifier) for first, offset, identifier in rows]

    def _since(self, tenant: Tenant, identifiers: Sequence[str]) -> _Since:
        if not identifiers:
            return _Since({}, {})
        counted: dict[str, int] = {}
        rejected: dict[int, int] = {}
        hashes = {int(number) for number in hash_names([(tenant, each) for each in identifiers])}
        offsets: set[int] = set()
        for listed in _lists(sorted(hashes)):
            rows = self._read(
                "look up identifiers",
                f"SELECT log_offset FROM {self._database}.identifiers "
                f"WHERE identifier_hash IN ({listed}) AND (counted OR redriven)",
            )
            offsets |= {int(offset) for (offset,) in rows}
        for listed in _lists(sorted(offsets)):
            rows = self._read(
                "look up events",
                f"SELECT identifier, status, first_offset, log_offset FROM {self._database}.events "
                f"WHERE log_partition = 0 AND log_offset IN ({listed}) "
                "AND account = {account:String} AND livemode = {livemode:Bool}",
                {"account": tenant.account_id, "livemode": tenant.livemode},
            )
            for identifier, status, first, offset in rows:
                if status == Fate.COUNTED:
                    counted[identifier] = max(counted.get(identifier, -1), int(offset))
                elif status == Fate.REJECTED:
                    rejected[int(first)] = max(rejected.get(int(first), -1), int(offset))
        return _Since(counted, rejected)

    def _letters(self, tenant: Tenant, is_open: Mapping[int, bool]) -> list[DeadLetter]:
        """Those at these offsets, in the same order."""
        letters: dict[int, DeadLetter] = {}
        for listed in _lists(sorted(is_open)):
            rows = self._read(
                "read dead letters",
                "SELECT event_name, identifier, toUnixTimestamp64Milli(timestamp), timestamp_given, payload, key_id, "
                "session_id, code, meter, customer, log_offset, toUnixTimestamp64Milli(received_at), first_offset, "
                f"toUnixTimestamp64Milli(first_received_at) FROM {self._database}.events "
                f"WHERE log_partition = 0 AND log_offset IN ({listed})",
            )
            letters |= {int(row[10]): _letter(tenant, row, is_open[int(row[10])]) for row in rows}
        return [letters[offset] for offset in is_open]

    def _read(self, doing: str, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Sequence[Any]]:
        with self._asking, translated(doing):
            found = self._client.query(sql, parameters=dict(parameters or {}), settings=_SETTINGS)
            return cast(Sequence[Sequence[Any]], found.result_rows)


def _conditions(database: str, tenant: Tenant, wanted: LetterFilter) -> tuple[str, dict[str, Any]]:
    conditions = [
        "log_partition = 0 AND code > '' AND status = 'rejected' "
        "AND account = {account:String} AND livemode = {livemode:Bool}"
    ]
    parameters: dict[str, Any] = {"account": tenant.account_id, "livemode": tenant.livemode}
    asked = {"code": wanted.codes, "event_name": wanted.event_names, "customer": wanted.customers}
    for name, values in asked.items():
        if values is not None:
            conditions.append(f"{name} IN {{{name}:Array(String)}}")
            parameters[name] = sorted(values)
    if wanted.identifier is not None:
        (number,) = hash_names([(tenant, wanted.identifier)])
        conditions.append(_OFFSETS_OF.format(database=database, number=int(number)))
        conditions.append("identifier = {identifier:String}")
        parameters["identifier"] = wanted.identifier
    if wanted.received_from_ms is not None:
        since = f"fromUnixTimestamp64Milli({wanted.received_from_ms:d}, 'UTC')"
        # Nothing is judged before it is received: days before that are left out.
        conditions.append(f"received_at >= {since} AND first_received_at >= {since}")
    if wanted.received_before_ms is not None:
        conditions.append(f"first_received_at < fromUnixTimestamp64Milli({wanted.received_before_ms:d}, 'UTC')")
    return " AND ".join(conditions), parameters


def _lists(numbers: Sequence[int]) -> Iterator[str]:
    """The numbers as SQL lists them, in portions that fit into a query."""
    for start in range(0, len(numbers), _LISTED_MAX):
        yield ",".join(map(str, numbers[start : start + _LISTED_MAX]))


def _letter(tenant: Tenant, row: Sequence[Any], is_open: bool) -> DeadLetter:
    name, identifier, timestamp_ms, given, payload, key_id, session_id, code, meter, customer, offset, *places = row
    judged_at_ms, first_offset, received_at_ms = places
    return DeadLetter(
        tenant=tenant,
        event_name=name,
        identifier=identifier,
        timestamp_ms=int(timestamp_ms),
        timestamp_given=bool(given),
        payload=tuple(payload_of(payload).items()),
        key_id=key_id,
        session_id=session_id,
        code=code,
        meter=meter,
        customer=customer,
        offset=int(offset),
        judged_at_ms=int(judged_at_ms),
        first_offset=int(first_offset),
        received_at_ms=int(received_at_ms),
        is_open=is_open,
    )
