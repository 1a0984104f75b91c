"""Our OpenAPI document is valid, complete, and says what the contract's says.

Method: both documents are taken apart into facts about single members. What we do otherwise stands in a table below
with its reason, and a row that is no longer needed fails like one that is missing.
"""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any, cast

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from starlette.applications import Starlette
from starlette.routing import Route

from streamgauge.api.app import OPERATIONS, control_app
from streamgauge.api.errors import STATUS
from streamgauge.api.openapi.document import PERMISSION, UNSUPPORTED, document
from streamgauge.api.openapi.page import page
from streamgauge.api.v2.meter_event_stream import PATH as STREAM_PATH
from streamgauge.domain.errors import StartRefused
from tests.unit.api.contract import openapi
from tests.unit.api.openapi.facts import Document, Fact, Schema, facts, resolved

OURS: Document = json.loads(json.dumps(document(OPERATIONS)))
CONTRACT: Document = openapi()

# Parts of the contract that are not served yet. What is served of them is compared all the same.
LATER = ("/v1/billing/alerts", "/v1/billing/analytics/")
NOT_YET: frozenset[str] = frozenset()  # operation ids outside these parts

NO_INVOICES = "Streamgauge meters usage; it takes no payments, computes no taxes and sends no invoices"
# Refused by their names, so that nobody believes that they had an effect.
NOT_TAKEN = {
    "cash_balance": NO_INVOICES,
    "created": "customers are found by their id or address",
    "default_source": NO_INVOICES,
    "invoice_settings": NO_INVOICES,
    "next_invoice_sequence": NO_INVOICES,
    "payment_method": NO_INVOICES,
    "source": NO_INVOICES,
    "tax": NO_INVOICES,
    "tax_id_data": NO_INVOICES,
    "test_clock": "time is the server's",
    "validate": NO_INVOICES,
}
# The contract lets all of these be left out, in these of its objects.
NOT_WHOLE = ("customer", "v2.core.event")
NOT_SHOWN = {
    "cash_balance": NO_INVOICES,
    "changes": "a thin event refers to its object; what changed stands in the snapshot event",
    "customer_account": "a customer is nothing but a customer",
    "invoice_credit_balance": NO_INVOICES,
    "invoice_settings": NO_INVOICES,
    "next_invoice_sequence": NO_INVOICES,
    "shipping.carrier": "nothing is shipped",
    "shipping.tracking_number": "nothing is shipped",
    "sources": NO_INVOICES,
    "subscriptions": NO_INVOICES,
    "tax": NO_INVOICES,
    "tax_ids": NO_INVOICES,
}
# Members whose values are others than the contract lists, in an enum that it calls open.
OTHER_VALUES = {
    "status_details.disabled.reason": "ours is `failing`, and there are no destinations at Amazon and Azure",
    "usage_threshold.recurrence": "thresholds that recur are ours",
}
SHOWN_BY_US_ALONE = {
    "request.idempotency_key": "the official clients have a member for it",
}
TAKEN_BY_US_ALONE = {
    ("PostCustomers", "id"): "events name customers before anyone creates them",
    ("DeleteCustomersCustomer", "expand"): "taken by every operation of version 1",
}
REQUIRED_BY_US_ALONE = {
    ("PostBillingMeterEventAdjustments", "cancel.identifier"): "without it nothing says which event is meant",
    ("PostBillingAlerts", "usage_threshold"): "there are no other alerts",
    ("PostBillingAlerts", "usage_threshold.filters[].customer"): "without it a filter says nothing",
}


