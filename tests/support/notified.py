"""Notifications, destinations and deliveries as tests make them."""

from streamgauge.domain.account import Tenant
from streamgauge.domain.delivery import Delivery
from streamgauge.domain.event_destination import EventDestination, MadeBy
from streamgauge.domain.notification import METER_CREATED, Notification, RelatedObject, Style

TEST = Tenant("acct_1", False)
LIVE = Tenant("acct_1", True)
OTHER = Tenant("acct_2", False)


def notification(
    number: int, tenant: Tenant = TEST, *, of_type: str = METER_CREATED, created_ms: int | None = None
) -> Notification:
    meter_id = f"mtr_{number}"
    return Notification(
        id=f"evt_{number}",
        tenant=tenant,
        type=of_type,
        created_ms=number if created_ms is None else created_ms,
        data={"id": meter_id, "display_name": "Zoë", "nested": {"empty": None, "list": [1, "2"]}},
        related=RelatedObject(id=meter_id, type="billing.meter", url=f"/v1/billing/meters/{meter_id}"),
    )


def destination(
    name: str = "ed_1",
    tenant: Tenant = TEST,
    *,
    style: Style = Style.SNAPSHOT,
    enabled_events: tuple[str, ...] = ("*",),
    created_ms: int = 1,
) -> EventDestination:
    return EventDestination(
        id=name,
        tenant=tenant,
        made_by=MadeBy.V2,
        name="Ours",
        description="",
        url="http://127.0.0.1:9/hook",
        style=style,
        enabled_events=enabled_events,
        metadata={"team": "billing"},
        api_version=None,
        created_ms=created_ms,
        updated_ms=created_ms,
    )


def delivery(
    number: int, of: Notification, to: str = "ed_1", *, at_ms: int = 1_000, next_at_ms: int | None = None
) -> Delivery:
    """One that is due from `next_at_ms` on, or else from when it was made."""
    return Delivery(
        id=f"dlv_{number}",
        tenant=of.tenant,
        notification_id=of.id,
        destination_id=to,
        created_ms=at_ms,
        begun_ms=at_ms,
        next_at_ms=at_ms if next_at_ms is None else next_at_ms,
    )
