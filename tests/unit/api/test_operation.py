import pytest

from streamgauge.api.operation import BODY_BYTES_MAX

from .control_edge import ControlEdge, document, error_of

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("url", ["/v1/customers", "/v2/billing/meter_event_session"])
def test_a_body_over_its_limit_is_413(edge: ControlEdge, url: str) -> None:
    assert error_of(edge.send("POST", url, content=b"a" * (BODY_BYTES_MAX + 1)), 413)["code"] == "body_too_large"


def test_a_body_that_does_not_declare_its_size_is_counted_as_it_comes(edge: ControlEdge) -> None:
    chunked = FORM | {"transfer-encoding": "chunked"}
    response = edge.send("POST", "/v1/customers", content=b"a" * (BODY_BYTES_MAX + 1), headers=chunked)
    assert error_of(response, 413)["code"] == "body_too_large"


def test_a_body_of_just_the_limit_is_read(edge: ControlEdge) -> None:
    name = b"name="
    response = edge.send("POST", "/v1/customers", content=name + b"a" * (BODY_BYTES_MAX - len(name)), headers=FORM)
    assert error_of(response, 400)["param"] == "name"


def test_json_on_version_1_is_told_that_a_form_is_expected(edge: ControlEdge) -> None:
    response = edge.send(
        "POST", "/v1/customers", content='{"name": "Ada"}', headers={"content-type": "application/json"}
    )
    assert "form-encoded" in error_of(response, 415)["message"]


def test_head_is_served_wherever_get_is(edge: ControlEdge) -> None:
    for url in ("/healthz", "/v1/customers", "/streamgauge/status"):
        assert edge.send("HEAD", url).status_code == 200


def test_parameters_of_a_post_may_also_stand_in_its_query(edge: ControlEdge) -> None:
    customer = document(edge.post("/v1/customers?email=ada@example.org", {"name": "Ada"}))
    assert (customer["name"], customer["email"]) == ("Ada", "ada@example.org")


@pytest.mark.parametrize(
    "url",
    ["/v1/customers/cus_%00", "/v1/billing/meters/mtr_%00", "/v1/billing/meters/mtr_%00/event_summaries"],
)
def test_an_id_that_no_database_takes_is_refused(edge: ControlEdge, url: str) -> None:
    params = {"customer": "c", "start_time": "0", "end_time": "60"} if "summaries" in url else None
    assert "NUL" in error_of(edge.get(url, params), 400)["message"]


def test_answers_are_json(edge: ControlEdge) -> None:
    assert edge.get("/v1/customers").headers["content-type"] == "application/json"
