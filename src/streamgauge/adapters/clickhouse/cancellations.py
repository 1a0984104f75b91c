"""Cancellations as columns, what they take out of the rollups, and the look-up of events that still count."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
from clickhouse_connect.driver.client import Client

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import Cancellation, CountedEvent
from streamgauge.domain.decimals import VALUE_TYPE

EventKey = tuple[Tenant, str, int]  # the identifier, and the event's offset in the log

_MILLISECONDS: Final = pa.timestamp("ms", "UTC")

_MINUTE: Final = (
    pa.field("account", pa.string()),
    pa.field("livemode", pa.bool_()),
    pa.field("meter", pa.string()),
    pa.field("customer", pa.string()),
    pa.field("bucket", pa.int64()),
)

_SCHEMA: Final = pa.schema(
    [
        pa.field("account", pa.string()),
        pa.field("livemode", pa.bool_()),
        pa.field("identifier_hash", pa.uint64()),
        pa.field("identifier", pa.string()),
        pa.field("meter", pa.string()),
        pa.field("customer", pa.string()),
        pa.field("value", VALUE_TYPE),
        pa.field("timestamp", _MILLISECONDS),
        pa.field("keeps_latest", pa.bool_()),
        pa.field("event_offset", pa.uint64()),
        pa.field("log_offset", pa.uint64()),
        pa.field("cancelled_at", _MILLISECONDS),
    ]
)


def cancellation_table(cancellations: Sequence[Cancellation]) -> pa.Table:
    """The columns of the table `cancellations`, one row each."""
    return pa.Table.from_pylist(
        [
            {
                "account": each.tenant.account_id,
                "livemode": each.tenant.livemode,
                "identifier_hash": each.identifier_hash,
                "identifier": each.identifier,
                "meter": each.meter,
                "customer": each.customer,
                "value": each.value,
                "timestamp": each.timestamp_ms,
                "keeps_latest": each.keeps_latest,
                "event_offset": each.event_offset,
                "log_offset": each.offset,
                "cancelled_at": each.cancelled_at_ms,
            }
            for each in cancellations
        ],
        schema=_SCHEMA,
    )


def negative_sums(cancellations: Sequence[Cancellation]) -> pa.Table:
    """What they take out of `sums`: one row each, which the engine adds up with the rest of its minute."""
    taken = [each for each in cancellations if not each.keeps_latest]
    return pa.Table.from_pylist(
        [_minute(each) | {"events": -1, "total": each.value.copy_negate()} for each in taken],
        schema=pa.schema([*_MINUTE, pa.field("events", pa.int64()), pa.field("total", pa.decimal256(76, 15))]),
    )


def latests_cancelled_rows(cancellations: Sequence[Cancellation]) -> pa.Table:
    taken = [each for each in cancellations if each.keeps_latest]
    return pa.Table.from_pylist(
        [_minute(each) | {"event_offset": each.event_offset, "log_offset": each.offset} for each in taken],
        schema=pa.schema([*_MINUTE, pa.field("event_offset", pa.uint64()), pa.field("log_offset", pa.uint64())]),
    )


def read_cancellations(
    client: Client, database: str, where: str, parameters: dict[str, Any] | None = None
) -> list[Cancellation]:
    """Those rows of `cancellations` that fulfil the condition."""
    rows = client.query(
        "SELECT account, livemode, identifier_hash, identifier, meter, customer, value, "
        "toUnixTimestamp64Milli(timestamp), keeps_latest, event_offset, log_offset, "
        f"toUnixTimestamp64Milli(cancelled_at) FROM {database}.cancellations WHERE {where}",
        parameters=parameters,
    ).result_rows
    return [_cancellation(row) for row in rows]


def counted_sql(database: str, offsets: str, *, since_ms: int) -> str:
    """The counted events at these `offsets` (decimal, with commas), for `counted_event`."""
    return (
        "SELECT account, livemode, identifier, event_name, meter, customer, value, "
        "toUnixTimestamp64Milli(timestamp), keeps_latest, toUnixTimestamp64Milli(received_at), log_offset "
        f"FROM {database}.events WHERE log_partition = 0 AND log_offset IN ({offsets}) AND status = 'counted' "
        f"AND received_at >= fromUnixTimestamp64Milli({max(since_ms, 0):d}, 'UTC')"
    )


def cancelled_at_sql(database: str, listed: str, *, below_offset: int) -> str:
    """When events with one of the `listed` hashes were cancelled, for `cancelled_at`.

    Not joined to the look-up of the events: as a join, that of one identifier took three times as long.
    """
    return (
        "SELECT account, livemode, identifier, event_offset, toUnixTimestamp64Milli(cancelled_at) "
        f"FROM {database}.cancellations WHERE identifier_hash IN ({listed}) AND log_offset < {below_offset:d}"
    )


def cancelled_at(rows: Sequence[Sequence[Any]]) -> dict[EventKey, int]:
    """Milliseconds by event: named with its offset, since hashes may collide and identifiers return after a window."""
    return {(Tenant(account, bool(live)), name, int(offset)): int(at_ms) for account, live, name, offset, at_ms in rows}


def counted_event(row: Sequence[Any], hash_at: Mapping[int, int], cancelled: Mapping[EventKey, int]) -> CountedEvent:
    account, livemode, name, event_name, meter, customer, value, at_ms, latest, received_ms, offset = row
    tenant = Tenant(account, bool(livemode))
    return CountedEvent(
        tenant=tenant,
        identifier_hash=hash_at[int(offset)],
        identifier=name,
        event_name=event_name,
        meter=meter,
        customer=customer,
        value=Decimal(value),
        timestamp_ms=int(at_ms),
        keeps_latest=bool(latest),
        received_at_ms=int(received_ms),
        offset=int(offset),
        cancelled_at_ms=cancelled.get((tenant, name, int(offset))),
    )


def _minute(cancellation: Cancellation) -> dict[str, Any]:
    return {
        "account": cancellation.tenant.account_id,
        "livemode": cancellation.tenant.livemode,
        "meter": cancellation.meter,
        "customer": cancellation.customer,
        "bucket": cancellation.timestamp_ms // 60_000 * 60,
    }


def _cancellation(row: Sequence[Any]) -> Cancellation:
    account, livemode, number, name, meter, customer, value, at_ms, latest, event_offset, offset, cancelled_ms = row
    return Cancellation(
        tenant=Tenant(account, bool(livemode)),
        identifier_hash=int(number),
        identifier=name,
        meter=meter,
        customer=customer,
        value=Decimal(value),
        timestamp_ms=int(at_ms),
        keeps_latest=bool(latest),
        event_offset=int(event_offset),
        offset=int(offset),
        cancelled_at_ms=int(cancelled_ms),
    )
