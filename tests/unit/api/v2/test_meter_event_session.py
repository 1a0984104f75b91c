import json
from datetime import datetime, timedelta

import pytest

from ..contract import faults_of_answer, faults_of_schema
from ..control_edge import ControlEdge, document, error_of

URL = "/v2/billing/meter_event_session"
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("body", [None, b"", b"{}", b" {\n} ", b"  \n"])
@pytest.mark.parametrize("headers", [{}, JSON, {"content-type": "application/x-www-form-urlencoded"}])
def test_a_session_is_opened_with_an_empty_body_or_object(
    edge: ControlEdge, body: bytes | None, headers: dict[str, str]
) -> None:
    session = document(edge.send("POST", URL, content=body, headers=headers))
    assert faults_of_answer(session, "post", URL) == []


def test_a_session_lives_for_fifteen_minutes_and_its_times_are_rfc_3339(edge: ControlEdge) -> None:
    session = document(edge.post(URL))
    created, expires = (datetime.fromisoformat(session[name]) for name in ("created", "expires_at"))
    assert expires - created == timedelta(minutes=15)
    for text in (session["created"], session["expires_at"]):
        assert len(text) == len("2024-06-01T12:00:00.000Z") and text.endswith("Z")


def test_the_token_is_one_that_the_sessions_know(edge: ControlEdge) -> None:
    session = document(edge.post(URL))
    principal, _ = edge.sessions.authenticate(session["authentication_token"])
    assert (principal.session_id, principal.key_id) == (session["id"], edge.key.id)


def test_livemode_is_a_json_boolean(edge: ControlEdge) -> None:
    assert document(edge.post(URL))["livemode"] is False
    assert document(edge.post(URL, secret=edge.live_secret))["livemode"] is True


def test_sessions_are_independent_of_each_other(edge: ControlEdge) -> None:
    one, other = document(edge.post(URL)), document(edge.post(URL))
    assert one["authentication_token"] != other["authentication_token"]
    edge.sessions.authenticate(one["authentication_token"])


@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b"1", b'"x"', b"{", b"{}{}", b"rubbish", b"\xff", b'{"\xff":1}', b'{"a":' + b"[" * 100_000],
)
def test_a_body_that_is_not_an_empty_object_is_refused(edge: ControlEdge, body: bytes) -> None:
    response = edge.send("POST", URL, content=body, headers=JSON)
    assert error_of(response, 400)["code"] == "invalid_fields"


@pytest.mark.parametrize("name", ["expires_in", "a b", "caf\u00e9", "line\nbreak", "0"])
def test_an_unknown_field_is_named(edge: ControlEdge, name: str) -> None:
    error = error_of(edge.send("POST", URL, content=json.dumps({name: 60}), headers=JSON), 400)
    assert (error["code"], error["param"]) == ("invalid_fields", name)
    assert error["message"].startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["", "x` - at `$.y", "`", "\0", "\ud83e\udea3" * 40])
def test_an_unknown_field_of_any_name_is_refused(edge: ControlEdge, name: str) -> None:
    error = error_of(edge.send("POST", URL, content=json.dumps({name: 60}), headers=JSON), 400)
    assert error["code"] == "invalid_fields" and "unknown field" in error["message"]


def test_a_very_long_unknown_field_is_not_repeated_whole(edge: ControlEdge) -> None:
    response = edge.send("POST", URL, content=json.dumps({"x" * 100_000: 1}), headers=JSON)
    error_of(response, 400)
    assert len(response.content) < 1_000


@pytest.mark.parametrize("query", ["?expires_in=60", "?expand[]=x", "?a"])
def test_parameters_in_the_url_are_refused(edge: ControlEdge, query: str) -> None:
    assert "in its URL" in error_of(edge.send("POST", URL + query, headers=JSON), 400)["message"]


def test_without_a_key_the_error_has_the_shape_of_version_2(edge: ControlEdge) -> None:
    response = edge.send("POST", URL, content=b"{", secret="")
    assert error_of(response, 401)["code"] == "invalid_credentials"
    assert faults_of_schema(document(response, 401), "v2.error") == []


def test_a_token_opens_no_session(edge: ControlEdge) -> None:
    token = document(edge.post(URL))["authentication_token"]
    assert "secret key" in error_of(edge.post(URL, secret=token), 401)["message"]
