from typing import Any

import pytest

from ...control_edge import ControlEdge, document, error_of

URL = "/v2/core/events"


@pytest.fixture
def meter(edge: ControlEdge) -> dict[str, Any]:
    """A meter that was created, renamed and deactivated: three events."""
    made = edge.meter()
    edge.post(f"/v1/billing/meters/{made['id']}", {"display_name": "Requests"})
    return document(edge.post(f"/v1/billing/meters/{made['id']}/deactivate"))


def listed(edge: ControlEdge, query: str = "") -> list[str]:
    data = document(edge.get(f"{URL}?{query}" if query else URL))["data"]
    return [each["type"].removeprefix("v1.billing.meter.") for each in data]


def test_a_thin_event_goes_with_each_snapshot_event(edge: ControlEdge, meter: dict[str, Any]) -> None:
    assert listed(edge) == ["deactivated", "updated", "created"]
    snapshots = document(edge.get("/v1/events"))["data"]
    thin = document(edge.get(URL))["data"]
    assert [each["snapshot_event"] for each in thin] == [each["id"] for each in snapshots]
    assert thin[0]["related_object"] == {
        "id": meter["id"],
        "type": "billing.meter",
        "url": f"/v1/billing/meters/{meter['id']}",
    }
    assert document(edge.get(thin[0]["related_object"]["url"])) == meter


def test_an_event_is_found_by_its_id_and_says_what_caused_it(edge: ControlEdge, meter: dict[str, Any]) -> None:
    event = document(edge.get(URL))["data"][0]
    assert document(edge.get(f"{URL}/{event['id']}")) == event
    assert event["reason"]["request"]["id"].startswith("req_")
    # The official Python client reads it, and fails where it is left out.
    assert event["context"] is None


@pytest.mark.parametrize(
    "query",
    [
        "types[0]=v1.billing.meter.created&types[1]=v1.billing.meter.updated",
        "types%5B0%5D=v1.billing.meter.created&types%5B1%5D=v1.billing.meter.updated",
        "types[]=v1.billing.meter.created&types[]=v1.billing.meter.updated",
    ],
)
def test_types_are_taken_in_every_spelling_of_a_list(edge: ControlEdge, meter: dict[str, Any], query: str) -> None:
    assert listed(edge, query) == ["updated", "created"]


@pytest.mark.parametrize("spelling", ["created[{}]={}", "created_{}={}", "created%5B{}%5D={}"])
def test_bounds_are_taken_in_both_spellings(edge: ControlEdge, meter: dict[str, Any], spelling: str) -> None:
    at = document(edge.get(URL))["data"][1]["created"]
    assert listed(edge, spelling.format("gt", at)) == ["deactivated"]
    assert listed(edge, spelling.format("gte", at)) == ["deactivated", "updated"]
    assert listed(edge, spelling.format("lt", at)) == ["created"]
    assert listed(edge, spelling.format("lte", at)) == ["updated", "created"]


def test_events_of_one_object_are_found(edge: ControlEdge, meter: dict[str, Any]) -> None:
    edge.meter(event_name="other")
    assert listed(edge, f"object_id={meter['id']}") == ["deactivated", "updated", "created"]
    assert listed(edge, "object_id=mtr_none") == []


def test_pages_lead_to_each_other_and_keep_their_filters(edge: ControlEdge, meter: dict[str, Any]) -> None:
    query = f"limit=1&object_id={meter['id']}&types[0]=v1.billing.meter.created&types[1]=v1.billing.meter.updated"
    edge.meter(event_name="other")
    first = document(edge.get(f"{URL}?{query}&created[gt]=2020-01-01T00:00:00Z"))
    assert (first["data"][0]["type"], first["previous_page_url"]) == ("v1.billing.meter.updated", None)
    second = document(edge.get(first["next_page_url"]))
    assert (second["data"][0]["type"], second["next_page_url"]) == ("v1.billing.meter.created", None)
    assert document(edge.get(second["previous_page_url"])) == first


def test_a_list_without_events_has_no_pages(edge: ControlEdge) -> None:
    assert document(edge.get(URL)) == {"data": [], "next_page_url": None, "previous_page_url": None}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("page=nonsense", "page"),
        ("page=%C3%A4", "page"),
        ("created[gt]=yesterday", "created[gt]"),
        ("created_gt=yesterday", "created[gt]"),
        ("created_gt=2026-01-01T00:00:00Z&created[gt]=2026-01-01T00:00:00Z", "created"),
        ("created=2026-01-01T00:00:00Z", "created"),
        ("&".join(f"types[{at}]=a" for at in range(21)), "types"),
        ("expand[]=x", "expand"),
        ("kind=x", "kind"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_its_name(edge: ControlEdge, query: str, param: str) -> None:
    assert error_of(edge.get(f"{URL}?{query}"), 400)["param"] == param


def test_a_body_is_refused(edge: ControlEdge) -> None:
    assert error_of(edge.send("GET", URL, content=b'{"limit": 3}'), 400)["code"] == "invalid_fields"


def test_events_of_the_other_mode_are_not_visible(edge: ControlEdge, meter: dict[str, Any]) -> None:
    event = document(edge.get(URL))["data"][0]
    assert document(edge.get(URL, secret=edge.live_secret))["data"] == []
    assert error_of(edge.get(f"{URL}/{event['id']}", secret=edge.live_secret), 404)["code"] == "not_found"


def test_a_snapshot_event_is_not_here_and_the_answer_says_where_it_is(edge: ControlEdge, meter: dict[str, Any]) -> None:
    snapshot = document(edge.get("/v1/events"))["data"][0]
    assert f"/v1/events/{snapshot['id']}" in error_of(edge.get(f"{URL}/{snapshot['id']}"), 404)["message"]
