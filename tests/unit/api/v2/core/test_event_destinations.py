import json
from typing import Any

import httpx
import pytest

from ...control_edge import ControlEdge, document, error_of

URL = "/v2/core/event_destinations"
GIVEN: dict[str, Any] = {
    "name": "Ours",
    "type": "webhook_endpoint",
    "event_payload": "thin",
    "enabled_events": ["v1.billing.meter.error_report_triggered"],
    "webhook_endpoint": {"url": "https://example.com/hook"},
}


def post(edge: ControlEdge, path: str, body: Any = None, **options: Any) -> httpx.Response:
    headers = {"content-type": "application/json"} | options.pop("headers", {})
    content = None if body is None else json.dumps(body)
    return edge.send("POST", path, content=content, headers=headers, **options)


def created(edge: ControlEdge, **given: Any) -> dict[str, Any]:
    return document(post(edge, URL, GIVEN | given))


def test_a_created_destination_has_every_documented_member(edge: ControlEdge) -> None:
    made = created(edge)
    assert made == {
        "id": made["id"],
        "object": "v2.core.event_destination",
        "amazon_eventbridge": None,
        "azure_event_grid": None,
        "created": made["created"],
        "description": "",
        "enabled_events": ["v1.billing.meter.error_report_triggered"],
        "event_payload": "thin",
        "events_from": ["@self"],
        "livemode": False,
        "metadata": {},
        "name": "Ours",
        "snapshot_api_version": None,
        "status": "enabled",
        "status_details": None,
        "type": "webhook_endpoint",
        "updated": made["created"],
        "webhook_endpoint": {"signing_secret": None, "url": None},
    }
    assert made["id"].startswith("ed_")


def test_url_and_secret_are_shown_where_they_are_asked_for_and_the_secret_only_at_first(edge: ControlEdge) -> None:
    include = ["webhook_endpoint.signing_secret", "webhook_endpoint.url"]
    first = post(edge, URL, GIVEN | {"include": include}, headers={"idempotency-key": "mine"})
    shown = document(first)["webhook_endpoint"]
    assert shown["url"] == "https://example.com/hook"
    assert shown["signing_secret"].startswith("whsec_")
    again = post(edge, URL, GIVEN | {"include": include}, headers={"idempotency-key": "mine"})
    assert document(again) == document(first)
    made = document(first)
    later = {"signing_secret": None, "url": "https://example.com/hook"}
    query = "?include[0]=webhook_endpoint.url"
    assert document(edge.get(f"{URL}/{made['id']}{query}"))["webhook_endpoint"] == later
    assert document(edge.get(f"{URL}{query}"))["data"][0]["webhook_endpoint"] == later
    updated = post(edge, f"{URL}/{made['id']}", {"include": ["webhook_endpoint.url"]})
    assert document(updated)["webhook_endpoint"] == later
    assert document(edge.get(f"{URL}/{made['id']}"))["webhook_endpoint"] == {"signing_secret": None, "url": None}
    error_of(edge.get(f"{URL}/{made['id']}?include[0]=webhook_endpoint.signing_secret"), 400)


def test_it_takes_everything_that_is_documented(edge: ControlEdge) -> None:
    made = created(
        edge,
        event_payload="snapshot",
        enabled_events=["*"],
        description="for us",
        metadata={"team": "billing"},
        events_from=["@self"],
        snapshot_api_version="2026-09-30.endive",
    )
    assert made["snapshot_api_version"] == "2026-09-30.endive"
    assert (made["description"], made["metadata"]) == ("for us", {"team": "billing"})


