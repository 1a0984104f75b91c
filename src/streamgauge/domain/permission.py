"""Permissions: what a restricted key may do. A secret key may do everything in its account and mode."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias


class Resource(StrEnum):
    """What permissions are given on."""

    METERS = "meters"
    METER_EVENTS = "meter_events"
    SESSIONS = "meter_event_sessions"
    SUMMARIES = "meter_event_summaries"
    CUSTOMERS = "customers"
    EVENTS = "events"
    EVENT_DESTINATIONS = "event_destinations"
    ALERTS = "alerts"


class Access(StrEnum):
    """`WRITE` includes `READ`."""

    READ = "read"
    WRITE = "write"


# A resource that is not listed may not be touched at all.
Permissions: TypeAlias = Mapping[Resource, Access]


@dataclass(frozen=True, slots=True)
class Permission:
    """What one operation needs."""

    resource: Resource
    access: Access

    def is_in(self, given: Permissions) -> bool:
        has = given.get(self.resource)
        return has is Access.WRITE or has is self.access

    def __str__(self) -> str:
        return f"{self.resource}={self.access}"


METERS_READ: Final = Permission(Resource.METERS, Access.READ)
METERS_WRITE: Final = Permission(Resource.METERS, Access.WRITE)
METER_EVENTS_READ: Final = Permission(Resource.METER_EVENTS, Access.READ)
METER_EVENTS_WRITE: Final = Permission(Resource.METER_EVENTS, Access.WRITE)
SESSIONS_WRITE: Final = Permission(Resource.SESSIONS, Access.WRITE)
SUMMARIES_READ: Final = Permission(Resource.SUMMARIES, Access.READ)
CUSTOMERS_READ: Final = Permission(Resource.CUSTOMERS, Access.READ)
CUSTOMERS_WRITE: Final = Permission(Resource.CUSTOMERS, Access.WRITE)
ALERTS_READ: Final = Permission(Resource.ALERTS, Access.READ)
ALERTS_WRITE: Final = Permission(Resource.ALERTS, Access.WRITE)
EVENTS_READ: Final = Permission(Resource.EVENTS, Access.READ)
EVENT_DESTINATIONS_READ: Final = Permission(Resource.EVENT_DESTINATIONS, Access.READ)
EVENT_DESTINATIONS_WRITE: Final = Permission(Resource.EVENT_DESTINATIONS, Access.WRITE)
