"""/streamgauge/dead_letters over the wire: what is shown, found, redriven and refused."""

import json
from typing import Any

import pytest

from streamgauge.domain.meter_event import MeterEvent

from ..control_edge import LIVE_MODE, NOW_MS, ControlEdge, document, error_of

URL = "/streamgauge/dead_letters"


def event(identifier: str, value: str = "1", customer: str = "cus_missing", name: str = "calls") -> MeterEvent:
    return MeterEvent(name, identifier, NOW_MS, {"stripe_customer_id": customer, "value": value})


def listed(edge: ControlEdge, **params: Any) -> list[dict[str, Any]]:
    return list(document(edge.get(URL, params))["data"])


def names(edge: ControlEdge, **params: Any) -> list[str]:
    return [each["identifier"] for each in listed(edge, **params)]


def redriven(edge: ControlEdge, **given: Any) -> dict[str, Any]:
    return document(edge.post(f"{URL}/redrive", given))


@pytest.fixture
def rejected(edge: ControlEdge) -> ControlEdge:
    """Of a meter that is there and a customer that is not."""
    edge.meter()
    edge.usage.accept(event("a"), event("b", customer="cus_other"), event("c", name="unknown"))
    edge.usage.accept(event("theirs"), tenant=LIVE_MODE)
    edge.usage.apply()
    return edge


def test_a_dead_letter_shows_what_was_sent_and_why_it_did_not_count(rejected: ControlEdge) -> None:
    (letter,) = listed(rejected, identifier="a")
    assert letter.pop("received_at") == letter.pop("judged_at")
    assert letter.pop("meter").startswith("mtr_")
    assert letter == {
        "object": "dead_letter",
        "id": "dl_0",
        "identifier": "a",
        "event_name": "calls",
        "status": "open",
        "code": "meter_event_customer_not_found",
        "customer": "cus_missing",
        "timestamp": "2024-06-01T12:00:00.123Z",
        "payload": {"stripe_customer_id": "cus_missing", "value": "1"},
        "key": "key_1",
        "session": "mes_1",
        "livemode": False,
    }


