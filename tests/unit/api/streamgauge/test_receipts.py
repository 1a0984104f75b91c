from dataclasses import replace
from decimal import Decimal
from urllib.parse import quote

import pytest

from streamgauge.api.error_report import error_report_draft
from streamgauge.domain.cancellation import adjustment_id
from streamgauge.domain.error_report import ErrorReport, RejectedSample, Rejections, window_start_of
from streamgauge.domain.fate import Fate, RejectionCode
from streamgauge.domain.receipt import Hint, HintKind, Receipt, Repeat

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
    log_offset=7,
    judged_offset=7,
    key_id="key_1",
    session_id="mes_1",
    bucket_ms=NOW_MS // 60_000 * 60_000 - 60_000,
    repeated=(Repeat(NOW_MS + 1_000, 8, differs=False), Repeat(NOW_MS + 2_000, 9, differs=True)),
    hints=(Hint(HintKind.REPEATED_WITH_DIFFERENT_CONTENT),),
)
RECEIVED_MS = window_start_of(NOW_MS)


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
        "message": None,
        "bucket": "2024-06-01T11:59:00.000Z",
        "key": "key_1",
        "session": "mes_1",
        "log_position": "0:7",
        "repeated": [
            {"received_at": "2024-06-01T12:00:01.123Z", "log_position": "0:8", "differs": False},
            {"received_at": "2024-06-01T12:00:02.123Z", "log_position": "0:9", "differs": True},
        ],
        "cancellation": None,
        "redriven_at": None,
        "first_code": None,
        "error_report": None,
        "hints": [{"type": "repeated_with_different_content", "identifiers": []}],
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


def test_a_receipt_tells_of_a_cancellation_with_the_id_that_the_adjustment_had(edge: ControlEdge) -> None:
    cancelled = replace(COUNTED, status=Fate.CANCELLED, bucket_ms=None, cancelled_at_ms=NOW_MS + 5)
    told = document(edge.get(know(edge, cancelled)))
    assert (told["status"], told["bucket"]) == ("cancelled", None)
    assert told["cancellation"] == {
        "id": adjustment_id(TEST_MODE, "evt-1", 7),
        "received_at": "2024-06-01T12:00:00.128Z",
    }


def test_a_receipt_of_a_redriven_event_tells_when_and_of_what_was_before(edge: ControlEdge) -> None:
    redriven = replace(COUNTED, redriven_at_ms=NOW_MS + 5, judged_offset=70, first_code="no_meter")
    told = document(edge.get(know(edge, redriven)))
    assert (told["log_position"], told["redriven_at"]) == ("0:7", "2024-06-01T12:00:00.128Z")
    assert (told["code"], told["first_code"]) == (None, "no_meter")


@pytest.mark.parametrize("code", RejectionCode)
def test_a_receipt_says_what_its_code_means(edge: ControlEdge, code: RejectionCode) -> None:
    meter = edge.meter(customer_mapping={"type": "by_id", "event_payload_key": "who"})["id"]
    told = document(edge.get(know(edge, replace(COUNTED, status=Fate.REJECTED, code=str(code), meter=meter))))
    assert told["code"] == code
    assert told["message"] and told["message"].endswith(".")
    if code is RejectionCode.NO_CUSTOMER_DEFINED:
        assert told["message"] == "Customer mapping key who not found in payload."
    if code is RejectionCode.NO_METER:
        assert told["message"] == "No meter was found matching event_name calls."


def test_a_receipt_names_the_report_that_told_of_the_event(edge: ControlEdge) -> None:
    meter = edge.meter()["id"]
    reports = {}
    for start_ms, meter_id in ((RECEIVED_MS, meter), (RECEIVED_MS + 10_000, meter), (RECEIVED_MS, "")):
        report = ErrorReport((rejections(start_ms, meter_id),))
        found = edge.store.get_meter(TEST_MODE, meter) if meter_id else None
        edge.telling.at_ms = start_ms + 11_000
        reports[start_ms, meter_id] = edge.notifications.announce(error_report_draft(report, found)).id
    for start_ms, meter_id in reports:
        rejected = replace(
            COUNTED,
            status=Fate.REJECTED,
            code="archived_meter" if meter_id else "no_meter",
            meter=meter_id or None,
            received_at_ms=start_ms + 9_999,
        )
        assert document(edge.get(know(edge, rejected)))["error_report"] == reports[start_ms, meter_id]
        # What it was reported for when it was received; by the meter and code of now it would be another report.
        for now in (replace(rejected, status=Fate.COUNTED, code=None), replace(rejected, code="archived_meter")):
            redriven = replace(
                now, meter=meter, redriven_at_ms=NOW_MS, first_code=rejected.code, first_meter=rejected.meter
            )
            assert document(edge.get(know(edge, redriven)))["error_report"] == reports[start_ms, meter_id]
    unreported = replace(rejected, received_at_ms=RECEIVED_MS + 30_000)
    assert document(edge.get(know(edge, unreported)))["error_report"] is None


def rejections(start_ms: int, meter_id: str) -> Rejections:
    return Rejections(
        window_start_ms=start_ms,
        tenant=TEST_MODE,
        meter_id=meter_id,
        code=RejectionCode.ARCHIVED_METER if meter_id else RejectionCode.NO_METER,
        count=1,
        samples=(RejectedSample("evt-1", "calls", ""),),
    )


def test_a_receipt_of_the_other_mode_is_not_shown(edge: ControlEdge) -> None:
    edge.receipts.known[LIVE_MODE, "evt-1"] = COUNTED
    error_of(edge.get("/streamgauge/meter_events/evt-1"), 404)


def test_no_identifier_is_no_url_of_ours(edge: ControlEdge) -> None:
    assert "Unrecognized request URL" in error_of(edge.get("/streamgauge/meter_events/"), 404)["message"]
