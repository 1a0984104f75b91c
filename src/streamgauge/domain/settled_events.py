"""Settled events: what the usage store keeps of each event, as columns."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CountedEvent
from streamgauge.domain.decimals import VALUE_TYPE
from streamgauge.domain.event_block import ReceivedEvents
from streamgauge.domain.fate import REJECTION_CODES, Fate
from streamgauge.domain.judgement import Judgement
from streamgauge.domain.payload_text import json_objects
from streamgauge.domain.settlement import COUNTED, SETTLED_FATES, Settlement

_NAMES: Final = pa.dictionary(pa.int32(), pa.string())
_MILLISECONDS: Final = pa.timestamp("ms", "UTC")

SETTLED_SCHEMA: Final = pa.schema(
    [
        pa.field("account", _NAMES),
        pa.field("livemode", pa.bool_()),
        pa.field("identifier_hash", pa.uint64()),
        pa.field("identifier", pa.string()),
        pa.field("event_name", _NAMES),
        pa.field("meter", _NAMES),  # "" when there was none
        pa.field("customer", pa.string()),  # "" when the payload named none
        pa.field("value", VALUE_TYPE),  # 0 unless the event counted
        pa.field("timestamp", _MILLISECONDS),
        pa.field("timestamp_given", pa.bool_()),
        pa.field("received_at", _MILLISECONDS),
        pa.field("log_partition", pa.uint16()),
        pa.field("log_offset", pa.uint64()),
        pa.field("status", _NAMES),  # a Fate
        pa.field("code", _NAMES),  # a RejectionCode, or ""
        pa.field("keeps_latest", pa.bool_()),  # its meter asks which event is the latest, not how much all are
        pa.field("payload", pa.string()),  # a JSON object of strings
    ]
)


@dataclass(frozen=True, slots=True)
class SettledEvents:
    """One step's events, ordered by identifier hash (SETTLED_SCHEMA), and what of them counted."""

    table: pa.Table
    claimed_hashes: NDArray[np.uint64]  # of the counted events, ascending
    last_received_at_ms: int

    def counted(self, hashes: NDArray[np.uint64]) -> list[CountedEvent]:
        """The counted events with one of these hashes."""
        known = self.table.column("identifier_hash").to_numpy()
        wanted = np.isin(known, hashes)
        rows = self.table.filter(pa.array(wanted)).to_pylist() if wanted.any() else []
        return [_counted_event(row) for row in rows if row["status"] == Fate.COUNTED]


def _counted_event(row: dict[str, Any]) -> CountedEvent:
    return CountedEvent(
        tenant=Tenant(row["account"], row["livemode"]),
        identifier_hash=row["identifier_hash"],
        identifier=row["identifier"],
        event_name=row["event_name"],
        meter=row["meter"],
        customer=row["customer"],
        value=row["value"],
        timestamp_ms=milliseconds(row["timestamp"]),
        keeps_latest=row["keeps_latest"],
        received_at_ms=milliseconds(row["received_at"]),
        offset=row["log_offset"],
        cancelled_at_ms=None,
    )


def milliseconds(moment: datetime) -> int:
    """Since the epoch; exact, as the columns are."""
    return round(moment.timestamp() * 1000)


def settled_events(
    events: ReceivedEvents, judgement: Judgement, settlement: Settlement, hashes: NDArray[np.uint64], partition: int
) -> SettledEvents:
    """Put the columns together, in the order in which the store keeps them."""
    order = settlement.order
    at = pa.array(order)
    counted = settlement.fate == COUNTED
    tenant = events.tenant[order]
    # An account is there once, although its two modes are two tenants: a dictionary with a value twice is refused.
    accounts = list(dict.fromkeys(each.account_id for each in events.tenants))
    account = np.array([accounts.index(each.account_id) for each in events.tenants], np.int32)
    # A code speaks only of rejected events: a duplicate's may be whatever its repeat happened to carry.
    code = np.where(settlement.fate == SETTLED_FATES.index("rejected"), judgement.code, 0)
    zero = pa.scalar(0).cast(VALUE_TYPE)
    columns = [
        _names(account[tenant], accounts),
        pa.array(np.array([each.livemode for each in events.tenants])[tenant]),
        pa.array(hashes[order]),
        events.identifier.take(at),
        events.event_name.dictionary_encode().take(at),
        _names(judgement.meter[order], [*(each.id for each in judgement.meters), ""]),
        pa.compute.fill_null(judgement.customer.take(at), ""),
        pa.compute.fill_null(pa.compute.if_else(pa.array(counted), judgement.value, zero).take(at), zero),
        pa.array(events.timestamp_ms[order]).cast(_MILLISECONDS),
        pa.array(events.timestamp_given[order]),
        pa.array(events.received_at_ms[order]).cast(_MILLISECONDS),
        pa.array(np.full(len(order), partition, np.uint16)),
        pa.array(events.offset[order].astype(np.uint64)),
        _names(settlement.fate[order], [str(each) for each in SETTLED_FATES]),
        _names(code[order], list(REJECTION_CODES)),
        pa.array(np.array([*(each.keeps_latest for each in judgement.meters), False])[judgement.meter[order]]),
        json_objects(events.payload).take(at),
    ]
    return SettledEvents(
        table=pa.Table.from_arrays(columns, schema=SETTLED_SCHEMA),
        claimed_hashes=hashes[order][counted[order]],
        last_received_at_ms=int(events.records_at_ms[-1]),
    )


def _names(numbers: NDArray[np.integer], names: list[str]) -> pa.DictionaryArray:
    """A column of names, each given as its place in `names`; -1 is the last."""
    places = pa.array(numbers.astype(np.int32) % len(names))
    return pa.DictionaryArray.from_arrays(places, pa.array(names, pa.string()))