def test_the_list_is_of_one_mode_newest_first_and_filtered(rejected: ControlEdge) -> None:
    assert names(rejected) == ["c", "b", "a"]
    assert names(rejected, code="no_meter") == ["c"]
    assert names(rejected, event_name="calls") == ["b", "a"]
    assert names(rejected, customer="cus_missing") == ["a"]
    assert names(rejected, identifier="b", customer="cus_missing") == []
    assert names(rejected, received_at={"gte": NOW_MS // 1000 + 1_000}) == []
    assert names(rejected, received_at={"gt": NOW_MS // 1000 - 1, "lte": NOW_MS // 1000 + 1_000}) == ["c", "b", "a"]
    assert names(rejected, received_at={"lt": NOW_MS // 1000}) == []


def test_pages_are_joined_by_cursors_in_both_directions(rejected: ControlEdge) -> None:
    first = document(rejected.get(URL, {"limit": 2}))
    assert [each["id"] for each in first["data"]] == ["dl_2", "dl_1"]
    assert first["has_more"] is True
    second = document(rejected.get(URL, {"limit": 2, "starting_after": "dl_1"}))
    assert [each["id"] for each in second["data"]] == ["dl_0"]
    assert second["has_more"] is False
    back = document(rejected.get(URL, {"limit": 1, "ending_before": "dl_0"}))
    assert ([each["id"] for each in back["data"]], back["has_more"]) == (["dl_1"], True)


def test_one_is_found_by_id_and_by_identifier(rejected: ControlEdge) -> None:
    assert document(rejected.get(f"{URL}/dl_1"))["identifier"] == "b"
    assert document(rejected.get(f"{URL}/b"))["id"] == "dl_1"
    assert error_of(rejected.get(f"{URL}/dl_3"), 404)["param"] == "id"  # of live mode
    assert error_of(rejected.get(f"{URL}/nothing"), 404)["message"] == "No such dead letter: 'nothing'"


def test_an_identifier_may_look_like_an_id(edge: ControlEdge) -> None:
    edge.usage.accept(event("dl_7"))
    edge.usage.apply()
    assert document(edge.get(f"{URL}/dl_7"))["id"] == "dl_0"


def test_creating_what_is_missing_and_redriving_counts_it_once(rejected: ControlEdge) -> None:
    tried = redriven(rejected, dry_run="true")
    both = {"meter_event_customer_not_found": 2, "no_meter": 1}
    assert tried == {
        "object": "redrive",
        "dry_run": True,
        "selected": 3,
        "counted": 0,
        "duplicates": 0,
        "rejected": both,
        "has_more": False,
        "cursor": None,
    }
    assert rejected.customer(id="cus_missing")["id"] == "cus_missing"
    done = redriven(rejected, customer="cus_missing")
    assert (done["dry_run"], done["selected"], done["counted"], done["rejected"]) == (False, 1, 1, {})
    rejected.usage.apply()
    assert names(rejected) == ["c", "b"]
    assert names(rejected, status="closed") == ["a"]
    assert names(rejected, status="all") == ["c", "b", "a"]
    assert document(rejected.get(f"{URL}/a"))["status"] == "closed"
    assert redriven(rejected, customer="cus_missing")["selected"] == 0


def test_a_bounded_redrive_goes_on_at_its_cursor(rejected: ControlEdge) -> None:
    first = redriven(rejected, limit=2)
    assert (first["selected"], first["has_more"]) == (2, True)
    second = redriven(rejected, limit=2, cursor=first["cursor"])
    assert (second["selected"], second["has_more"], second["cursor"]) == (1, False, None)


def test_a_redrive_is_asked_for_in_json_too(rejected: ControlEdge) -> None:
    asked = {"code": "no_meter", "dry_run": True, "limit": 5, "customer": None}
    answer = rejected.send(
        "POST", f"{URL}/redrive", content=json.dumps(asked), headers={"content-type": "application/json"}
    )
    assert document(answer)["rejected"] == {"no_meter": 1}


@pytest.mark.parametrize("body", ["", "[]", "nonsense", '{"code": []}', '{"unknown": 1}', '{"dry_run": "perhaps"}'])
def test_json_that_is_no_redrive_is_refused(rejected: ControlEdge, body: str) -> None:
    answer = rejected.send("POST", f"{URL}/redrive", content=body, headers={"content-type": "application/json"})
    error_of(answer, 400)


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"code": "nonsense"}, "code"),
        ({"limit": 0}, "limit"),
        ({"cursor": "dl_1"}, "cursor"),
        ({"unknown": "1"}, "unknown"),
    ],
)
def test_a_faulty_redrive_is_refused_by_name(rejected: ControlEdge, given: dict[str, Any], param: str) -> None:
    assert error_of(rejected.post(f"{URL}/redrive", given), 400)["param"] == param


@pytest.mark.parametrize(
    ("given", "param"),
    [({"starting_after": "evt_1"}, "starting_after"), ({"status": "dead"}, "status"), ({"code": "nonsense"}, "code")],
)
def test_a_faulty_list_is_refused_by_name(rejected: ControlEdge, given: dict[str, Any], param: str) -> None:
    assert error_of(rejected.get(URL, given), 400)["param"] == param


def test_a_customer_is_created_by_the_name_that_events_have_for_it_once(edge: ControlEdge) -> None:
    assert edge.customer(id="cus_9", name="Nine")["name"] == "Nine"
    error = error_of(edge.post("/v1/customers", {"id": "cus_9"}), 400)
    assert (error["param"], error["code"]) == ("id", "resource_already_exists")
    edge.delete("/v1/customers/cus_9")
    error_of(edge.post("/v1/customers", {"id": "cus_9"}), 400)
    assert error_of(edge.post("/v1/customers", {"id": "a/b"}), 400)["param"] == "id"
