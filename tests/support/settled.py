"""Settled events made by hand: what the usage store is given, without the way that leads there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import pyarrow as pa

from streamgauge.domain.account import Tenant
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.payload_text import json_objects
from streamgauge.domain.settled_events import SETTLED_SCHEMA, SettledEvents
from tests.support.world import START_MS, TENANT

PAYLOAD_TYPE = pa.map_(pa.string(), pa.string())


@dataclass(frozen=True, kw_only=True)
class Settled:
    """One event with its fate; by default it counted and has nothing special about it."""

    identifier: str
    offset: int
    value: Decimal | int = 1
    timestamp_ms: int = START_MS
    timestamp_given: bool = True
    received_at_ms: int = START_MS
    tenant: Tenant = TENANT
    event_name: str = "api_requests"
    meter: str = "mtr_api_requests"
    customer: str = "cus_1"
    status: Fate = Fate.COUNTED
    code: str = ""
    keeps_latest: bool = False
    payload: dict[str, str] = field(default_factory=dict)
    identifier_hash: int | None = None

    @property
    def hash(self) -> int:
        if self.identifier_hash is not None:
            return self.identifier_hash
        return hash_of(self.identifier, self.tenant)


def hash_of(identifier: str, tenant: Tenant = TENANT) -> int:
    (number,) = hash_identifiers(pa.array([identifier], pa.string()), np.zeros(1, np.int32), [tenant])
    return int(number)


def settled(events: Sequence[Settled]) -> SettledEvents:
    """As the applier would hand them over: ordered by hash."""
    in_order = sorted(events, key=lambda event: event.hash)
    payloads = pa.array([list(event.payload.items()) for event in in_order], PAYLOAD_TYPE)
    columns = {
        "account": [event.tenant.account_id for event in in_order],
        "livemode": [event.tenant.livemode for event in in_order],
        "identifier_hash": [event.hash for event in in_order],
        "identifier": [event.identifier for event in in_order],
        "event_name": [event.event_name for event in in_order],
        "meter": [event.meter for event in in_order],
        "customer": [event.customer for event in in_order],
        "value": [Decimal(event.value) for event in in_order],
        "timestamp": [event.timestamp_ms for event in in_order],
        "timestamp_given": [event.timestamp_given for event in in_order],
        "received_at": [event.received_at_ms for event in in_order],
        "log_partition": [0] * len(in_order),
        "log_offset": [event.offset for event in in_order],
        "status": [str(event.status) for event in in_order],
        "code": [event.code for event in in_order],
        "keeps_latest": [event.keeps_latest for event in in_order],
        "payload": json_objects(payloads),
    }
    claimed = [event.hash for event in in_order if event.status is Fate.COUNTED]
    return SettledEvents(
        table=pa.Table.from_arrays(
            [pa.array(columns[each.name], each.type) for each in SETTLED_SCHEMA], schema=SETTLED_SCHEMA
        ),
        claimed_hashes=np.array(claimed, np.uint64),
        last_received_at_ms=max(event.received_at_ms for event in in_order),
    )
