"""Notifications: what the service tells its users by itself.

The API calls them events. Here that word is taken: an event is a meter event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from streamgauge.domain.account import Tenant

RETENTION_MS: Final = 30 * 24 * 60 * 60 * 1_000
# In a destination's list of types: all there are of its style.
EVERY_TYPE: Final = "*"


class Style(StrEnum):
    """A thin notification refers to its object and is listed by version 2, a snapshot holds it as it was, version 1."""

    THIN = "thin"
    SNAPSHOT = "snapshot"


METER_CREATED: Final = "billing.meter.created"
METER_UPDATED: Final = "billing.meter.updated"
METER_DEACTIVATED: Final = "billing.meter.deactivated"
METER_REACTIVATED: Final = "billing.meter.reactivated"
ALERT_TRIGGERED: Final = "billing.alert.triggered"
ERROR_REPORT_TRIGGERED: Final = "v1.billing.meter.error_report_triggered"
NO_METER_FOUND: Final = "v1.billing.meter.no_meter_found"
DESTINATION_PING: Final = "v2.core.event_destination.ping"
# Ours: the original tells of it by mail.
DESTINATION_DISABLED: Final = "streamgauge.event_destination.disabled"

_SNAPSHOTS: Final = (METER_CREATED, METER_UPDATED, METER_DEACTIVATED, METER_REACTIVATED, ALERT_TRIGGERED)
# The thin notification that goes with a snapshot, so that a thin destination hears of the same things.
THIN_TWINS: Final[Mapping[str, str]] = MappingProxyType({each: f"v1.{each}" for each in _SNAPSHOTS})

STYLES: Final[Mapping[str, Style]] = MappingProxyType(
    dict.fromkeys(_SNAPSHOTS, Style.SNAPSHOT)
    | dict.fromkeys(THIN_TWINS.values(), Style.THIN)
    | dict.fromkeys((ERROR_REPORT_TRIGGERED, NO_METER_FOUND, DESTINATION_PING, DESTINATION_DISABLED), Style.THIN)
)
"""Every type there is, with its style."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelatedObject:
    """What a notification is about; `type` is the object's `object` member, `url` where it is read."""

    id: str
    type: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The request that something was done for. Its Idempotency-Key is not kept: nobody's keys stand in a file."""

    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One thing that happened, told once. `data` is JSON-able: a thin one's `data`, a snapshot's object as it was.

    `previous_attributes`, of snapshots of an update alone, are the members that changed, as they were before.
    `snapshot_id` is the snapshot that a thin notification goes with, if any. `cause` is None where no request was one.
    """

    id: str
    tenant: Tenant
    type: str
    created_ms: int
    data: Mapping[str, object]
    related: RelatedObject | None = None
    previous_attributes: Mapping[str, object] | None = None
    snapshot_id: str | None = None
    cause: Cause | None = None

    @property
    def style(self) -> Style:
        return STYLES[self.type]
