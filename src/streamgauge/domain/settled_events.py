"""Settled events: what the usage store keeps of each event, as columns."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CountedEvent
from streamgauge.domain.column_groups import milliseconds_of
from streamgauge.domain.decimals import VALUE_TYPE, numbers_of, values_of
from streamgauge.domain.fate import REJECTION_CODES
from streamgauge.domain.judgement import Judgement
from streamgauge.domain.payload_text import json_objects
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.settlement import COUNTED, REJECTED, SETTLED_FATES, Settlement

_NAMES: Final = pa.dictionary(pa.int32(), pa.string())
_MILLISECONDS: Final = pa.timestamp("ms", "UTC")
_DAY_MS: Final = 86_400_000

SETTLED_SCHEMA: Final = pa.schema(
    [
        pa.field("account", _NAMES),
        pa.field("livemode", pa.bool_()),
        pa.field("identifier", pa.string()),
        pa.field("event_name", _NAMES),
        pa.field("meter", _NAMES),  # "" when there was none
        pa.field("customer", _NAMES),  # "" when the payload named none
        pa.field("value", VALUE_TYPE),  # 0 unless the event counted
        pa.field("timestamp", _MILLISECONDS),
        pa.field("timestamp_given", pa.bool_()),
        pa.field("received_at", _MILLISECONDS),
        pa.field("log_partition", pa.uint16()),
        pa.field("log_offset", pa.uint64()),
        pa.field("status", _NAMES),  # a Fate
        pa.field("code", _NAMES),  # a RejectionCode, or ""
        pa.field("keeps_latest", pa.bool_()),  # its meter asks which event is the latest, not how much all are
        # A JSON object of strings: as text, or as a form that customer and value complete (`payload_text.py`).
        pa.field("payload_form", _NAMES),
        pa.field("payload_text", pa.string()),
        pa.field("key_id", _NAMES),  # of the secret key that it came with
        pa.field("session_id", _NAMES),  # of the session of the stream, or ""
    ]
)

# Where and when an event was received first: only tables that hold a redriven one have them. Of other events they
# repeat `log_offset` and `received_at`, and the store fills them in.
FIRST_RECEIPT_SCHEMA: Final = pa.schema(
    [pa.field("first_offset", pa.uint64()), pa.field("first_received_at", _MILLISECONDS)]
)
REDRIVEN_SCHEMA: Final = pa.schema([*SETTLED_SCHEMA, *FIRST_RECEIPT_SCHEMA])


@dataclass(frozen=True, slots=True)
class SettledEvents:
    """One step's events in log order (SETTLED_SCHEMA, or REDRIVEN_SCHEMA if one of them is redriven), and by the hash
    of its identifier where each of them stands.

    `hashes` has one entry per event; `by_hash` lists the events by hash, then log order.
    """

    table: pa.Table
    hashes: NDArray[np.uint64]
    by_hash: NDArray[np.int64]
    is_counted: NDArray[np.bool_]

    @property
    def claimed_hashes(self) -> NDArray[np.uint64]:
        return self.hashes[self.is_counted]

    @property
    def offsets(self) -> tuple[int, int]:
        """[first, next) in the log. There is at least one event."""
        column = self.table["log_offset"]
        return column[0].as_py(), column[-1].as_py() + 1

    @property
    def identifiers(self) -> pa.Table:
        """By hash: what finds an event again by its identifier."""
        at = pa.array(self.by_hash)
        columns = {
            "identifier_hash": self.hashes.take(self.by_hash),
            "counted": pa.array(self.is_counted[self.by_hash]),
            "day": pa.array(_days_of(self.table["received_at"])[self.by_hash]).view(pa.date32()),
            "log_offset": self.table["log_offset"].take(at),
        }
        if "first_offset" in self.table.column_names:
            columns["redriven"] = pc.not_equal(self.table["first_offset"], self.table["log_offset"]).take(at)
        return pa.table(columns)

    def counted(self, hashes: NDArray[np.uint64]) -> list[CountedEvent]:
        """The counted events with one of these hashes."""
        rows = np.flatnonzero(self.is_counted & np.isin(self.hashes, hashes))
        found = self.table.take(pa.array(rows)).to_pylist()
        return [_counted_event(row, int(number)) for row, number in zip(found, self.hashes[rows], strict=True)]


def _days_of(moments: pa.ChunkedArray) -> NDArray[np.int32]:
    """Since the epoch, UTC. Arrow's own cast asks for the offset of the time zone, for each of them."""
    return (milliseconds_of(moments) // _DAY_MS).astype(np.int32)


def _counted_event(row: dict[str, Any], identifier_hash: int) -> CountedEvent:
    return CountedEvent(
        tenant=Tenant(row["account"], row["livemode"]),
        identifier_hash=identifier_hash,
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
    """Put the columns together."""
    counted = settlement.fate == COUNTED
    # A code speaks only of rejected events: a duplicate's may be whatever its repeat happened to carry.
    code = np.where(settlement.fate == REJECTED, judgement.code, 0)
    # Only a counted event is stored with its value.
    values = numbers_of(judgement.value).copy()
    values[np.flatnonzero(~counted)] = 0
    form = np.where(counted, judgement.form, 0)
    columns = [
        _distinct_names(events.tenant, [each.account_id for each in events.tenants]),
        pa.array(np.array([each.livemode for each in events.tenants]).take(events.tenant)),
        events.identifier,
        events.event_name,
        _names(judgement.meter, [*(each.id for each in judgement.meters), ""]),
        _without_nulls(judgement.customer),
        values_of(values),
        pa.array(events.timestamp_ms).cast(_MILLISECONDS),
        pa.array(events.timestamp_given),
        pa.array(events.received_at_ms).cast(_MILLISECONDS),
        pa.array(np.full(len(events), partition, np.uint16)),
        pa.array(events.offset.astype(np.uint64)),
        _names(settlement.fate, [str(each) for each in SETTLED_FATES]),
        _names(code, list(REJECTION_CODES)),
        pa.array(np.array([*(each.keeps_latest for each in judgement.meters), False]).take(judgement.meter)),
        _names(form, list(judgement.forms)),
        _payload_texts(events.payload, form == 0),
        _distinct_names(events.origin, [each.key_id for each in events.origins]),
        _distinct_names(events.origin, [each.session_id or "" for each in events.origins]),
    ]
    schema = SETTLED_SCHEMA
    if (first := events.first_receipt) is not None:
        schema = REDRIVEN_SCHEMA
        columns += [pa.array(first.offset.astype(np.uint64)), pa.array(first.received_at_ms).cast(_MILLISECONDS)]
    return SettledEvents(pa.Table.from_arrays(columns, schema=schema), hashes, settlement.order, counted)


def _payload_texts(payloads: pa.MapArray, wanted: NDArray[np.bool_]) -> pa.StringArray:
    """The JSON objects of those rows; "" for the others."""
    rows = np.flatnonzero(wanted)
    texts = pa.concat_arrays([json_objects(payloads.take(pa.array(rows))), pa.array([""])])
    at = np.full(len(wanted), len(rows), np.int64)
    at[rows] = np.arange(len(rows))
    return texts.take(pa.array(at))


def _without_nulls(words: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same with "" in the place of null."""
    if not words.null_count:
        return words
    names = words.dictionary.to_pylist()
    if "" not in names:
        names.append("")
    return pa.DictionaryArray.from_arrays(words.indices.fill_null(names.index("")), pa.array(names, pa.string()))


def _distinct_names(numbers: NDArray[np.integer], names: list[str]) -> pa.DictionaryArray:
    """Like `_names`, of names that may be there several times: a dictionary with a value twice is refused."""
    distinct = list(dict.fromkeys(names))
    return _names(np.array([distinct.index(each) for each in names], np.int32).take(numbers), distinct)


def _names(numbers: NDArray[np.integer], names: list[str]) -> pa.DictionaryArray:
    """A column of names, each given as its place in `names`; -1 is the last."""
    places = numbers.astype(np.int32)
    places[numbers == -1] = len(names) - 1
    return pa.DictionaryArray.from_arrays(pa.array(places), pa.array(names, pa.string()))
