"""Billing alerts: /v1/billing/alerts, and what is told when one fires."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from streamgauge.api.exact import unix_seconds
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import ObjectId, Parameters
from streamgauge.api.services import Services
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.alert import (
    GTE_MIN,
    TITLE_LENGTH_MAX,
    Alert,
    AlertStatus,
    AlertType,
    Firing,
    Recurrence,
    UsageThreshold,
)
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.notification import ALERT_TRIGGERED, RelatedObject
from streamgauge.domain.permission import ALERTS_READ, ALERTS_WRITE
from streamgauge.engine.alerts import AlertDraft
from streamgauge.engine.notifications import NotificationDraft

URL = "/v1/billing/alerts"

Title = Annotated[str, msgspec.Meta(max_length=TITLE_LENGTH_MAX)]
AtLeast = Annotated[int, msgspec.Meta(ge=GTE_MIN)]


class FilterType(StrEnum):
    """What narrows an alert; there is only this."""

    CUSTOMER = "customer"


class FilterParameters(msgspec.Struct, frozen=True):
    type: FilterType
    customer: ObjectId


class ThresholdParameters(msgspec.Struct, frozen=True, kw_only=True):
    """`recurrence`: the contract has `one_time`; the others are ours."""

    gte: AtLeast
    meter: ObjectId
    recurrence: Recurrence
    filters: tuple[FilterParameters, ...] = ()


class CreateParameters(Parameters, frozen=True, kw_only=True):
    alert_type: AlertType
    title: Title
    usage_threshold: ThresholdParameters


class AlertListParameters(ListParameters, frozen=True, kw_only=True):
    alert_type: AlertType | msgspec.UnsetType = msgspec.UNSET
    meter: ObjectId | msgspec.UnsetType = msgspec.UNSET


class FilterObject(msgspec.Struct, frozen=True):
    customer: str
    type: FilterType = FilterType.CUSTOMER


class ThresholdObject(msgspec.Struct, frozen=True, kw_only=True):
    """`filters` is null for an alert on every customer."""

    filters: list[FilterObject] | None
    gte: int
    meter: str
    recurrence: Recurrence


class AlertObject(msgspec.Struct, frozen=True, kw_only=True):
    """`billing.alert`, with every documented member."""

    id: str
    object: Literal["billing.alert"] = "billing.alert"
    alert_type: AlertType = AlertType.USAGE_THRESHOLD
    livemode: bool
    status: AlertStatus
    title: str
    usage_threshold: ThresholdObject


class TriggeredObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`billing.alert_triggered`. Times are Unix seconds; `value` is the usage, rounded down.

    `period_start` is ours, and there for daily and monthly alerts only: the day or month (UTC) that the usage is of.
    """

    object: str
    alert: AlertObject
    created: int
    customer: str
    livemode: bool
    value: int
    period_start: int | None = None


@operation(needs=ALERTS_WRITE)
def create(services: Services, call: Call, given: CreateParameters) -> AlertObject:
    """Create an alert. It is active, and looked at when usage of its meter is reported from now on."""
    threshold = given.usage_threshold
    if len(threshold.filters) > 1:
        raise InvalidRequest(
            "Invalid usage_threshold[filters]: it takes at most one filter.", param="usage_threshold[filters]"
        )
    draft = AlertDraft(
        title=given.title,
        threshold=UsageThreshold(
            meter_id=threshold.meter,
            gte=threshold.gte,
            recurrence=threshold.recurrence,
            customer_id=threshold.filters[0].customer if threshold.filters else None,
        ),
    )
    return alert_object(services.alerts.create(call.tenant, draft))


@operation(needs=ALERTS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> AlertObject:
    """Retrieve an alert, also one that is archived."""
    return alert_object(services.alerts.get(call.tenant, call.object_id("id")))


@operation(needs=ALERTS_WRITE)
def activate(services: Services, call: Call, given: Parameters) -> AlertObject:
    """Activate an alert. It is looked at at once, for usage that was reported while it was inactive."""
    return alert_object(services.alerts.activate(call.tenant, call.object_id("id")))


@operation(needs=ALERTS_WRITE)
def deactivate(services: Services, call: Call, given: Parameters) -> AlertObject:
    """Deactivate an alert: it fires no more until it is activated."""
    return alert_object(services.alerts.deactivate(call.tenant, call.object_id("id")))


@operation(needs=ALERTS_WRITE)
def archive(services: Services, call: Call, given: Parameters) -> AlertObject:
    """Archive an alert for good: it fires no more and leaves the list."""
    return alert_object(services.alerts.archive(call.tenant, call.object_id("id")))


@operation(needs=ALERTS_READ)
def list_page(services: Services, call: Call, given: AlertListParameters) -> ListObject[AlertObject]:
    """List active and inactive alerts, newest first."""
    page = services.alerts.list(call.tenant, given.page(), meter_id=given.meter or None)
    return listed(page, alert_object, URL)


def alert_object(alert: Alert) -> AlertObject:
    threshold = alert.threshold
    return AlertObject(
        id=alert.id,
        livemode=alert.tenant.livemode,
        status=alert.status,
        title=alert.title,
        usage_threshold=ThresholdObject(
            filters=None if threshold.customer_id is None else [FilterObject(threshold.customer_id)],
            gte=threshold.gte,
            meter=threshold.meter_id,
            recurrence=threshold.recurrence,
        ),
    )


def triggered(firing: Firing) -> NotificationDraft:
    """What is announced of a firing."""
    shown = TriggeredObject(
        object="billing.alert_triggered",
        alert=alert_object(firing.alert),
        created=unix_seconds(firing.fired_ms),
        customer=firing.customer_id,
        livemode=firing.alert.tenant.livemode,
        value=math.floor(firing.total),
        period_start=None if firing.period is None else firing.period.start_s,
    )
    data: Mapping[str, Any] = msgspec.to_builtins(shown)
    alert_id = firing.alert.id
    return NotificationDraft(
        tenant=firing.alert.tenant,
        type=ALERT_TRIGGERED,
        data=data,
        related=RelatedObject(id=alert_id, type="billing.alert", url=f"{URL}/{alert_id}"),
    )
