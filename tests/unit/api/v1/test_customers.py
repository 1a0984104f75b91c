from typing import Any

import pytest

from streamgauge.api.v1.customers import CustomerListParameters, CustomerParameters, UpdateParameters

from ..contract import faults_of_answer, openapi
from ..control_edge import ControlEdge, document, error_of

URL = "/v1/customers"
ONE = "/v1/customers/{customer}"
EVERYTHING: dict[str, Any] = {
    "address": {"city": "Bern", "country": "CH", "line1": "Kramgasse 49"},
    "balance": "-250",
    "business_name": "Ada Ltd",
    "description": "first",
    "email": "ada@example.org",
    "expand": ["tax"],
    "individual_name": "Ada L.",
    "invoice_prefix": "ADA1",
    "metadata": {"plan": "pro", "0": "zero"},
    "name": "null",
    "phone": "+41 31",
    "preferred_locales": ["de", "en"],
    "shipping": {"address": {"city": "Bern"}, "name": "Ada"},
    "tax_exempt": "reverse",
}
NO_ADDRESS = dict.fromkeys(["city", "country", "line1", "line2", "postal_code", "state"])


def test_a_customer_needs_nothing(edge: ControlEdge) -> None:
    customer = document(edge.post(URL))
    assert faults_of_answer(customer, "post", URL) == []
    told = {name: value for name, value in customer.items() if value is not None}
    assert told == {
        "id": customer["id"],
        "object": "customer",
        "balance": 0,
        "created": customer["created"],
        "livemode": False,
        "metadata": {},
        "preferred_locales": [],
        "tax_exempt": "none",
    }


def test_everything_plain_that_is_told_of_a_customer_is_kept(edge: ControlEdge) -> None:
    customer = document(edge.post(URL, EVERYTHING))
    assert faults_of_answer(customer, "post", URL) == []
    assert document(edge.get(f"{URL}/{customer['id']}")) == customer
    shown = {name: customer[name] for name in EVERYTHING if name != "expand"}
    assert shown == {
        "address": NO_ADDRESS | EVERYTHING["address"],
        "balance": -250,
        "business_name": "Ada Ltd",
        "description": "first",
        "email": "ada@example.org",
        "individual_name": "Ada L.",
        "invoice_prefix": "ADA1",
        "metadata": {"plan": "pro", "0": "zero"},
        "name": "null",
        "phone": "+41 31",
        "preferred_locales": ["de", "en"],
        "shipping": {"address": NO_ADDRESS | {"city": "Bern"}, "name": "Ada", "phone": None},
        "tax_exempt": "reverse",
    }


def test_an_update_changes_what_is_given_and_unsets_what_is_empty(edge: ControlEdge) -> None:
    customer = document(edge.post(URL, EVERYTHING))
    change = {"name": "Ada", "email": "", "address": "", "shipping": "", "preferred_locales": "", "tax_exempt": ""}
    changed = document(edge.post(f"{URL}/{customer['id']}", change))
    assert faults_of_answer(changed, "post", ONE) == []
    unset: dict[str, Any] = {
        "email": None,
        "address": None,
        "shipping": None,
        "preferred_locales": [],
        "tax_exempt": "none",
    }
    assert changed == customer | unset | {"name": "Ada"}
    assert document(edge.post(f"{URL}/{customer['id']}")) == changed


