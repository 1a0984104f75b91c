"""Rows of `events` as the values that receipts are made of."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from streamgauge.domain.fate import Fate
from streamgauge.domain.payload_text import payload_of
from streamgauge.domain.receipt import StoredEvent

# Of a query on `events`; what `stored_event` takes.
STORED_COLUMNS: Final = (
    "identifier, event_name, status, code, meter, customer, value, toUnixTimestamp64Milli(timestamp), "
    "timestamp_given, toUnixTimestamp64Milli(received_at), log_offset, payload, key_id, session_id, "
    "first_offset, toUnixTimestamp64Milli(first_received_at)"
)


def cancelled_sql(database: str, hashes: Sequence[int]) -> str:
    """(event's offset, when it was cancelled in ms) of the events with one of these hashes, or of a hash's twin."""
    return (
        f"SELECT event_offset, toUnixTimestamp64Milli(cancelled_at) FROM {database}.cancellations "
        f"WHERE identifier_hash IN ({','.join(map(str, hashes))})"
    )


def stored_event(row: Sequence[Any], cancelled_at_ms: Mapping[int, int]) -> StoredEvent:
    """`row` of STORED_COLUMNS; `cancelled_at_ms` by offset."""
    identifier, name, status, code, meter, customer, value, timestamp_ms, given, *rest = row
    received_at_ms, offset, payload, key_id, session_id, first_offset, first_received_at_ms = rest
    gone_ms = cancelled_at_ms.get(int(offset))
    is_redriven = first_offset != offset
    return StoredEvent(
        identifier=identifier,
        event_name=name,
        status=Fate(status) if gone_ms is None else Fate.CANCELLED,
        code=code,
        meter=meter,
        customer=customer,
        value=value,
        timestamp_ms=int(timestamp_ms),
        timestamp_given=bool(given),
        received_at_ms=int(received_at_ms),
        log_offset=int(offset),
        payload=payload_of(payload),
        key_id=key_id,
        session_id=session_id,
        cancelled_at_ms=gone_ms,
        first_offset=int(first_offset) if is_redriven else None,
        first_received_at_ms=int(first_received_at_ms) if is_redriven else None,
    )
