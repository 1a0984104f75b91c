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
    key_id: str = "key_1"
    session_id: str = "mes_1"
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
    """As the applier would hand them over: in log order."""
    in_order = sorted(events, key=lambda event: event.offset)
    payloads = pa.array([list(event.payload.items()) for event in in_order], PAYLOAD_TYPE)
    columns = {
        "account": [event.tenant.account_id for event in in_order],
        "livemode": [event.tenant.livemode for event in in_order],
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
        "payload_form": ["" for _ in in_order],
        "payload_text": json_objects(payloads),
        "key_id": [event.key_id for event in in_order],
        "session_id": [event.session_id for event in in_order],
    }
    hashes = np.array([event.hash for event in in_order], np.uint64)
    return SettledEvents(
        table=pa.Table.from_arrays(
            [pa.array(columns[each.name], each.type) for each in SETTLED_SCHEMA], schema=SETTLED_SCHEMA
        ),
        hashes=hashes,
        by_hash=np.argsort(hashes, kind="stable"),
        is_counted=np.array([event.status is Fate.COUNTED for event in in_order]),
    )
