import logging

import pytest
from starlette.types import Receive, Scope, Send

from streamgauge.api.failures import FailuresAnswered
from streamgauge.api.request_id import RequestIds
from streamgauge.domain.errors import Corrupt, DurabilityLost

from .contract import faults_of_schema
from .control_edge import ControlEdge, document, error_of


@pytest.mark.parametrize("url", ["/v1/x", "/", "/v1/billing/meters/", "/streamgauge/x", "/documents"])
def test_an_unknown_url_is_404_in_the_shape_of_version_1(edge: ControlEdge, url: str) -> None:
    error = error_of(edge.get(url), 404)
    assert error["type"] == "invalid_request_error"
    assert error["message"].startswith(f"Unrecognized request URL (GET: {url}).")


def test_an_unknown_url_of_version_2_is_404_in_its_shape(edge: ControlEdge) -> None:
    response = edge.post("/v2/billing/nothing")
    assert error_of(response, 404)["code"] == "not_found"
    assert faults_of_schema(document(response, 404), "v2.error.not_found") == []


def test_a_method_that_a_url_does_not_have_is_405_and_told_which_it_has(edge: ControlEdge) -> None:
    response = edge.send("PUT", "/v1/customers/cus_1")
    assert error_of(response, 405)["message"].startswith("Unrecognized request URL (PUT: /v1/customers/cus_1).")
    assert response.headers["allow"] == "DELETE, GET, HEAD, POST"


def test_a_wrong_method_of_version_2_is_405_in_its_shape(edge: ControlEdge) -> None:
    response = edge.get("/v2/billing/meter_event_session")
    assert error_of(response, 405)["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"


def test_an_unexpected_failure_is_500_and_says_nothing_of_what_failed(
    edge: ControlEdge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.summaries.fails_with = RuntimeError("secret detail")
    response = edge.get(
        "/v1/billing/meters/mtr_1/event_summaries", {"customer": "c", "start_time": "0", "end_time": "60"}
    )
    assert error_of(response, 500)["type"] == "api_error"
    assert "secret detail" not in response.text
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"request_id={response.headers['request-id']}" in record.getMessage()


def test_damaged_data_is_logged_with_its_place_and_answered_without(
    edge: ControlEdge, caplog: pytest.LogCaptureFixture
) -> None:
    edge.summaries.fails_with = Corrupt("event log, offset 41: checksum")
    response = edge.get(
        "/v1/billing/meters/mtr_1/event_summaries", {"customer": "c", "start_time": "0", "end_time": "60"}
    )
    assert error_of(response, 500)["code"] == "corrupt"
    assert "41" not in error_of(response, 500)["message"]
    assert "offset 41" in caplog.text


def test_a_disk_that_failed_ends_the_process(edge: ControlEdge) -> None:
    lost = DurabilityLost("could not write control.db: disk I/O error")
    edge.summaries.fails_with = lost
    query = {"customer": "c", "start_time": "0", "end_time": "60"}
    assert error_of(edge.get("/v1/billing/meters/mtr_1/event_summaries", query), 500)["code"] == "durability_lost"
    assert edge.fatal == [lost]


def test_the_fault_of_a_caller_is_not_logged(edge: ControlEdge, caplog: pytest.LogCaptureFixture) -> None:
    error_of(edge.get("/v1/billing/meters/mtr_unknown"), 404)
    assert caplog.records == []


def test_a_failure_after_the_answer_began_does_not_begin_another(edge: ControlEdge) -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    def raising(error: BaseException) -> None:
        raise error

    with pytest.raises(AssertionError):  # the transport's own: the answer was never completed
        edge.get("/v1/x", app=RequestIds(FailuresAnswered(half, on_fatal=raising)))
