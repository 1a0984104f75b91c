"""What the log comes to by the plain definitions: one event after the other, in Python's decimals.

Applying reaches the same result in columns and in the store's SQL. Nothing of `judgement.py`, `settlement.py` and
`decimals.py` is used here: that is what makes this a check of them, and of what they once wrote.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CANCEL_WINDOW_MS, Cancellation, LoggedCancel
from streamgauge.domain.catalogue import Catalogue
from streamgauge.domain.counting_rules import CountingRules
from streamgauge.domain.fate import Fate, RejectionCode
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.meter import Formula, Found, resolve
from streamgauge.domain.payload_text import json_objects
from streamgauge.domain.received_events import ReceivedEvents
from streamgauge.domain.settled_events import REDRIVEN_SCHEMA
from streamgauge.domain.texts import decoded

_DAY_MS: Final = 24 * 3_600_000
_PAST_MAX_MS: Final = 35 * _DAY_MS
_FUTURE_MAX_MS: Final = 5 * 60_000
_DECIMAL: Final = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?")
_DIGITS_MAX: Final = 15
_NOTHING: Final = Decimal(0)
_ONE: Final = Decimal(1)
_COUNTED, _DUPLICATE, _REJECTED = Fate.COUNTED.value, Fate.DUPLICATE.value, Fate.REJECTED.value
# Usage repeats its values, so each text is read once; where it does not, memory stays bounded.
_VALUES_KEPT_MAX: Final = 100_000


@dataclass
class Recount:
    """Fates of the events that it is given, in log order. All events of an identifier must be among them.

    `parts` and `cancellations` are what it came to: what the store should keep
    of each event (RECOUNT_SCHEMA), in log order, and which of them were taken back.
    """

    catalogue: Catalogue
    partition: int = 0
    # Offsets of events that repeat what may have been dropped: where nothing is known before them, they are duplicates.
    repeats: frozenset[int] = frozenset()
    parts: list[pa.Table] = field(default_factory=list)
    cancellations: list[Cancellation] = field(default_factory=list)
    # By identifier the offset of the event that counted last, and when it was received.
    _claims: dict[Tenant, dict[str, tuple[int, int]]] = field(default_factory=dict)
    _cancelled: set[int] = field(default_factory=set)
    _values: dict[str | None, tuple[Decimal, str]] = field(default_factory=dict)
    _customers: dict[Tenant, dict[str, tuple[int, int]]] = field(default_factory=dict)

    def take_events(self, events: ReceivedEvents) -> None:
        """At least one, which are all behind those that were taken before."""
        meters: list[str] = []
        customers: list[str] = []
        values: list[Decimal] = []
        fates: list[str] = []
        codes: list[str] = []
        latest: list[bool] = []
        found: dict[tuple[int, str, int], Found] = {}
        claims_of = [self._claims.setdefault(tenant, {}) for tenant in events.tenants]
        customers_of = [self._customers.setdefault(tenant, {}) for tenant in events.tenants]
        starts = events.payload.offsets.to_pylist()
        keys, items = events.payload.keys.to_pylist(), events.payload.items.to_pylist()
        tenants, origins = events.tenant.tolist(), events.origin.tolist()
        rows = zip(
            tenants,
            events.event_name.to_pylist(),
            events.identifier.to_pylist(),
            events.timestamp_ms.tolist(),
            events.received_at_ms.tolist(),
            events.first_received_at_ms.tolist(),
            events.offset.tolist(),
            starts,
            starts[1:],
            strict=False,
        )
        for number, name, identifier, timestamp_ms, received_at_ms, first_ms, offset, start, end in rows:
            tenant = events.tenants[number]
            hit = found.get((number, name, received_at_ms))
            if hit is None:
                hit = resolve(self.catalogue.meters_named(tenant, name), received_at_ms)
                found[number, name, received_at_ms] = hit
            meter = hit.meter
            payload = dict(zip(keys[start:end], items[start:end], strict=True))
            customer = "" if meter is None else payload.get(meter.customer_key, "")
            value, code = _NOTHING, ""
            claims = claims_of[number]
            before = claims.get(identifier)
            # A redriven event repeats what counted within the window before its first receipt, or since then.
            repeats = before is not None and first_ms - before[1] < self._rules(first_ms).dedup_window_ms
            if repeats or offset in self.repeats:
                fate = _DUPLICATE
            else:
                value, code = self._judged(
                    hit, tenant, customers_of[number], customer, payload, timestamp_ms - first_ms, received_at_ms
                )
                fate = _REJECTED if code else _COUNTED
                if not code:
                    claims[identifier] = offset, received_at_ms
            meters.append("" if meter is None else meter.id)
            customers.append(customer)
            values.append(value)
            fates.append(fate)
            codes.append(code)
            latest.append(meter is not None and meter.keeps_latest)
        accounts = [each.account_id for each in events.tenants]
        modes = [each.livemode for each in events.tenants]
        columns = {
            "account": [accounts[each] for each in tenants],
            "livemode": [modes[each] for each in tenants],
            "identifier_hash": hash_identifiers(events.identifier, events.tenant, events.tenants),
            "identifier": events.identifier,
            "event_name": decoded(events.event_name),
            "meter": meters,
            "customer": customers,
            "value": values,
            "timestamp": events.timestamp_ms,
            "timestamp_given": events.timestamp_given,
            "received_at": events.received_at_ms,
            "log_partition": [self.partition] * len(tenants),
            "log_offset": events.offset,
            "status": fates,
            "code": codes,
            "keeps_latest": latest,
            "payload": json_objects(events.payload),
            "key_id": [events.origins[each].key_id for each in origins],
            "session_id": [events.origins[each].session_id or "" for each in origins],
            "first_offset": events.first_offset,
            "first_received_at": events.first_received_at_ms,
        }
        arrays = [_column(columns[each.name], each.type) for each in RECOUNT_SCHEMA]
        self.parts.append(pa.Table.from_arrays(arrays, schema=RECOUNT_SCHEMA))

    def take_cancels(self, cancels: Sequence[LoggedCancel], hashes: Sequence[int]) -> None:
        """Take these requests, whose identifiers have these hashes, after all events that stand before them."""
        for cancel, number in zip(cancels, hashes, strict=True):
            tenant, identifier = cancel.request.origin.tenant, cancel.request.identifier
            offset, received_at_ms = self._claims.get(tenant, {}).get(identifier, (None, 0))
            if offset is None or offset in self._cancelled:
                continue
            event = self._event(offset)
            if event["event_name"] != cancel.request.event_name:
                continue
            if cancel.received_at_ms - received_at_ms > CANCEL_WINDOW_MS:
                continue
            self._cancelled.add(offset)
            self.cancellations.append(
                Cancellation(
                    tenant=tenant,
                    identifier_hash=number,
                    identifier=identifier,
                    meter=event["meter"],
                    customer=event["customer"],
                    value=event["value"],
                    timestamp_ms=event["timestamp"],
                    keeps_latest=event["keeps_latest"],
                    event_offset=offset,
                    offset=cancel.offset,
                    cancelled_at_ms=cancel.received_at_ms,
                )
            )

    def _rules(self, received_at_ms: int) -> CountingRules:
        return next(
            each.rules
            for at, each in reversed(list(enumerate(self.catalogue.rules.dated)))
            if at == 0 or each.valid_from_ms <= received_at_ms
        )

    def _event(self, offset: int) -> dict[str, Any]:
        part = self.parts[bisect_right(self.parts, offset, key=lambda each: each["log_offset"][0].as_py()) - 1]
        at = int(np.searchsorted(part["log_offset"].to_numpy(), offset))
        row: dict[str, Any] = part.slice(at, 1).to_pylist()[0]
        return row

    def _judged(
        self,
        hit: Found,
        tenant: Tenant,
        known_customers: dict[str, tuple[int, int]],
        customer: str,
        payload: dict[str, str],
        ahead_ms: int,
        received_at_ms: int,
    ) -> tuple[Decimal, str]:
        """The value, and the first code that speaks against counting it; "" when none does.

        `ahead_ms`: its timestamp less its first receipt. `received_at_ms` is that of a redrive, if it is one.
        """
        meter = hit.meter
        if meter is None:
            return _NOTHING, RejectionCode.NO_METER.value
        if hit.archived:
            return _NOTHING, RejectionCode.ARCHIVED_METER.value
        if ahead_ms < -_PAST_MAX_MS:
            return _NOTHING, RejectionCode.TIMESTAMP_TOO_FAR_IN_PAST.value
        if ahead_ms > _FUTURE_MAX_MS:
            return _NOTHING, RejectionCode.TIMESTAMP_IN_FUTURE.value
        if not customer:
            return _NOTHING, RejectionCode.NO_CUSTOMER_DEFINED.value
        bounds = known_customers.get(customer)
        if bounds is None:
            (bounds,) = self.catalogue.customer_bounds(tenant, [customer])
            known_customers[customer] = bounds
        exists = bounds[0] <= received_at_ms < bounds[1]
        if not exists and not self._rules(received_at_ms).accept_unknown_customers:
            return _NOTHING, RejectionCode.CUSTOMER_NOT_FOUND.value
        if meter.formula is Formula.COUNT:
            return _ONE, ""
        text = payload.get(meter.value_key)
        known = self._values.get(text)
        if known is None:
            if len(self._values) >= _VALUES_KEPT_MAX:
                self._values.clear()
            known = self._values[text] = value_of(text)
        return known


# The store's own order and dictionaries say nothing about an event: what is compared are plain columns.
_PLAIN: Final = {pa.timestamp("ms", "UTC"): pa.int64(), pa.dictionary(pa.int32(), pa.string()): pa.string()}
_PAYLOAD: Final = ("payload_form", "payload_text")
RECOUNT_SCHEMA: Final = pa.schema(
    [pa.field("identifier_hash", pa.uint64())]
    + [pa.field(each.name, _PLAIN.get(each.type, each.type)) for each in REDRIVEN_SCHEMA if each.name not in _PAYLOAD]
    + [pa.field("payload", pa.string())]
)


def value_of(text: str | None) -> tuple[Decimal, str]:
    """(value, rejection code or "") of a value as it was sent."""
    if text is None:
        return _NOTHING, RejectionCode.VALUE_NOT_FOUND.value
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return _NOTHING, RejectionCode.INVALID_VALUE.value
    whole, decimals = match[1].lstrip("0"), match[2] or ""
    if len(whole) + len(decimals) > _DIGITS_MAX:
        return _NOTHING, RejectionCode.VALUE_TOO_MANY_DIGITS.value
    return Decimal(text), ""


def _column(values: object, type: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, type)