def operations(of: Document) -> dict[str, tuple[str, str, Schema]]:
    """Path, method and description by operation id."""
    return {
        operation["operationId"]: (path, method, operation)
        for path, item in of["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "delete")
    }


OUR_OPERATIONS, CONTRACT_OPERATIONS = operations(OURS), operations(CONTRACT)
IN_BOTH = sorted(OUR_OPERATIONS.keys() & CONTRACT_OPERATIONS.keys())


def taken(of: Document, operation: Schema) -> dict[str, Fact]:
    """What an operation takes in path, query and body, by name."""
    parameters = [resolved(of, each) for each in operation.get("parameters", ())]
    listed = [each for each in parameters if each["in"] != "header"]
    found = facts(
        of,
        {
            "properties": {each["name"]: each["schema"] for each in listed},
            "required": [each["name"] for each in listed if each["required"]],
        },
    )
    for content in operation.get("requestBody", {}).get("content", {}).values():
        found |= facts(of, content["schema"])
    return found


def answered(of: Document, operation: Schema) -> dict[str, Fact]:
    """What the members of a success are. The items of a list are `data[]`."""
    return facts(of, operation["responses"]["200"]["content"]["application/json"]["schema"])


def is_not_shown(at: str) -> bool:
    return not NOT_SHOWN.keys().isdisjoint(outer_names(of_item(at)))


def of_item(at: str) -> str:
    """What a member of an object is called also in a list of such objects."""
    return at.removeprefix("data[].")


def outer_names(at: str) -> list[str]:
    """`a.b[].c` is in `a`, `a.b` and `a.b[]`, and it is itself."""
    return [at[: match.start()] for match in re.finditer(r"\.|\[|\{|$", at)]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (node["$ref"],) if "$ref" in node else ()
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def schemas(node: Any) -> Iterator[Schema]:
    if isinstance(node, dict):
        yield from (node["schema"],) if "schema" in node else ()
        for each in node.values():
            yield from schemas(each)
    elif isinstance(node, list):
        for each in node:
            yield from schemas(each)


# The document itself


def test_the_document_is_valid_openapi() -> None:
    errors = [f"{list(each.instance_path)}: {each.message}" for each in OPENAPI_31_VALIDATOR.iter_errors(OURS)]
    assert not errors


def test_every_schema_in_it_is_valid() -> None:
    found = [*schemas(OURS["paths"]), *OURS["components"]["schemas"].values()]
    assert len(found) > 50
    for schema in found:
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def test_every_reference_leads_somewhere() -> None:
    for reference in references(OURS):
        assert resolved(OURS, {"$ref": reference})


def test_everything_that_is_served_is_in_it_and_nothing_else() -> None:
    app = control_app(cast(Any, None), cast(Any, None))  # building it calls no service
    assert isinstance(app, Starlette)
    served = {("POST", STREAM_PATH)}
    for route in app.routes:
        assert isinstance(route, Route)
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        served |= {(method, path) for method in route.methods or () if method != "HEAD"}
    assert {(method.upper(), path) for path, method, _ in OUR_OPERATIONS.values()} == served


@pytest.mark.parametrize("name", sorted(OUR_OPERATIONS))
def test_every_operation_says_what_it_does_what_it_needs_and_how_it_fails(name: str) -> None:
    path, method, operation = OUR_OPERATIONS[name]
    assert operation["summary"]
    assert not operation["summary"].endswith(".")
    assert {"500", "503"} <= operation["responses"].keys()
    if operation["security"]:
        assert {"400", "401"} <= operation["responses"].keys()
    if operation["security"] == OURS["security"]:
        assert re.fullmatch(r"[a-z_]+=(read|write)", operation[PERMISSION])
    keyed = {"$ref": "#/components/parameters/Idempotency-Key"} in operation.get("parameters", ())
    assert keyed == (method == "post" and path != STREAM_PATH)


def test_every_status_of_the_table_of_errors_is_described_in_both_envelopes() -> None:
    statuses = {status for kind, status in STATUS.items() if kind is not StartRefused}
    described = set(OURS["components"]["responses"])
    assert described == {f"{version}.{status}" for version in ("v1", "v2") for status in statuses}


def test_an_aggregated_value_is_a_number() -> None:
    summary = OURS["components"]["schemas"]["billing.meter_event_summary"]
    assert summary["properties"]["aggregated_value"] == {"type": "number"}


# Compared with the contract


def test_every_operation_of_the_contract_is_ours_or_comes_later() -> None:
    missing = {name for name, (path, _, _) in CONTRACT_OPERATIONS.items() if not path.startswith(LATER)}
    assert missing - OUR_OPERATIONS.keys() == NOT_YET


def test_an_operation_that_is_in_both_has_the_same_path_and_method() -> None:
    for name in IN_BOTH:
        assert OUR_OPERATIONS[name][:2] == CONTRACT_OPERATIONS[name][:2]


@pytest.mark.parametrize("name", IN_BOTH)
def test_every_documented_parameter_is_taken_as_documented_or_refused_by_its_name(name: str) -> None:
    ours, theirs = taken(OURS, OUR_OPERATIONS[name][2]), taken(CONTRACT, CONTRACT_OPERATIONS[name][2])
    refused = OUR_OPERATIONS[name][2].get(UNSUPPORTED, ())
    for at, documented in theirs.items():
        if outer_names(at)[0] in refused:
            continue
        assert at in ours, at
        assert documented.types <= ours[at].types, at
        assert documented.enum == ours[at].enum or of_item(at) in OTHER_VALUES, at
        assert documented.max_length in (None, ours[at].max_length), at
        assert ours[at].is_required is (documented.is_required or (name, at) in REQUIRED_BY_US_ALONE), at
        assert ours[at].is_nullable or not documented.is_nullable, at


@pytest.mark.parametrize("name", IN_BOTH)
def test_nothing_is_taken_that_is_not_documented(name: str) -> None:
    alone = taken(OURS, OUR_OPERATIONS[name][2]).keys() - taken(CONTRACT, CONTRACT_OPERATIONS[name][2]).keys()
    outermost = {outer_names(at)[0] for at in alone}
    assert {(name, at) for at in outermost} == {key for key in TAKEN_BY_US_ALONE if key[0] == name}


@pytest.mark.parametrize("name", IN_BOTH)
def test_every_documented_member_is_answered_as_documented(name: str) -> None:
    """We may promise more: what the contract may leave out or show as null may always be there."""
    ours, theirs = answered(OURS, OUR_OPERATIONS[name][2]), answered(CONTRACT, CONTRACT_OPERATIONS[name][2])
    always_null = {at for at, each in ours.items() if not each.types}
    for at, documented in theirs.items():
        if is_not_shown(at) or not always_null.isdisjoint(outer_names(at)[:-1]):
            continue
        assert at in ours, at
        assert ours[at].types <= documented.types, at
        assert ours[at].enum == documented.enum or at in always_null or of_item(at) in OTHER_VALUES, at
        assert ours[at].is_required or not documented.is_required, at
        assert not ours[at].is_nullable or documented.is_nullable or not documented.is_required, at


@pytest.mark.parametrize("name", IN_BOTH)
def test_nothing_is_answered_that_is_not_documented(name: str) -> None:
    ours, theirs = answered(OURS, OUR_OPERATIONS[name][2]), answered(CONTRACT, CONTRACT_OPERATIONS[name][2])
    assert {at for at in ours.keys() - theirs.keys() if of_item(at) not in SHOWN_BY_US_ALONE} == set()


def test_every_row_of_the_tables_is_needed() -> None:
    refused = {each for _, _, operation in OUR_OPERATIONS.values() for each in operation.get(UNSUPPORTED, ())}
    assert refused == NOT_TAKEN.keys()
    shown = {at for name in IN_BOTH for at in answered(OURS, OUR_OPERATIONS[name][2])}
    assert not any(is_not_shown(at) for at in shown)
    objects = [facts(CONTRACT, CONTRACT["components"]["schemas"][name]) for name in NOT_WHOLE]
    assert NOT_SHOWN.keys() <= {at for each in objects for at, fact in each.items() if not fact.is_required}
    answers = {of_item(at) for name in IN_BOTH for at in answered(CONTRACT, CONTRACT_OPERATIONS[name][2])}
    assert OTHER_VALUES.keys() <= answers
    assert SHOWN_BY_US_ALONE.keys().isdisjoint(answers)
    assert SHOWN_BY_US_ALONE.keys() <= {of_item(at) for at in shown}
    for name, at in REQUIRED_BY_US_ALONE:
        assert not taken(CONTRACT, CONTRACT_OPERATIONS[name][2])[at].is_required


# The page


def test_every_operation_object_and_error_has_a_place_on_the_page_and_every_link_leads_to_one() -> None:
    shown = page(OURS)
    places = re.findall(r' id="([^"]+)"', shown)
    assert len(places) == len(set(places))
    wanted = {*OUR_OPERATIONS, *(f"object-{name}" for name in OURS["components"]["schemas"])}
    assert wanted | {f"error-{name}" for name in OURS["components"]["responses"]} <= set(places)
    assert {link for link in re.findall(r'href="#([^"]+)"', shown)} <= set(places)


def test_every_member_that_is_taken_or_shown_stands_on_the_page() -> None:
    text = unescape(re.sub(r"<[^>]+>", "", page(OURS).replace("<wbr>", "")))
    for _, _, operation in OUR_OPERATIONS.values():
        for name in taken(OURS, operation):
            outer, *inner = (part for part in re.split(r"[.\[{]", re.sub(r"(\[\]|\{\})", "", name)) if part)
            assert outer in text
            assert not inner or f"{outer}[{inner[0]}" in text or f"{outer}.{inner[0]}" in text or "events[]." in text
