import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.api.app import OPERATIONS
from streamgauge.api.credentials import secret_of
from streamgauge.domain.errors import Unauthenticated

from .control_edge import ACCOUNT, TEST_MODE, ControlEdge, document, error_of


def basic(pair: str) -> str:
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer sk_test_123456789",
        "bearer sk_test_123456789",
        "  Bearer   sk_test_123456789  ",
        basic("sk_test_123456789:"),
        basic("sk_test_123456789"),
        basic("sk_test_123456789:any:password"),
        basic("sk_test_123456789:").replace("Basic", "basic"),
    ],
)
def test_a_key_is_read_from_bearer_and_from_the_user_name_of_basic(authorization: str) -> None:
    assert secret_of(authorization) == "sk_test_123456789"


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "   ",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic !!!!",
        "Basic c2t",
        "Basic " + base64.b64encode(b"\xff\xfe:").decode(),
        basic(":password"),
        basic(""),
        "Digest username=sk_test_123456789",
        "sk_test_123456789",
    ],
)
def test_anything_else_is_refused_and_told_how_to_pass_a_key(authorization: str | None) -> None:
    with pytest.raises(Unauthenticated, match="Authorization: Bearer sk_") as refused:
        secret_of(authorization)
    assert "sk_test_123456789" not in refused.value.message


@given(st.text())
def test_no_header_is_more_than_refused(authorization: str) -> None:
    with contextlib.suppress(Unauthenticated):
        assert secret_of(authorization)


@pytest.mark.parametrize(("url", "method"), [(url, method) for url, each in OPERATIONS.items() for method in each])
def test_no_operation_is_served_without_a_credential(edge: ControlEdge, url: str, method: str) -> None:
    response = edge.send(method, url.replace("{", "").replace("}", ""), content="{broken", secret="")
    error = error_of(response, 401)
    assert error["code"] == "invalid_credentials"
    assert "No API key" in error["message"]
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("secret", ["sk_test_unknownunknown", "rubbish", "mest_test_x"])
def test_an_unknown_key_is_refused(edge: ControlEdge, secret: str) -> None:
    assert error_of(edge.get("/v1/customers", secret=secret), 401)["code"] == "invalid_credentials"


def test_a_session_token_is_refused_and_told_what_to_use(edge: ControlEdge) -> None:
    token = document(edge.post("/v2/billing/meter_event_session"))["authentication_token"]
    assert "secret key" in error_of(edge.get("/v1/customers", secret=token), 401)["message"]


def test_a_revoked_key_is_refused(edge: ControlEdge) -> None:
    edge.keys.revoke(edge.key.id)
    assert error_of(edge.get("/v1/customers"), 401)["code"] == "invalid_credentials"


def test_a_key_as_the_user_name_of_basic_is_served(edge: ControlEdge) -> None:
    edge.customer(name="Ada")
    response = edge.get("/v1/customers", secret="", headers={"authorization": basic(edge.secret + ":")})
    assert len(document(response)["data"]) == 1


def test_a_key_of_the_other_mode_sees_nothing_of_this_one(edge: ControlEdge) -> None:
    meter = edge.meter()
    assert not TEST_MODE.livemode
    assert document(edge.get("/v1/billing/meters", secret=edge.live_secret))["data"] == []
    error_of(edge.get(f"/v1/billing/meters/{meter['id']}", secret=edge.live_secret), 404)


def test_answers_to_a_key_are_not_to_be_stored(edge: ControlEdge) -> None:
    for response in (edge.get("/v1/customers"), edge.get("/v1/customers/cus_none"), edge.get("/v1/x", secret="")):
        assert response.headers["cache-control"] == "no-store"


# Headers with which the original API acts for other accounts


@pytest.mark.parametrize("header", ["Stripe-Account", "stripe-account", "Stripe-Context", "STRIPE-CONTEXT"])
@pytest.mark.parametrize("named", ["acct_2", "acct_1/acct_2", "acct_12", "ACCT_1", "workspace/acct_1"])
def test_a_request_that_names_another_account_is_refused_and_does_nothing(
    edge: ControlEdge, header: str, named: str
) -> None:
    error = error_of(edge.post("/v1/customers", {"name": "Ada"}, headers={header: named}), 403)
    assert (error["type"], error["code"]) == ("invalid_request_error", "account_invalid")
    assert named in error["message"] and ACCOUNT.id in error["message"] and header.title() in error["message"]
    assert document(edge.get("/v1/customers"))["data"] == []


@pytest.mark.parametrize("header", ["Stripe-Account", "Stripe-Context"])
def test_version_2_refuses_another_account_in_its_shape(edge: ControlEdge, header: str) -> None:
    error = error_of(edge.send("POST", "/v2/billing/meter_event_session", headers={header: "acct_2"}), 403)
    assert error["code"] == "account_invalid" and "type" not in error


@pytest.mark.parametrize(("url", "method"), [(url, method) for url, each in OPERATIONS.items() for method in each])
def test_no_operation_is_served_for_another_account(edge: ControlEdge, url: str, method: str) -> None:
    response = edge.send(method, url.replace("{", "").replace("}", ""), headers={"stripe-account": "acct_2"})
    assert error_of(response, 403)["code"] == "account_invalid"


@pytest.mark.parametrize("named", [ACCOUNT.id, ""])
def test_naming_the_keys_own_account_or_none_is_served(edge: ControlEdge, named: str) -> None:
    both = {"stripe-account": named, "stripe-context": named}
    document(edge.post("/v1/customers", {"name": "Ada"}, headers=both))
    document(edge.send("POST", "/v2/billing/meter_event_session", headers=both))


def test_an_account_is_only_told_to_whoever_has_a_key_of_it(edge: ControlEdge) -> None:
    response = edge.get("/v1/customers", headers={"stripe-account": "acct_2"}, secret="sk_test_unknownunknown")
    assert error_of(response, 401) and ACCOUNT.id not in response.text
