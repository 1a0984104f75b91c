"""Deliveries: one notification on its way to one destination, and the attempts that were made."""

from dataclasses import dataclass
from enum import StrEnum

from streamgauge.domain.account import Tenant


class DeliveryState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    # No attempt will be made any more, unless somebody asks for one.
    FAILED = "failed"
    # Its destination was deleted first.
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notification for one destination.

    `begun_ms` is when the series of tries began that retries are counted and timed from: when it was announced, or
    when somebody asked for it again. `tries` are the attempts of this series, `attempts` those ever made.
    `next_at_ms` is when it is due, None unless pending. A claim moves it forward, to when the claim expires.
    """

    id: str
    tenant: Tenant
    notification_id: str
    destination_id: str
    created_ms: int
    begun_ms: int
    state: DeliveryState = DeliveryState.PENDING
    tries: int = 0
    attempts: int = 0
    next_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request to a destination: `status` is what it answered, or `error` says why there is none.

    `response_excerpt` is the beginning of the answer's body.
    """

    at_ms: int
    status: int | None
    error: str | None
    duration_ms: int
    response_excerpt: str | None
