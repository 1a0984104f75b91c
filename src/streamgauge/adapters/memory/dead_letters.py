"""`DeadLetters` of the store in memory: one look at every event, by the definitions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.fate import Fate
from streamgauge.domain.payload_text import payload_of
from streamgauge.domain.redrive import DeadLetter
from streamgauge.domain.settled_events import milliseconds
from streamgauge.engine.ports.dead_letters import LetterFilter, Places


class MemoryDeadLetters:
    def __init__(self, store: MemoryUsageStore) -> None:
        self._store = store

    def find(self, tenant: Tenant, wanted: LetterFilter, places: Places, *, limit: int) -> Sequence[DeadLetter]:
        rows = [row for row in self._store.rows if (row["account"], row["livemode"]) == _whose(tenant)]
        last_counted: dict[str, int] = {}
        rejected: dict[int, DeadLetter] = {}
        for row in sorted(rows, key=lambda each: each["log_offset"]):
            if row["status"] == Fate.COUNTED:
                last_counted[row["identifier"]] = row["log_offset"]
            elif row["status"] == Fate.REJECTED:
                letter = _letter(tenant, row)
                rejected[letter.first_offset] = letter
        found = []
        for place in sorted(rejected, reverse=places.newest_first):
            letter = rejected[place]
            is_open = last_counted.get(letter.identifier, -1) < letter.first_offset
            if places.first_offset <= place < places.below_offset and _is_wanted(letter, wanted, is_open):
                found.append(replace(letter, is_open=is_open))
        return found[:limit]

    def fates(self, first_offset: int, next_offset: int) -> Mapping[tuple[str, str], int]:
        rows = (row for row in self._store.rows if first_offset <= row["log_offset"] < next_offset)
        return Counter((row["status"], row["code"]) for row in rows)

    def close(self) -> None:
        """Nothing to release."""


def _whose(tenant: Tenant) -> tuple[str, bool]:
    return tenant.account_id, tenant.livemode


def _is_wanted(letter: DeadLetter, wanted: LetterFilter, is_open: bool) -> bool:
    return (
        (wanted.codes is None or letter.code in wanted.codes)
        and (wanted.event_names is None or letter.event_name in wanted.event_names)
        and (wanted.customers is None or letter.customer in wanted.customers)
        and (wanted.identifier is None or letter.identifier == wanted.identifier)
        and (wanted.received_from_ms is None or letter.received_at_ms >= wanted.received_from_ms)
        and (wanted.received_before_ms is None or letter.received_at_ms < wanted.received_before_ms)
        and (wanted.is_open is None or is_open is wanted.is_open)
    )


def _letter(tenant: Tenant, row: Mapping[str, Any]) -> DeadLetter:
    judged_at_ms = milliseconds(row["received_at"])
    is_redriven = "first_offset" in row
    return DeadLetter(
        tenant=tenant,
        event_name=row["event_name"],
        identifier=row["identifier"],
        timestamp_ms=milliseconds(row["timestamp"]),
        timestamp_given=row["timestamp_given"],
        payload=tuple(payload_of(row["payload"]).items()),
        key_id=row["key_id"],
        session_id=row["session_id"],
        code=row["code"],
        meter=row["meter"],
        customer=row["customer"],
        offset=row["log_offset"],
        judged_at_ms=judged_at_ms,
        first_offset=row["first_offset"] if is_redriven else row["log_offset"],
        received_at_ms=milliseconds(row["first_received_at"]) if is_redriven else judged_at_ms,
    )
