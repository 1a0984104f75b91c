"""Bodies in another encoding than the one that a call takes are refused as such, not misread."""

import pytest

from .control_edge import ControlEdge, document, error_of

FORM = "application/x-www-form-urlencoded"
MULTIPART = b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nAda\r\n--x--\r\n'
SESSION = "/v2/billing/meter_event_session"


@pytest.mark.parametrize("content_type", [FORM, FORM + "; charset=utf-8", FORM.upper(), f" {FORM} ; a=b", None, ""])
def test_version_1_takes_forms_under_their_type_or_none(edge: ControlEdge, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = edge.send("POST", "/v1/customers", content=b"name=Ada", headers=headers)
    assert document(response)["name"] == "Ada"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"name": "Ada"}', "application/json"),
        (b'{"name": "Ada"}', FORM),
        (b'{"name": "Ada"}', None),
        (b' ["name"]', FORM),
        (b"name=Ada", "application/json"),
        (b"name=Ada", "text/plain"),
        (b"name=Ada", "rubbish"),
        (MULTIPART, "multipart/form-data; boundary=x"),
    ],
)
def test_version_1_refuses_any_other_body_and_does_nothing(
    edge: ControlEdge, body: bytes, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    error = error_of(edge.send("POST", "/v1/customers", content=body, headers=headers), 415)
    assert (error["type"], error["code"]) == ("invalid_request_error", "unsupported_media_type")
    assert FORM in error["message"]
    assert document(edge.get("/v1/customers"))["data"] == []


def test_version_1_does_not_mind_the_type_of_no_body(edge: ControlEdge) -> None:
    for method, url in (("GET", "/v1/customers"), ("POST", "/v1/customers"), ("POST", "/v1/customers?name=Ada")):
        document(edge.send(method, url, headers={"content-type": "application/json"}))


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON", None]
)
def test_version_2_takes_json_under_its_type_or_none(edge: ControlEdge, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    document(edge.send("POST", SESSION, content=b"{}", headers=headers))
    # Taken for what it is: the fault is in the member, not in the type.
    error = error_of(edge.send("POST", SESSION, content=b'{"a": 1}', headers=headers), 400)
    assert (error["code"], error["param"]) == ("invalid_fields", "a")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=1", FORM),
        (b'{"a": 1}', FORM),
        (b'{"a": 1}', "text/plain; charset=utf-8"),
        (b'{"a": 1}', "application/jsonp"),
        (MULTIPART, "multipart/form-data; boundary=x"),
    ],
)
def test_version_2_refuses_any_other_body(edge: ControlEdge, body: bytes, content_type: str) -> None:
    error = error_of(edge.send("POST", SESSION, content=body, headers={"content-type": content_type}), 415)
    assert error["code"] == "unsupported_media_type" and "type" not in error
    assert "application/json" in error["message"]


def test_a_very_long_type_is_not_repeated_whole(edge: ControlEdge) -> None:
    response = edge.send("POST", SESSION, content=b"a", headers={"content-type": "x" * 10_000})
    assert len(error_of(response, 415)["message"]) < 300
