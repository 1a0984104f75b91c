"""The check that every answer in these tests goes through does notice what is wrong with one."""

import json
import re
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .contract import DIFFERENCES, faults_of_answer, faults_of_error, faults_of_response
from .control_edge import ControlEdge, document

METERS = "/v1/billing/meters"
SESSION = "/v2/billing/meter_event_session"


def faults(path: str, answer: Any, status: int = 200, method: str = "POST") -> list[str]:
    return faults_of_response(method, path, status, json.dumps(answer).encode())


def test_an_answer_that_is_not_as_documented_fails_the_test_that_sees_it(edge: ControlEdge) -> None:
    async def wrong(scope: Scope, receive: Receive, send: Send) -> None:
        await Response('{"id": 5}', media_type="application/json")(scope, receive, send)

    with pytest.raises(AssertionError, match="5 is no string"):
        edge.post(METERS, app=wrong)


def test_the_shape_is_that_of_the_method_and_of_the_path_whatever_its_ids_and_query(edge: ControlEdge) -> None:
    meter = edge.meter()
    one = f"{METERS}/{meter['id']}"
    assert faults(METERS, meter) == faults(one + "?expand[]=x", meter) == faults(one, meter, method="GET") == []
    assert faults(METERS, meter, method="GET") != []  # there it is a list of them
    assert faults(one + "/deactivate", meter | {"more": 1}) == ["$.more: not documented"]
    assert faults(one, {name: value for name, value in meter.items() if name != "status"}) == ["$.status: missing"]


def test_what_failed_is_held_against_the_envelope_of_its_version() -> None:
    v1, v2 = {"type": "api_error", "message": "x"}, {"code": "x", "message": "x"}
    assert faults("/v1/x", {"error": v1}, 500) == faults("/v2/x", {"error": v2}, 404) == []
    assert faults("/v2/x", {"error": v1}, 500) == ["$.error.code: missing"]
    assert faults("/v1/x", {"error": v1 | {"type": "odd"}}, 400) != []
    assert faults("/v1/x", {"message": "x"}, 400) != []
    assert faults(SESSION, {"error": v2 | {"code": "not_found", "odd": 1}}, 404) != []


SHOWN = [
    faults_of_error({"error": {"code": "x", "message": "x", "param": "x"}}, "v2"),
    faults_of_error({"error": {"code": "idempotency_error", "message": "x", "type": "x"}}, "v2"),
    faults_of_answer(
        {"id": "x", "object": "v2.core.event", "context": None, "created": "x", "livemode": False, "type": "x"},
        "get",
        "/v2/core/events/{id}",
    ),
    faults_of_answer(
        {
            "id": "x",
            "object": "event",
            "created": 1,
            "data": {"object": {}},
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": "x", "idempotency_key": None},
            "type": "x",
        },
        "get",
        "/v1/events/{id}",
    ),
    faults_of_error({"status": "not_ready", "reason": "x"}, "v1"),
    faults_of_answer(
        {
            "id": "x",
            "object": "billing.alert",
            "alert_type": "usage_threshold",
            "livemode": False,
            "title": "x",
            "usage_threshold": {"gte": 1, "meter": "x", "recurrence": "daily"},
        },
        "get",
        "/v1/billing/alerts/{id}",
    ),
]


def test_every_difference_that_is_listed_is_one() -> None:
    for difference, found in zip(DIFFERENCES, SHOWN, strict=True):
        assert any(re.fullmatch(difference.fault, fault) for fault in found), difference.reason


def test_a_session_is_as_documented(edge: ControlEdge) -> None:
    assert faults_of_answer(document(edge.post(SESSION)), "post", SESSION) == []
