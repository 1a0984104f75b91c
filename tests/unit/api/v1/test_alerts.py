from decimal import Decimal
from typing import Any

import pytest

from streamgauge.api.v1.alerts import triggered
from streamgauge.domain.alert import Firing
from streamgauge.domain.summary import Range

from ..contract import faults_of_answer, faults_of_schema
from ..control_edge import LIVE_MODE, TEST_MODE, ControlEdge, document, error_of

URL = "/v1/billing/alerts"


@pytest.fixture
def meter_id(edge: ControlEdge) -> str:
    return str(edge.meter()["id"])


def given_of(meter_id: str, *, title: str = "Many calls", **threshold: Any) -> dict[str, Any]:
    limit = {"gte": 100, "meter": meter_id, "recurrence": "one_time"} | threshold
    return {"alert_type": "usage_threshold", "title": title, "usage_threshold": limit}


def created(edge: ControlEdge, meter_id: str, **given: Any) -> dict[str, Any]:
    return document(edge.post(URL, given_of(meter_id, **given)))


def test_a_created_alert_is_active_and_shown_with_every_documented_member(edge: ControlEdge, meter_id: str) -> None:
    alert = created(edge, meter_id)
    assert faults_of_answer(alert, "post", URL) == []
    assert alert["id"].startswith("alrt_test_")
    assert alert == {
        "id": alert["id"],
        "object": "billing.alert",
        "alert_type": "usage_threshold",
        "livemode": False,
        "status": "active",
        "title": "Many calls",
        "usage_threshold": {"filters": None, "gte": 100, "meter": meter_id, "recurrence": "one_time"},
    }
    assert document(edge.get(f"{URL}/{alert['id']}", {"expand": ["usage_threshold.meter"]})) == alert


def test_an_alert_may_be_for_one_customer(edge: ControlEdge, meter_id: str) -> None:
    customer_id = edge.customer()["id"]
    alert = created(edge, meter_id, filters=[{"type": "customer", "customer": customer_id}])
    assert alert["usage_threshold"]["filters"] == [{"customer": customer_id, "type": "customer"}]


def test_an_alert_of_live_mode_says_so_and_is_not_visible_in_test_mode(edge: ControlEdge) -> None:
    meter = document(
        edge.post(
            "/v1/billing/meters",
            {"display_name": "x", "event_name": "x", "default_aggregation": {"formula": "sum"}},
            secret=edge.live_secret,
        )
    )
    alert = document(edge.post(URL, given_of(meter["id"]), secret=edge.live_secret))
    assert alert["livemode"] is True
    assert not alert["id"].startswith("alrt_test_")
    assert error_of(edge.get(f"{URL}/{alert['id']}"), 404)["code"] == "resource_missing"
    assert error_of(edge.post(URL, given_of(meter["id"])), 400)["code"] == "resource_missing"
    assert document(edge.get(URL))["data"] == []


@pytest.mark.parametrize("recurrence", ["one_time", "every", "daily", "monthly"])
def test_a_threshold_may_recur(edge: ControlEdge, meter_id: str, recurrence: str) -> None:
    alert = created(edge, meter_id, recurrence=recurrence)
    assert alert["usage_threshold"]["recurrence"] == recurrence


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"alert_type": None}, "alert_type", "parameter_missing"),
        ({"title": None}, "title", "parameter_missing"),
        ({"usage_threshold": None}, "usage_threshold", "parameter_missing"),
        ({"alert_type": "spend_threshold"}, "alert_type", None),
        ({"title": "x" * 257}, "title", None),
        ({"title": ""}, "title", "parameter_invalid_empty"),
        ({"colour": "red"}, "colour", "parameter_unknown"),
    ],
)
def test_faults_are_named(
    edge: ControlEdge, meter_id: str, change: dict[str, Any], param: str, code: str | None
) -> None:
    given = {name: value for name, value in (given_of(meter_id) | change).items() if value is not None}
    error = error_of(edge.post(URL, given), 400)
    assert (error["type"], error["param"], error.get("code")) == ("invalid_request_error", param, code)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"gte": None}, "usage_threshold[gte]", "parameter_missing"),
        ({"meter": None}, "usage_threshold[meter]", "parameter_missing"),
        ({"recurrence": None}, "usage_threshold[recurrence]", "parameter_missing"),
        ({"gte": "1.5"}, "usage_threshold[gte]", "parameter_invalid_integer"),
        ({"gte": 0}, "usage_threshold[gte]", "parameter_invalid_integer"),
        ({"gte": 2**63}, "usage_threshold[gte]", "parameter_invalid_integer"),
        ({"recurrence": "hourly"}, "usage_threshold[recurrence]", None),
        ({"meter": "mtr_unknown"}, "usage_threshold[meter]", "resource_missing"),
        ({"filters": [{"type": "price", "customer": "a"}]}, "usage_threshold[filters][0][type]", None),
        ({"filters": [{"type": "customer"}]}, "usage_threshold[filters][0][customer]", "parameter_missing"),
        (
            {"filters": [{"type": "customer", "customer": "cus_unknown"}]},
            "usage_threshold[filters][0][customer]",
            "resource_missing",
        ),
        ({"filters": [{"type": "customer", "customer": "a"}] * 2}, "usage_threshold[filters]", None),
        ({"lte": 5}, "usage_threshold[lte]", "parameter_unknown"),
    ],
)
def test_faults_of_a_threshold_are_named(
    edge: ControlEdge, meter_id: str, change: dict[str, Any], param: str, code: str | None
) -> None:
    given = given_of(meter_id)
    limit = {name: value for name, value in (given["usage_threshold"] | change).items() if value is not None}
    error = error_of(edge.post(URL, given | {"usage_threshold": limit}), 400)
    assert (error["type"], error["param"], error.get("code")) == ("invalid_request_error", param, code)
    assert document(edge.get(URL))["data"] == []


