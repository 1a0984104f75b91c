import re

import pytest
from starlette.types import Receive, Scope, Send

from streamgauge.api.request_id import RequestIds, current_request_id

from .control_edge import ControlEdge

IDS = re.compile(r"req_[0-9A-Za-z]+")


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/v1/customers", 200),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/customers", 405),
        ("POST", "/v1/billing/meters", 400),
        ("POST", "/v2/billing/meter_event_session", 200),
    ],
)
def test_every_answer_carries_a_request_id(edge: ControlEdge, method: str, url: str, status: int) -> None:
    response = edge.send(method, url)
    assert response.status_code == status
    assert IDS.fullmatch(response.headers["request-id"])


def test_answers_to_those_without_a_key_carry_one_too(edge: ControlEdge) -> None:
    response = edge.get("/v1/customers", secret="")
    assert response.status_code == 401
    assert IDS.fullmatch(response.headers["request-id"])


def test_no_two_requests_share_an_id(edge: ControlEdge) -> None:
    assert edge.get("/healthz").headers["request-id"] != edge.get("/healthz").headers["request-id"]


def test_the_id_of_a_request_that_was_handed_on_is_kept(edge: ControlEdge) -> None:
    response = edge.get("/healthz", headers={"x-streamgauge-request-id": "req_handedon1"})
    assert response.headers.get_list("request-id") == ["req_handedon1"]


@pytest.mark.parametrize("odd", ["abc", "req_", "req_" + "x" * 100, "req_a b", "req_<script>"])
def test_an_id_that_none_of_ours_would_hand_on_is_not_taken(edge: ControlEdge, odd: str) -> None:
    assert edge.get("/healthz", headers={"x-streamgauge-request-id": odd}).headers["request-id"] != odd


@pytest.mark.parametrize("header", ["idempotency-key", "stripe-version"])
def test_the_headers_that_clients_read_back_are_echoed(edge: ControlEdge, header: str) -> None:
    assert edge.get("/v1/nothing", headers={header: "2026-10-28.endive"}).headers[header] == "2026-10-28.endive"
    assert edge.get("/healthz", headers={header: "x" * 255}).headers[header] == "x" * 255


@pytest.mark.parametrize("odd", [b"x" * 256, b"", "caf\u00e9".encode(), b"a\tb"])
def test_a_key_that_is_too_long_or_not_printable_is_not_echoed(edge: ControlEdge, odd: bytes) -> None:
    assert "idempotency-key" not in edge.get("/healthz", headers={"idempotency-key": odd}).headers


def test_handlers_and_their_threads_can_name_the_request(edge: ControlEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    monkeypatch.setattr(edge.status, "ready", lambda: seen.append(current_request_id()))
    response = edge.get("/readyz")
    assert seen == [response.headers["request-id"]]
    assert current_request_id() is None


def test_the_answer_of_an_app_that_set_the_header_itself_carries_one_only(edge: ControlEdge) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Request-Id", b"req_other")]})
        await send({"type": "http.response.body", "body": b"{}"})

    response = edge.get("/v1/x", app=RequestIds(app, make=lambda: "req_ours"))
    assert response.headers.get_list("request-id") == ["req_ours"]
