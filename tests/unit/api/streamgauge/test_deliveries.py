"""/streamgauge/deliveries: what is shown of deliveries and their attempts, and asking for one more."""

from typing import Any

import pytest

from streamgauge.domain.delivery import Attempt, DeliveryState
from streamgauge.engine.ports.outbox import Outcome

from ..control_edge import ControlEdge, document, error_of

URL = "/streamgauge/deliveries"
FAR_MS = 2**41


def endpoint(edge: ControlEdge, name: str) -> str:
    given = {"url": f"https://{name}.example/hook", "enabled_events": ["*"]}
    return str(document(edge.post("/v1/webhook_endpoints", given))["id"])


def listed(edge: ControlEdge, **params: Any) -> list[dict[str, Any]]:
    return list(document(edge.get(URL, params))["data"])


def attempted(edge: ControlEdge, delivery_id: str, state: DeliveryState, **outcome: Any) -> None:
    """As the deliverer keeps an attempt."""
    (delivery,) = (
        each.delivery
        for destination in edge.stores.outbox.due_destinations(FAR_MS)
        for each in edge.stores.outbox.claim(destination.id, FAR_MS, FAR_MS, 100)
        if each.delivery.id == delivery_id
    )
    made = {"at_ms": delivery.begun_ms + 5, "status": None, "error": None, "duration_ms": 7, "response_excerpt": None}
    edge.stores.outbox.record([Outcome(delivery=delivery, attempt=Attempt(**(made | outcome)), state=state)])


def test_a_delivery_shows_its_event_its_destination_and_every_attempt(edge: ControlEdge) -> None:
    destination = endpoint(edge, "one")
    edge.meter()
    (waiting,) = listed(edge)
    assert waiting["attempts"] == []
    assert waiting["next_attempt_at"] == waiting["created"]
    attempted(edge, waiting["id"], DeliveryState.DELIVERED, status=200, response_excerpt="thanks")
    (delivered,) = listed(edge)
    (attempt,) = delivered.pop("attempts")
    assert attempt.pop("at") > waiting["created"]
    assert attempt == {"status": 200, "error": None, "duration_ms": 7, "response_excerpt": "thanks"}
    assert delivered == {
        "object": "delivery",
        "id": waiting["id"],
        "event": waiting["event"],
        "destination": destination,
        "outcome": "delivered",
        "created": waiting["created"],
        "next_attempt_at": None,
    }
    assert document(edge.get(f"/v1/events/{delivered['event']}"))["type"] == "billing.meter.created"


def test_deliveries_are_listed_newest_first_in_pages_that_a_cursor_joins(edge: ControlEdge) -> None:
    endpoint(edge, "one")
    for number in range(5):
        edge.meter(event_name=f"meter_{number}")
    everything = [each["id"] for each in listed(edge)]
    paged: list[str] = []
    while page := listed(edge, limit=2, **({"starting_after": paged[-1]} if paged else {})):
        paged += [each["id"] for each in page]
    assert paged == everything
    assert len(paged) == 5
    assert error_of(edge.get(URL, {"starting_after": "dlv_unknown"}), 400)["code"] == "resource_missing"


def test_deliveries_are_filtered_by_event_destination_and_outcome(edge: ControlEdge) -> None:
    one, two = endpoint(edge, "one"), endpoint(edge, "two")
    edge.meter()
    first = listed(edge, destination=one)
    assert [each["destination"] for each in first] == [one]
    assert {each["destination"] for each in listed(edge, event=first[0]["event"])} == {one, two}
    attempted(edge, first[0]["id"], DeliveryState.DELIVERED, status=200)
    assert [each["destination"] for each in listed(edge, outcome="delivered")] == [one]
    assert [each["destination"] for each in listed(edge, outcome="pending")] == [two]
    assert listed(edge, event="evt_unknown") == []


@pytest.mark.parametrize("outcome", ["", "lost"])
def test_an_outcome_that_there_is_not_is_refused(edge: ControlEdge, outcome: str) -> None:
    assert error_of(edge.get(URL, {"outcome": outcome}), 400)["param"] == "outcome"


def test_a_delivery_that_was_given_up_is_due_again_when_somebody_asks(edge: ControlEdge) -> None:
    endpoint(edge, "one")
    edge.meter()
    (delivery,) = listed(edge)
    attempted(edge, delivery["id"], DeliveryState.FAILED, error="timed_out: no status after 15.0 s")
    assert [each["outcome"] for each in listed(edge)] == ["failed"]
    again = document(edge.post(f"{URL}/{delivery['id']}/resend"))
    assert (again["outcome"], len(again["attempts"])) == ("pending", 1)
    assert again["next_attempt_at"] is not None


def test_what_is_not_there_or_of_another_mode_is_not_sent_again(edge: ControlEdge) -> None:
    endpoint(edge, "one")
    edge.meter()
    (delivery,) = listed(edge)
    for path, secret in (("dlv_unknown", None), (delivery["id"], edge.live_secret)):
        assert error_of(edge.post(f"{URL}/{path}/resend", secret=secret), 404)["code"] == "resource_missing"


def test_nothing_is_sent_again_to_a_destination_that_was_deleted(edge: ControlEdge) -> None:
    destination = endpoint(edge, "one")
    edge.meter()
    (delivery,) = listed(edge)
    edge.delete(f"/v1/webhook_endpoints/{destination}")
    assert listed(edge)[0]["outcome"] == "cancelled"
    assert "was deleted" in error_of(edge.post(f"{URL}/{delivery['id']}/resend"), 400)["message"]
