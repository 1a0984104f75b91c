"""The list of events over the wire: filters, cursors, and the same object as a receipt."""

from decimal import Decimal
from typing import Any

import pytest

from streamgauge.domain.event_block import block_of, encode
from streamgauge.domain.fate import Fate
from streamgauge.engine.ports.progress import Checkpoint
from tests.support.settled import Settled, settled
from tests.support.usage import cancel
from tests.support.world import Event, request

from ..control_edge import LIVE_MODE, NOW_MS, TEST_MODE, ControlEdge, document, error_of

URL = "/streamgauge/meter_events"


def store(edge: ControlEdge, *events: Settled) -> None:
    edge.usage.store.insert(settled(events), step=events[0].offset)
    edge.usage.progress.advance(Checkpoint(events[-1].offset + 1, NOW_MS), {})


def event(offset: int, **given: Any) -> Settled:
    usual: dict[str, Any] = {
        "identifier": f"event-{offset}",
        "received_at_ms": NOW_MS + offset,
        "tenant": TEST_MODE,
    }
    return Settled(offset=offset, **usual | given)


def listed(edge: ControlEdge, **params: Any) -> list[str]:
    return [each["identifier"] for each in document(edge.get(URL, params))["data"]]


def test_an_empty_list_is_a_list(edge: ControlEdge) -> None:
    assert document(edge.get(URL)) == {
        "object": "list",
        "data": [],
        "has_more": False,
        "next_position": None,
        "url": URL,
    }


def test_events_are_listed_newest_first_as_receipts(edge: ControlEdge) -> None:
    store(
        edge,
        event(0, value=Decimal("2.5")),
        event(1, tenant=LIVE_MODE),
        event(2, identifier="event-0", status=Fate.DUPLICATE),
    )
    repeat, first = document(edge.get(URL))["data"]
    assert (repeat["status"], repeat["log_position"], repeat["value"]) == ("duplicate", "0:2", None)
    assert (first["status"], first["log_position"], first["value"]) == ("counted", "0:0", "2.5")
    for each in (repeat, first):
        assert (each["object"], each["identifier"]) == ("meter_event_receipt", "event-0")
        assert (each["key"], each["session"], each["repeats"]) == ("key_1", "mes_1", 1)
        assert [found["log_position"] for found in each["repeated"]] == ["0:2"]


def test_pages_lead_to_older_and_to_newer_events(edge: ControlEdge) -> None:
    store(edge, *(event(at) for at in range(7)))
    pages: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        page = document(edge.get(URL, {"limit": 3, **after}))
        pages.append([each["log_position"] for each in page["data"]])
        if not page["has_more"]:
            assert page["next_position"] is None
            break
        assert page["next_position"] == pages[-1][-1]
        after = {"starting_after": page["next_position"]}
    assert pages == [["0:6", "0:5", "0:4"], ["0:3", "0:2", "0:1"], ["0:0"]]
    page = document(edge.get(URL, {"limit": 3, "ending_before": "0:1"}))
    assert [each["log_position"] for each in page["data"]] == ["0:4", "0:3", "0:2"]
    assert (page["has_more"], page["next_position"]) == (True, "0:4")
    page = document(edge.get(URL, {"limit": 3, "ending_before": "0:4"}))
    assert ([each["log_position"] for each in page["data"]], page["has_more"]) == (["0:6", "0:5"], False)


def test_filters_are_passed_on(edge: ControlEdge) -> None:
    store(
        edge,
        event(0, customer="cus_2"),
        event(1, meter="mtr_2"),
        event(2, event_name="other"),
        event(3, status=Fate.REJECTED, code="archived_meter"),
        event(4, timestamp_ms=NOW_MS - 5_000),
        cancelled := event(5),
    )
    cancel(edge.usage.store, cancelled)
    assert listed(edge, customer="cus_2") == ["event-0"]
    assert listed(edge, meter="mtr_2") == ["event-1"]
    assert listed(edge, event_name="other") == ["event-2"]
    assert listed(edge, status="rejected") == listed(edge, code="archived_meter") == ["event-3"]
    assert listed(edge, status="cancelled") == ["event-5"]
    assert listed(edge, identifier="event-4") == ["event-4"]
    assert listed(edge, received_at={"gte": "2024-06-01T12:00:00.127Z"}) == ["event-5", "event-4"]
    assert listed(edge, received_at={"gt": "2024-06-01T12:00:00.127Z"}) == ["event-5"]
    assert listed(edge, received_at={"lt": "2024-06-01T12:00:00.125Z"}) == ["event-1", "event-0"]
    assert listed(edge, received_at={"gte": "2024-06-01T12:00:00.124Z", "lte": "2024-06-01T12:00:00.125Z"}) == [
        "event-2",
        "event-1",
    ]
    assert listed(edge, timestamp={"lt": NOW_MS // 1_000}) == ["event-4"]
    assert listed(edge, received_at={"gte": "2030-01-01T00:00:00Z"}) == []


def test_what_waits_to_be_applied_is_listed_as_pending(edge: ControlEdge) -> None:
    for number in range(3):
        block = block_of([request([Event(f"{number}-{at}") for at in range(2)], TEST_MODE)])
        edge.usage.log.append(encode(block), block.tallies)
    assert listed(edge) == []
    assert listed(edge, status="pending") == ["2-1", "2-0", "1-1", "1-0", "0-1", "0-0"]
    assert listed(edge, status="pending", identifier="1-1") == ["1-1"]
    assert listed(edge, status="pending", customer="cus_1") == []
    page = document(edge.get(URL, {"status": "pending", "limit": 4}))
    assert (page["has_more"], page["next_position"]) == (True, "0:2")
    assert listed(edge, status="pending", limit=4, starting_after="0:2") == ["0-1", "0-0"]
    assert listed(edge, status="pending", limit=1, ending_before="0:2") == ["1-1"]
    (one,) = document(edge.get(URL, {"status": "pending", "identifier": "0-0"}))["data"]
    assert (one["key"], one["session"], one["log_position"]) == ("key_test", "mes_test", "0:0")


def test_a_client_that_makes_a_new_identifier_for_each_retry_shows(edge: ControlEdge) -> None:
    store(edge, event(0), event(1), event(2, value=2), event(3, timestamp_given=False))
    hints = {each["identifier"]: each["hints"] for each in document(edge.get(URL))["data"]}
    kind = "same_usage_under_other_identifiers"
    assert hints == {
        "event-3": [],
        "event-2": [],
        "event-1": [{"type": kind, "identifiers": ["event-0"]}],
        "event-0": [{"type": kind, "identifiers": ["event-1"]}],
    }


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"status": "lost"}, "status"),
        ({"code": "duplicate"}, "code"),
        ({"starting_after": "event-1"}, "starting_after"),
        ({"starting_after": "1:5"}, "starting_after"),
        ({"ending_before": "0:-1"}, "ending_before"),
        ({"starting_after": "0:1", "ending_before": "0:5"}, "ending_before"),
        ({"received_at": {"gte": "yesterday"}}, "received_at[gte]"),
        ({"timestamp": {"after": "2024-06-01T12:00:00Z"}}, "timestamp[after]"),
        ({"customers": "cus_1"}, "customers"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(edge: ControlEdge, params: dict[str, Any], param: str) -> None:
    assert error_of(edge.get(URL, params), 400)["param"] == param
