from dataclasses import replace
from decimal import Decimal
from urllib.parse import quote

import pytest

from streamgauge.domain.fate import Fate
from streamgauge.domain.receipt import Receipt

from ..control_edge import LIVE_MODE, NOW_MS, TEST_MODE, ControlEdge, document, error_of

COUNTED = Receipt(
    identifier="evt-1",
    event_name="calls",
    status=Fate.COUNTED,
    code=None,
    meter="mtr_1",
    customer="cus_1",
    value=Decimal("25.500000000000000"),
    timestamp_ms=NOW_MS - 1_123,
    received_at_ms=NOW_MS,
    repeats=2,
    conflicting_repeats=1,
)


def know(edge: ControlEdge, receipt: Receipt) -> str:
    """The URL of a receipt that is known from now on."""
    edge.receipts.known[TEST_MODE, receipt.identifier] = receipt
    return "/streamgauge/meter_events/" + quote(receipt.identifier, safe="")


def test_a_receipt_tells_what_became_of_an_event(edge: ControlEdge) -> None:
    assert document(edge.get(know(edge, COUNTED))) == {
        "object": "meter_event_receipt",
        "identifier": "evt-1",
        "event_name": "calls",
        "status": "counted",
        "code": None,
        "meter": "mtr_1",
        "customer": "cus_1",
        "value": "25.5",
        "timestamp": "2024-06-01T11:59:59.000Z",
        "received_at": "2024-06-01T12:00:00.123Z",
        "repeats": 2,
        "conflicting_repeats": 1,
    }


@pytest.mark.parametrize("fate", Fate)
def test_a_receipt_can_tell_every_fate(edge: ControlEdge, fate: Fate) -> None:
    url = know(edge, replace(COUNTED, status=fate, code="no_meter", meter=None, customer=None, value=None))
    told = document(edge.get(url))
    assert told["status"] == fate.value
    assert (told["code"], told["meter"], told["customer"], told["value"]) == ("no_meter", None, None, None)


@pytest.mark.parametrize(
    "identifier",
    [
        "a/b",
        "/",
        "a//b/",
        "a b",
        "a+b",
        "a%2Fb",
        "100%",
        "a?b#c",
        "caf\u00e9 \U0001f600",
        "line\nbreak",
        "trailing\n",
        "\r\n",
        "{identifier}",
        "a;b,c:d@e",
        "../../v1/customers",
    ],
)
def test_an_identifier_may_hold_any_characters(edge: ControlEdge, identifier: str) -> None:
    assert document(edge.get(know(edge, replace(COUNTED, identifier=identifier))))["identifier"] == identifier


def test_identifiers_that_differ_in_a_line_break_are_different(edge: ControlEdge) -> None:
    know(edge, COUNTED)
    error_of(edge.get("/streamgauge/meter_events/evt-1%0A"), 404)


def test_an_identifier_that_was_never_seen_is_404(edge: ControlEdge) -> None:
    error = error_of(edge.get("/streamgauge/meter_events/unknown"), 404)
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "resource_missing", "identifier")


def test_a_receipt_of_the_other_mode_is_not_shown(edge: ControlEdge) -> None:
    edge.receipts.known[LIVE_MODE, "evt-1"] = COUNTED
    error_of(edge.get("/streamgauge/meter_events/evt-1"), 404)


def test_no_identifier_is_no_url_of_ours(edge: ControlEdge) -> None:
    assert "Unrecognized request URL" in error_of(edge.get("/streamgauge/meter_events/"), 404)["message"]
