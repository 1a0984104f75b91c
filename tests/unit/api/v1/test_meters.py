from typing import Any

import pytest

from ..contract import faults_of_answer
from ..control_edge import ControlEdge, document, error_of

URL = "/v1/billing/meters"
GIVEN: dict[str, Any] = {
    "display_name": "API calls",
    "event_name": "api_calls",
    "default_aggregation": {"formula": "sum"},
}


def test_a_created_meter_is_shown_with_every_documented_member_and_its_defaults(edge: ControlEdge) -> None:
    meter = document(edge.post(URL, GIVEN))
    assert faults_of_answer(meter, "post", URL) == []
    created = meter["created"]
    assert meter == {
        "id": meter["id"],
        "object": "billing.meter",
        "created": created,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "sum"},
        "display_name": "API calls",
        "event_name": "api_calls",
        "event_time_window": None,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": created,
        "value_settings": {"event_payload_key": "value"},
    }
    assert 1_717_243_200 <= created < 1_717_243_300  # seconds, not milliseconds


def test_a_meter_takes_everything_that_is_documented(edge: ControlEdge) -> None:
    given = GIVEN | {
        "customer_mapping": {"event_payload_key": "tenant", "type": "by_id"},
        "event_time_window": "hour",
        "value_settings": {"event_payload_key": "tokens"},
        "expand": ["nothing"],
    }
    meter = document(edge.post(URL, given))
    assert meter["customer_mapping"] == {"event_payload_key": "tenant", "type": "by_id"}
    assert meter["event_time_window"] == "hour"
    assert meter["value_settings"] == {"event_payload_key": "tokens"}
    assert document(edge.get(f"{URL}/{meter['id']}", {"expand": ["nothing"]})) == meter


@pytest.mark.parametrize("formula", ["count", "last", "sum"])
def test_a_meter_has_one_of_three_formulas(edge: ControlEdge, formula: str) -> None:
    meter = document(edge.post(URL, GIVEN | {"default_aggregation": {"formula": formula}}))
    assert meter["default_aggregation"] == {"formula": formula}


def test_a_meter_of_live_mode_says_so(edge: ControlEdge) -> None:
    assert document(edge.post(URL, GIVEN, secret=edge.live_secret))["livemode"] is True


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"display_name": None}, "display_name", "parameter_missing"),
        ({"event_name": None}, "event_name", "parameter_missing"),
        ({"default_aggregation": None}, "default_aggregation", "parameter_missing"),
        ({"display_name": ""}, "display_name", "parameter_invalid_empty"),
        ({"event_name": ""}, "event_name", "parameter_invalid_empty"),
        ({"display_name": "x" * 251}, "display_name", None),
        ({"event_name": "x" * 101}, "event_name", None),
        ({"default_aggregation": {"formula": "max"}}, "default_aggregation[formula]", None),
        ({"default_aggregation": {"formule": "sum"}}, "default_aggregation[formule]", "parameter_unknown"),
        ({"default_aggregation": "sum"}, "default_aggregation", None),
        ({"customer_mapping": {"event_payload_key": "k"}}, "customer_mapping[type]", "parameter_missing"),
        ({"customer_mapping": {"type": "by_id"}}, "customer_mapping[event_payload_key]", "parameter_missing"),
        ({"customer_mapping": {"type": "by_name", "event_payload_key": "k"}}, "customer_mapping[type]", None),
        ({"value_settings": {"event_payload_key": "x" * 101}}, "value_settings[event_payload_key]", None),
        ({"value_settings": {"event_payload_key": ""}}, "value_settings[event_payload_key]", "parameter_invalid_empty"),
        ({"event_time_window": "week"}, "event_time_window", None),
        ({"event_time_window": ""}, "event_time_window", "parameter_invalid_empty"),
        ({"metadata": {"a": "b"}}, "metadata", "parameter_unknown"),
        ({"dimension_payload_keys": ["region"]}, "dimension_payload_keys", "parameter_unknown"),
    ],
)
def test_a_meter_that_is_not_as_documented_is_refused_by_name(
    edge: ControlEdge, change: dict[str, Any], param: str, code: str | None
) -> None:
    given = {name: value for name, value in (GIVEN | change).items() if value is not None}
    error = error_of(edge.post(URL, given), 400)
    assert (error["type"], error["param"], error.get("code")) == ("invalid_request_error", param, code)
    assert document(edge.get(URL))["data"] == []


def test_lengths_are_counted_in_characters(edge: ControlEdge) -> None:
    name = "\u00e9" * 250
    assert edge.meter(display_name=name)["display_name"] == name


def test_a_second_active_meter_of_an_event_name_is_refused(edge: ControlEdge) -> None:
    edge.meter(event_name="calls")
    error = error_of(edge.post(URL, GIVEN | {"event_name": "calls"}), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", "event_name")


def test_only_the_display_name_of_a_meter_can_be_changed(edge: ControlEdge) -> None:
    meter = edge.meter()
    renamed = document(edge.post(f"{URL}/{meter['id']}", {"display_name": "null"}))
    assert renamed == meter | {"display_name": "null", "updated": renamed["updated"]}
    assert faults_of_answer(renamed, "post", URL + "/{id}") == []
    assert error_of(edge.post(f"{URL}/{meter['id']}", {"event_name": "other"}), 400)["code"] == "parameter_unknown"


def test_an_empty_update_returns_the_meter_unchanged(edge: ControlEdge) -> None:
    meter = edge.meter()
    assert document(edge.post(f"{URL}/{meter['id']}")) == meter


def test_a_deactivated_meter_is_inactive_since_when_until_it_is_reactivated(edge: ControlEdge) -> None:
    meter = edge.meter()
    inactive = document(edge.post(f"{URL}/{meter['id']}/deactivate"))
    assert inactive["status"] == "inactive"
    assert inactive["status_transitions"] == {"deactivated_at": inactive["updated"]}
    assert faults_of_answer(inactive, "post", URL + "/{id}/deactivate") == []
    active = document(edge.post(f"{URL}/{meter['id']}/reactivate"))
    assert active == meter | {"updated": active["updated"]}
    assert faults_of_answer(active, "post", URL + "/{id}/reactivate") == []


def test_deactivating_takes_no_parameters(edge: ControlEdge) -> None:
    meter = edge.meter()
    error = error_of(edge.post(f"{URL}/{meter['id']}/deactivate", {"display_name": "x"}), 400)
    assert error["code"] == "parameter_unknown"


@pytest.mark.parametrize(("status", "index"), [("active", 0), ("inactive", 1)])
def test_a_list_of_meters_can_be_of_one_status(edge: ControlEdge, status: str, index: int) -> None:
    ids = [edge.meter(event_name="one")["id"], edge.meter(event_name="two")["id"]]
    document(edge.post(f"{URL}/{ids[1]}/deactivate"))
    page = document(edge.get(URL, {"status": status}))
    assert [each["id"] for each in page["data"]] == [ids[index]]
    assert faults_of_answer(page, "get", URL) == []


def test_a_status_that_meters_do_not_have_is_refused(edge: ControlEdge) -> None:
    assert error_of(edge.get(URL, {"status": "archived"}), 400)["param"] == "status"


@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("POST", ""), ("POST", "/deactivate")])
def test_an_unknown_meter_is_404(edge: ControlEdge, method: str, action: str) -> None:
    error = error_of(edge.send(method, f"{URL}/mtr_none{action}"), 404)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "resource_missing", "id")