def test_an_alert_for_a_deleted_customer_is_refused(edge: ControlEdge, meter_id: str) -> None:
    customer_id = edge.customer()["id"]
    edge.delete(f"/v1/customers/{customer_id}")
    given = given_of(meter_id, filters=[{"type": "customer", "customer": customer_id}])
    assert error_of(edge.post(URL, given), 400)["code"] == "resource_missing"


def test_an_alert_is_deactivated_and_activated(edge: ControlEdge, meter_id: str) -> None:
    alert = created(edge, meter_id)
    one = f"{URL}/{alert['id']}"
    error = error_of(edge.post(f"{one}/activate"), 400)
    assert error["message"] == f"Alert {alert['id']} is already active."
    assert document(edge.post(f"{one}/deactivate")) == alert | {"status": "inactive"}
    error_of(edge.post(f"{one}/deactivate"), 400)
    assert document(edge.get(one))["status"] == "inactive"
    assert document(edge.post(f"{one}/activate")) == alert


@pytest.mark.parametrize("before", ["active", "inactive"])
def test_archiving_is_final(edge: ControlEdge, meter_id: str, before: str) -> None:
    one = f"{URL}/{created(edge, meter_id)['id']}"
    if before == "inactive":
        edge.post(f"{one}/deactivate")
    assert document(edge.post(f"{one}/archive"))["status"] == "archived"
    for action in ("activate", "deactivate", "archive"):
        error = error_of(edge.post(f"{one}/{action}"), 400)
        assert "archived" in error["message"] and error["type"] == "invalid_request_error"
    assert document(edge.get(one))["status"] == "archived"
    assert document(edge.get(URL))["data"] == []


@pytest.mark.parametrize("action", ["activate", "deactivate", "archive"])
def test_an_alert_that_does_not_exist_is_404(edge: ControlEdge, action: str) -> None:
    for response in (edge.get(f"{URL}/alrt_test_x"), edge.post(f"{URL}/alrt_test_x/{action}")):
        error = error_of(response, 404)
        assert (error["code"], error["message"]) == ("resource_missing", "No such billing alert: 'alrt_test_x'")


def test_lists_are_newest_first_in_pages_filtered_by_meter_and_type(edge: ControlEdge, meter_id: str) -> None:
    other = edge.meter(event_name="other")["id"]
    ids = [created(edge, each)["id"] for each in (meter_id, other, meter_id, meter_id)]
    page = document(edge.get(URL, {"limit": 3}))
    assert (page["object"], page["url"], page["has_more"]) == ("list", URL, True)
    assert [each["id"] for each in page["data"]] == ids[:0:-1]
    rest = document(edge.get(URL, {"starting_after": ids[1], "alert_type": "usage_threshold"}))
    assert ([each["id"] for each in rest["data"]], rest["has_more"]) == (ids[:1], False)
    of_meter = document(edge.get(URL, {"meter": other}))
    assert [each["id"] for each in of_meter["data"]] == [ids[1]]
    assert document(edge.get(URL, {"meter": "mtr_unknown"}))["data"] == []
    assert error_of(edge.get(URL, {"alert_type": "x"}), 400)["param"] == "alert_type"


def test_a_request_key_creates_one_alert(edge: ControlEdge, meter_id: str) -> None:
    first, second = (edge.post(URL, given_of(meter_id), headers={"idempotency-key": "once"}) for _ in range(2))
    assert document(first) == document(second)
    assert len(document(edge.get(URL))["data"]) == 1


def fired(edge: ControlEdge, meter_id: str, period: Range | None, secret: str = "") -> dict[str, Any]:
    alert_id = created(edge, meter_id)["id"]
    alert = edge.services.alerts.get(TEST_MODE, alert_id)
    draft = triggered(
        Firing(
            alert=alert, customer_id="cus_1", step=0, period=period, total=Decimal("100.9"), fired_ms=1_717_243_200_999
        )
    )
    assert (draft.tenant, draft.type) == (TEST_MODE, "billing.alert.triggered") != (LIVE_MODE, "")
    assert draft.related is not None and draft.related.url == f"{URL}/{alert_id}"
    return dict(draft.data)


def test_what_is_told_of_a_firing_is_as_documented(edge: ControlEdge, meter_id: str) -> None:
    told = fired(edge, meter_id, None)
    assert faults_of_schema(told, "billing.alert_triggered") == []
    assert told == {
        "object": "billing.alert_triggered",
        "alert": document(edge.get(f"{URL}/{told['alert']['id']}")),
        "created": 1_717_243_200,
        "customer": "cus_1",
        "livemode": False,
        "value": 100,
    }


def test_a_firing_of_a_day_or_month_also_says_of_which(edge: ControlEdge, meter_id: str) -> None:
    assert fired(edge, meter_id, Range(1_717_200_000, 1_717_286_400))["period_start"] == 1_717_200_000
