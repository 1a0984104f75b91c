"""What every store of alerts does, as part of its control store."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.alert import Alert, AlertStatus, Firing, FiringKey
from streamgauge.domain.errors import NotFound, StreamgaugeError, UnknownCursor
from streamgauge.engine.ports.alerts import AlertStore
from streamgauge.engine.ports.control_store import ControlStore, Page
from tests.support.alerting import DAILY, alert_of, alerts_on, threshold_of
from tests.support.control_stores import ADAPTERS, control_store
from tests.support.usage import meter_of

TENANT = Tenant("acct_1", livemode=False)
LIVE = Tenant("acct_1", livemode=True)
OTHER = Tenant("acct_2", livemode=False)


class Opened(NamedTuple):
    control: ControlStore
    alerts: AlertStore


@pytest.fixture(params=ADAPTERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    with control_store(request.param, tmp_path) as control:
        for meter_id in ("mtr_api_requests", "mtr_tokens"):
            control.add_meter(meter_of(meter_id=meter_id, tenant=TENANT))
        yield Opened(control, alerts_on(control))


@pytest.fixture
def alerts(opened: Opened) -> AlertStore:
    return opened.alerts


def firing(alert: Alert, customer_id: str = "cus_1", step: int = 0) -> Firing:
    total = Decimal("12345678901234567890123456789.5")
    return Firing(alert=alert, customer_id=customer_id, step=step, period=None, total=total, fired_ms=5)


def test_an_alert_is_read_as_it_was_added(alerts: AlertStore) -> None:
    alert = alert_of(
        TENANT, threshold=threshold_of(2**63 - 1, DAILY, customer_id="cus_ü"), since_offset=2**40, is_due=True
    )
    alerts.add_alert(alert)
    assert alerts.get_alert(TENANT, alert.id) == alert
    assert list(alerts.changed_after(0)) == [alert]


def test_an_alert_of_another_account_or_mode_is_not_visible(alerts: AlertStore) -> None:
    alert = alert_of(TENANT)
    alerts.add_alert(alert)
    for tenant in (LIVE, OTHER):
        assert alerts.get_alert(tenant, alert.id) is None
        assert alerts.list_alerts(tenant, Page()).items == ()
        with pytest.raises(NotFound):
            alerts.save_alert(replace(alert, tenant=tenant))
        with pytest.raises(UnknownCursor):
            alerts.list_alerts(tenant, Page(starting_after=alert.id))


def test_an_id_is_taken_once_and_an_account_must_exist(alerts: AlertStore) -> None:
    alerts.add_alert(alert_of(TENANT))
    with pytest.raises(StreamgaugeError):
        alerts.add_alert(alert_of(TENANT))
    with pytest.raises(StreamgaugeError):
        alerts.add_alert(alert_of(Tenant("acct_unknown", livemode=False), "alrt_2"))
    assert len(alerts.list_alerts(TENANT, Page()).items) == 1


def test_saving_replaces_what_can_change_and_nothing_else(alerts: AlertStore) -> None:
    alert = alert_of(TENANT)
    alerts.add_alert(alert)
    changed = replace(alert, title="Other", threshold=threshold_of(5)).activated(70)
    alerts.save_alert(changed)
    assert alerts.get_alert(TENANT, alert.id) == alert.activated(70)
    with pytest.raises(NotFound):
        alerts.save_alert(alert_of(TENANT, "alrt_unknown"))


def test_a_list_is_newest_first_of_one_meter_if_wanted_without_archived_ones(alerts: AlertStore) -> None:
    for at, meter_id in enumerate(["mtr_api_requests", "mtr_tokens", "mtr_api_requests", "mtr_api_requests"]):
        alerts.add_alert(alert_of(TENANT, f"alrt_{at}", threshold_of(meter_id=meter_id), created_ms=1_000 + at // 2))
    alerts.save_alert(alert_of(TENANT, "alrt_2").archived())
    alerts.save_alert(alert_of(TENANT, "alrt_0").deactivated())
    assert [each.id for each in alerts.list_alerts(TENANT, Page()).items] == ["alrt_3", "alrt_1", "alrt_0"]
    of_meter = alerts.list_alerts(TENANT, Page(limit=1), meter_id="mtr_api_requests")
    assert ([each.id for each in of_meter.items], of_meter.has_more) == (["alrt_3"], True)
    after = alerts.list_alerts(TENANT, Page(starting_after="alrt_2"))  # archived since the page before was read
    assert [each.id for each in after.items] == ["alrt_1", "alrt_0"]
    assert [each.id for each in alerts.list_alerts(TENANT, Page(ending_before="alrt_0")).items] == ["alrt_3", "alrt_1"]


def test_a_reader_learns_of_every_change_by_its_revision(alerts: AlertStore) -> None:
    assert (alerts.revision(), list(alerts.changed_after(0))) == (0, [])
    first, second = alert_of(TENANT, "alrt_1"), alert_of(TENANT, "alrt_2")
    alerts.add_alert(first)
    before = alerts.revision()
    alerts.add_alert(second)
    alerts.save_alert(first.archived())
    assert alerts.revision() > before > 0
    changed = sorted(alerts.changed_after(before), key=lambda each: each.id)
    assert changed == [replace(first, status=AlertStatus.ARCHIVED), second]
    assert list(alerts.changed_after(alerts.revision())) == []


def test_an_alert_that_was_looked_at_is_no_longer_due_and_did_not_change(alerts: AlertStore) -> None:
    for alert_id in ("alrt_1", "alrt_2"):
        alerts.add_alert(alert_of(TENANT, alert_id, is_due=True))
    revision = alerts.revision()
    alerts.looked_at(["alrt_1"])
    alerts.looked_at([])
    assert {each.id: each.is_due for each in alerts.changed_after(0)} == {"alrt_1": False, "alrt_2": True}
    assert alerts.revision() == revision


def test_what_fired_is_known_by_alert_customer_and_step(alerts: AlertStore) -> None:
    alert, other = alert_of(TENANT, "alrt_1"), alert_of(TENANT, "alrt_2")
    for each in (alert, other):
        alerts.add_alert(each)
    alerts.add_firings([firing(alert, "cus_1", 3), firing(alert, "cus_2", 5), firing(other, "cus_1", 7)])
    alerts.add_firings([firing(alert, "cus_1", 4)])
    alerts.add_firings([])
    told = FiringKey("alrt_1", "cus_1", 3)
    asked = {told, FiringKey("alrt_1", "cus_1", 5), FiringKey("alrt_2", "cus_2", 5), FiringKey("alrt_1", "cus_3", 3)}
    assert alerts.fired(asked) == {told}
    assert alerts.fired([]) == frozenset()
    pairs = {("alrt_1", "cus_1"), ("alrt_1", "cus_2"), ("alrt_1", "cus_3"), ("alrt_2", "cus_1")}
    assert alerts.highest_steps(pairs) == {("alrt_1", "cus_1"): 4, ("alrt_1", "cus_2"): 5, ("alrt_2", "cus_1"): 7}


def test_many_are_asked_about_at_once(alerts: AlertStore) -> None:
    alert = alert_of(TENANT)
    alerts.add_alert(alert)
    customers = [f"cus_{number}" for number in range(12_000)]
    alerts.add_firings([firing(alert, customer) for customer in customers])
    keys = {FiringKey(alert.id, customer, 0) for customer in customers}
    assert alerts.fired(keys) == keys
    assert len(alerts.highest_steps({(alert.id, customer) for customer in customers})) == len(customers)


def test_nothing_fires_twice_not_even_partly(alerts: AlertStore) -> None:
    alert = alert_of(TENANT)
    alerts.add_alert(alert)
    alerts.add_firings([firing(alert)])
    with pytest.raises(StreamgaugeError):
        alerts.add_firings([firing(alert, "cus_2"), firing(alert)])
    with pytest.raises(StreamgaugeError):
        alerts.add_firings([firing(alert, "cus_3"), firing(alert, "cus_3")])
    assert len(alerts.fired({FiringKey(alert.id, f"cus_{number}", 0) for number in (1, 2, 3)})) == 1


def test_everything_is_undone_with_the_transaction_around_it(opened: Opened) -> None:
    alert = alert_of(TENANT, is_due=True)
    opened.alerts.add_alert(alert)
    revision = opened.alerts.revision()
    with pytest.raises(ZeroDivisionError), opened.control.transaction():
        opened.alerts.add_alert(alert_of(TENANT, "alrt_2"))
        opened.alerts.save_alert(alert.archived())
        opened.alerts.looked_at([alert.id])
        opened.alerts.add_firings([firing(alert)])
        raise ZeroDivisionError
    assert list(opened.alerts.changed_after(0)) == [alert]
    assert opened.alerts.revision() == revision
    assert opened.alerts.fired([firing(alert).key]) == frozenset()
