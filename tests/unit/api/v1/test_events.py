from typing import Any

import pytest

from ..control_edge import ControlEdge, document, error_of

URL = "/v1/events"


def told(edge: ControlEdge, **params: Any) -> list[dict[str, Any]]:
    return list(document(edge.get(URL, params))["data"])


def types(edge: ControlEdge, **params: Any) -> list[str]:
    return [each["type"].removeprefix("billing.meter.") for each in told(edge, **params)]


@pytest.fixture
def meter(edge: ControlEdge) -> dict[str, Any]:
    """A meter that was created, renamed, deactivated and reactivated: four events."""
    made = edge.meter(display_name="Calls")
    edge.post(f"/v1/billing/meters/{made['id']}", {"display_name": "Requests"})
    edge.post(f"/v1/billing/meters/{made['id']}/deactivate")
    return document(edge.post(f"/v1/billing/meters/{made['id']}/reactivate"))


def test_every_change_of_a_meter_is_an_event_newest_first(edge: ControlEdge, meter: dict[str, Any]) -> None:
    assert types(edge) == ["reactivated", "deactivated", "updated", "created"]


def test_an_event_shows_the_meter_as_it_was_then(edge: ControlEdge, meter: dict[str, Any]) -> None:
    reactivated, deactivated, updated, created = told(edge)
    assert reactivated["data"] == {"object": meter}
    assert deactivated["data"]["object"]["status"] == "inactive"
    assert updated["data"]["object"]["display_name"] == "Requests"
    assert updated["data"]["previous_attributes"] == {
        "display_name": "Calls",
        "updated": created["data"]["object"]["updated"],
    }
    assert created["data"]["object"]["display_name"] == "Calls"


def test_an_event_is_found_by_its_id_and_says_what_caused_it(edge: ControlEdge) -> None:
    given = {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    answer = edge.post("/v1/billing/meters", given, headers={"idempotency-key": "mine"})
    (event,) = told(edge)
    assert document(edge.get(f"{URL}/{event['id']}")) == event
    assert event["request"] == {"id": answer.headers["request-id"], "idempotency_key": None}
    assert (event["object"], event["livemode"], event["pending_webhooks"]) == ("event", False, 0)
    assert event["api_version"] == "2026-09-30.endive"


def test_a_request_that_is_repeated_with_its_key_is_told_once(edge: ControlEdge) -> None:
    given = {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    for _ in range(2):
        edge.post("/v1/billing/meters", given, headers={"idempotency-key": "mine"})
    assert types(edge) == ["created"]


def test_a_change_that_is_refused_is_not_told(edge: ControlEdge, meter: dict[str, Any]) -> None:
    error_of(edge.post(f"/v1/billing/meters/{meter['id']}/reactivate"), 400)
    assert len(told(edge)) == 4


def test_lists_are_cut_at_cursors(edge: ControlEdge, meter: dict[str, Any]) -> None:
    first = document(edge.get(URL, {"limit": 3}))
    assert first["has_more"] is True
    assert types(edge, starting_after=first["data"][-1]["id"]) == ["created"]
    assert types(edge, ending_before=first["data"][-1]["id"], limit=1) == ["deactivated"]
    error = error_of(edge.get(URL, {"starting_after": "evt_none"}), 400)
    assert (error["code"], error["param"]) == ("resource_missing", "starting_after")


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"type": "billing.meter.updated"}, ["updated"]),
        ({"type": "billing.meter.*"}, ["reactivated", "deactivated", "updated", "created"]),
        ({"type": "billing.alert.*"}, []),
        ({"types": ["billing.meter.created", "billing.meter.deactivated"]}, ["deactivated", "created"]),
        ({"delivery_success": "true"}, ["reactivated", "deactivated", "updated", "created"]),
        ({"delivery_success": "false"}, []),
    ],
)
def test_events_are_filtered(edge: ControlEdge, meter: dict[str, Any], params: Any, found: list[str]) -> None:
    assert types(edge, **params) == found


def test_created_is_a_second_or_bounds(edge: ControlEdge, meter: dict[str, Any]) -> None:
    at_s = told(edge)[1]["created"]  # each a second after the one before
    assert types(edge, created=at_s) == ["deactivated"]
    assert types(edge, created={"gt": at_s}) == ["reactivated"]
    assert types(edge, created={"gte": at_s}) == ["reactivated", "deactivated"]
    assert types(edge, created={"lt": at_s}) == ["updated", "created"]
    assert types(edge, created={"lte": at_s, "gt": at_s - 2}) == ["deactivated", "updated"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"created": "yesterday"}, "created"),
        ({"created": {"gte": "1.5"}}, "created[gte]"),
        ({"created": {"before": "1"}}, "created[before]"),
        ({"created": str(2**62)}, "created"),
        ({"delivery_success": "yes"}, "delivery_success"),
        ({"types": ["a"] * 21}, "types"),
        ({"type": "a", "types": ["b"]}, "types"),
        ({"limit": "101"}, "limit"),
        ({"typ": "a"}, "typ"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_its_name(edge: ControlEdge, params: Any, param: str) -> None:
    assert error_of(edge.get(URL, params), 400)["param"] == param


def test_events_of_the_other_mode_are_not_visible(edge: ControlEdge, meter: dict[str, Any]) -> None:
    event = told(edge)[0]
    assert document(edge.get(URL, secret=edge.live_secret))["data"] == []
    assert error_of(edge.get(f"{URL}/{event['id']}", secret=edge.live_secret), 404)["param"] == "id"


def test_a_thin_event_is_not_here_and_the_answer_says_where_it_is(edge: ControlEdge, meter: dict[str, Any]) -> None:
    thin = document(edge.get("/v2/core/events"))["data"][0]
    assert f"/v2/core/events/{thin['id']}" in error_of(edge.get(f"{URL}/{thin['id']}"), 404)["message"]


def test_deliveries_that_are_left_are_counted(edge: ControlEdge) -> None:
    for _ in range(2):
        edge.post("/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/", "enabled_events": ["*"]})
    edge.meter()
    assert told(edge)[0]["pending_webhooks"] == 2
    assert types(edge, delivery_success="false") == ["created"]