def test_metadata_is_merged_key_by_key_and_emptied_as_a_whole(edge: ControlEdge) -> None:
    customer = edge.customer(metadata={"a": "1", "b": "2"})
    url = f"{URL}/{customer['id']}"
    assert document(edge.post(url, {"metadata": {"b": "", "c": "3"}}))["metadata"] == {"a": "1", "c": "3"}
    assert document(edge.post(url, {"name": "x"}))["metadata"] == {"a": "1", "c": "3"}
    assert document(edge.post(url, {"metadata": ""}))["metadata"] == {}


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"nmae": "x"}, "nmae", "parameter_unknown"),
        ({"default_source": "card_1"}, "default_source", "parameter_unknown"),
        ({"name": {"first": "x"}}, "name", None),
        ({"email": "x" * 513}, "email", None),
        ({"business_name": "x" * 151}, "business_name", None),
        ({"invoice_prefix": "abc"}, "invoice_prefix", None),
        ({"balance": "1.5"}, "balance", "parameter_invalid_integer"),
        ({"balance": ""}, "balance", "parameter_invalid_empty"),
        ({"tax_exempt": "maybe"}, "tax_exempt", None),
        ({"address": {"town": "x"}}, "address[town]", "parameter_unknown"),
        ({"shipping": {"name": "x"}}, "shipping[address]", "parameter_missing"),
        ({"metadata": {"k" * 41: "v"}}, f"metadata[{'k' * 41}]", None),
        ({"metadata": {"k": "v" * 501}}, "metadata[k]", None),
        ({"metadata": {f"k{at}": "v" for at in range(51)}}, "metadata", None),
        ({"metadata": "x"}, "metadata", None),
    ],
)
def test_a_customer_that_is_not_as_documented_is_refused_by_name(
    edge: ControlEdge, given: dict[str, Any], param: str, code: str | None
) -> None:
    error = error_of(edge.post(URL, given), 400)
    assert (error["type"], error["param"], error.get("code")) == ("invalid_request_error", param, code)


def test_every_documented_parameter_is_either_kept_or_said_to_be_unsupported(edge: ControlEdge) -> None:
    customer = edge.customer()
    for url, template, unsupported in (
        (URL, URL, CustomerParameters.UNSUPPORTED),
        (f"{URL}/{customer['id']}", ONE, UpdateParameters.UNSUPPORTED),
    ):
        form = openapi()["paths"][template]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
        for name in form["schema"]["properties"]:
            if name in unsupported:
                error = error_of(edge.post(url, {name: "x"}), 400)
                assert "does not support" in error["message"] and error["param"] == name
            else:
                assert edge.post(url, {name: EVERYTHING.get(name, "")}).status_code == 200, name


def test_a_list_of_customers_can_be_of_one_email(edge: ControlEdge) -> None:
    edge.customer(email="bob@example.org")
    ada = edge.customer(email="ada@example.org")
    page = document(edge.get(URL, {"email": "ada@example.org"}))
    assert page["data"] == [ada]
    assert faults_of_answer(page, "get", URL) == []


@pytest.mark.parametrize("name", sorted(CustomerListParameters.UNSUPPORTED))
def test_a_list_says_which_documented_filters_it_does_not_support(edge: ControlEdge, name: str) -> None:
    assert "does not support" in error_of(edge.get(URL, {name: "1"}), 400)["message"]


def test_a_deleted_customer_is_shown_as_deleted_and_nothing_else(edge: ControlEdge) -> None:
    url = f"{URL}/{edge.customer(name='Ada')['id']}"
    gone = document(edge.delete(url))
    assert gone == {"id": url.rsplit("/", 1)[1], "object": "customer", "deleted": True}
    assert faults_of_answer(gone, "delete", ONE) == []
    assert document(edge.get(url)) == gone
    assert faults_of_answer(gone, "get", ONE) == []
    assert document(edge.get(URL))["data"] == []


def test_a_deleted_customer_can_be_neither_changed_nor_deleted_again(edge: ControlEdge) -> None:
    url = f"{URL}/{edge.customer()['id']}"
    edge.delete(url)
    assert error_of(edge.delete(url), 404)["code"] == "resource_missing"
    assert error_of(edge.post(url, {"metadata": ""}), 404)["code"] == "resource_missing"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_customer_is_404(edge: ControlEdge, method: str) -> None:
    error = error_of(edge.send(method, f"{URL}/cus_none"), 404)
    assert (error["code"], error["param"]) == ("resource_missing", "customer")