@pytest.mark.parametrize(
    ("given", "param", "said"),
    [
        ({"type": "amazon_eventbridge"}, "type", "webhook endpoints only"),
        ({"type": "azure_event_grid"}, "type", "webhook endpoints only"),
        ({"type": "carrier_pigeon"}, "type", "carrier_pigeon"),
        ({"webhook_endpoint": None}, "webhook_endpoint", "required"),
        ({"webhook_endpoint": {"url": "example.com"}}, "webhook_endpoint.url", "https://"),
        ({"webhook_endpoint": {"url": "https://u:p@example.com"}}, "webhook_endpoint.url", "user name"),
        ({"webhook_endpoint": {"url": "https://example.com", "port": 1}}, "webhook_endpoint.port", "unknown"),
        ({"enabled_events": []}, "enabled_events", "at least one"),
        ({"enabled_events": ["*", "nonsense"]}, "enabled_events[1]", "v1.billing.meter.no_meter_found"),
        ({"enabled_events": ["billing.meter.created"]}, "enabled_events[0]", "snapshot event"),
        ({"event_payload": "fat"}, "event_payload", "fat"),
        ({"events_from": ["@accounts"]}, "events_from", "@self"),
        ({"snapshot_api_version": "2026-09-30.endive"}, "snapshot_api_version", "no version"),
        ({"name": ""}, "name", "length"),
        ({"include": ["everything"]}, "include[0]", "everything"),
        ({"nonsense": 1}, "nonsense", "unknown"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(edge: ControlEdge, given: Any, param: str, said: str) -> None:
    error = error_of(post(edge, URL, GIVEN | given), 400)
    assert error["param"] == param
    assert said in error["message"]
    assert document(edge.get(URL))["data"] == []


def test_live_mode_sends_to_https_only(edge: ControlEdge) -> None:
    plain = GIVEN | {"webhook_endpoint": {"url": "http://127.0.0.1:8000/"}}
    assert document(post(edge, URL, plain))["livemode"] is False
    error = error_of(post(edge, URL, plain, secret=edge.live_secret), 400)
    assert (error["code"], error["param"]) == ("url_invalid", "webhook_endpoint.url")


def test_a_destination_is_changed(edge: ControlEdge) -> None:
    url = f"{URL}/{created(edge, metadata={'a': '1', 'b': '2'})['id']}"
    before = document(edge.get(url))
    changed = document(
        post(
            edge,
            url,
            {
                "name": "Theirs",
                "description": "for them",
                "enabled_events": ["*"],
                "metadata": {"a": None, "c": "3"},
                "webhook_endpoint": {"url": "https://example.com/other"},
                "include": ["webhook_endpoint.url"],
            },
        )
    )
    assert (changed["name"], changed["description"], changed["enabled_events"]) == ("Theirs", "for them", ["*"])
    assert changed["metadata"] == {"b": "2", "c": "3"}
    assert changed["webhook_endpoint"]["url"] == "https://example.com/other"
    assert (changed["created"], changed["updated"] > before["updated"]) == (before["created"], True)
    error = error_of(post(edge, url, {"webhook_endpoint": {"url": "x"}}), 400)
    assert error["param"] == "webhook_endpoint.url"
    assert document(post(edge, url))["name"] == "Theirs"


def test_a_disabled_destination_says_why_and_hears_of_nothing(edge: ControlEdge) -> None:
    made = created(edge, enabled_events=["*"])
    disabled = document(post(edge, f"{URL}/{made['id']}/disable"))
    assert (disabled["status"], disabled["status_details"]) == ("disabled", {"disabled": {"reason": "user"}})
    edge.meter()
    assert edge.stores.outbox.pending(edge.key.tenant) == {}
    assert error_of(post(edge, f"{URL}/{made['id']}/ping"), 400)["param"] == "id"
    enabled = document(post(edge, f"{URL}/{made['id']}/enable"))
    assert (enabled["status"], enabled["status_details"]) == ("enabled", None)


def test_a_ping_goes_to_its_destination_alone_whatever_that_listens_to(edge: ControlEdge) -> None:
    pinged, _ = created(edge, event_payload="snapshot", enabled_events=["billing.meter.created"]), created(edge)
    event = document(post(edge, f"{URL}/{pinged['id']}/ping"))
    assert event["type"] == "v2.core.event_destination.ping"
    assert event["related_object"] == {
        "id": pinged["id"],
        "type": "v2.core.event_destination",
        "url": f"{URL}/{pinged['id']}",
    }
    assert edge.stores.outbox.pending(edge.key.tenant) == {pinged["id"]: 1}
    assert document(edge.get(f"/v2/core/events/{event['id']}")) == event


def test_a_deleted_destination_is_gone(edge: ControlEdge) -> None:
    made = created(edge)
    answer = document(edge.delete(f"{URL}/{made['id']}"))
    assert answer == {"id": made["id"], "object": "v2.core.event_destination"}
    for response in (
        edge.get(f"{URL}/{made['id']}"),
        edge.delete(f"{URL}/{made['id']}"),
        post(edge, f"{URL}/{made['id']}", {"name": "x"}),
        post(edge, f"{URL}/{made['id']}/enable"),
        post(edge, f"{URL}/{made['id']}/ping"),
    ):
        assert error_of(response, 404)["code"] == "not_found"


def test_pages_lead_to_each_other_with_endpoints_of_version_1_among_them(edge: ControlEdge) -> None:
    ours = [created(edge)["id"], created(edge)["id"]]
    theirs = document(edge.post("/v1/webhook_endpoints", {"url": "https://x.example", "enabled_events": ["*"]}))["id"]
    first = document(edge.get(f"{URL}?limit=2&include[0]=webhook_endpoint.url"))
    assert [each["id"] for each in first["data"]] == [theirs, ours[1]]
    second = document(edge.get(first["next_page_url"]))
    assert [each["id"] for each in second["data"]] == [ours[0]]
    assert second["data"][0]["webhook_endpoint"]["url"] == "https://example.com/hook"
    assert document(edge.get(second["previous_page_url"])) == first


def test_those_of_the_other_mode_are_not_visible(edge: ControlEdge) -> None:
    made = created(edge)
    assert error_of(edge.get(f"{URL}/{made['id']}", secret=edge.live_secret), 404)["code"] == "not_found"
    assert document(edge.get(URL, secret=edge.live_secret))["data"] == []
