"""What a restricted key may do: every operation needs one permission, and names it to whoever lacks it."""

import pytest

from streamgauge.api.app import OPERATIONS
from streamgauge.api.operation import Operation
from streamgauge.domain.permission import Access, Permissions, Resource

from .control_edge import LIVE_MODE, TEST_MODE, ControlEdge, document, error_of

EVERY = [(url, method, operation) for url, each in OPERATIONS.items() for method, operation in each.items()]
every_operation = pytest.mark.parametrize(("url", "method", "operation"), EVERY)


def status_with(edge: ControlEdge, url: str, method: str, permissions: Permissions) -> int:
    """Of a call with a new key of these permissions; every 403 must be for a missing one."""
    _, secret = edge.keys.create(TEST_MODE, permissions)
    response = edge.send(method, url.replace("{", "").replace("}", ""), secret=secret)
    if response.status_code == 403:
        needs = OPERATIONS[url][method].needs
        error = error_of(response, 403)
        assert error["code"] == "permission_denied"
        assert error.get("type") == (None if url.startswith("/v2/") else "invalid_request_error")
        assert f"{needs.resource.value}={needs.access.value}" in error["message"]
        assert secret not in response.text and f"rk_test_****{secret[-4:]}" in error["message"]
    return response.status_code


@every_operation
def test_a_key_of_nothing_may_do_nothing(edge: ControlEdge, url: str, method: str, operation: Operation) -> None:
    assert status_with(edge, url, method, {}) == 403


@every_operation
def test_everything_but_the_permission_that_an_operation_needs_is_not_enough(
    edge: ControlEdge, url: str, method: str, operation: Operation
) -> None:
    others = {resource: Access.WRITE for resource in Resource if resource is not operation.needs.resource}
    assert status_with(edge, url, method, others) == 403
    if operation.needs.access is Access.WRITE:
        assert status_with(edge, url, method, others | {operation.needs.resource: Access.READ}) == 403


@every_operation
def test_the_permission_that_an_operation_needs_is_enough_and_write_includes_read(
    edge: ControlEdge, url: str, method: str, operation: Operation
) -> None:
    for access in (operation.needs.access, Access.WRITE):
        assert status_with(edge, url, method, {operation.needs.resource: access}) in (200, 400, 404)


@every_operation
def test_reading_needs_to_read_and_changing_to_write(url: str, method: str, operation: Operation) -> None:
    assert operation.needs.access is (Access.READ if method == "GET" else Access.WRITE)


def test_a_permission_is_checked_before_anything_of_the_request_is_looked_at(edge: ControlEdge) -> None:
    _, secret = edge.keys.create(TEST_MODE, {})
    response = edge.send("POST", "/v1/customers?a[=1", content=b"\xff{", headers={"stripe-account": "x"}, secret=secret)
    assert error_of(response, 403)["code"] == "permission_denied"


def test_what_a_restricted_key_is_refused_has_no_effect(edge: ControlEdge) -> None:
    _, secret = edge.keys.create(TEST_MODE, {Resource.CUSTOMERS: Access.READ})
    error_of(edge.post("/v1/customers", {"name": "Ada"}, secret=secret), 403)
    assert document(edge.get("/v1/customers", secret=secret))["data"] == []


def test_a_restricted_key_is_for_its_mode_alone(edge: ControlEdge) -> None:
    meter = edge.meter()
    _, secret = edge.keys.create(LIVE_MODE, {Resource.METERS: Access.READ})
    assert document(edge.get("/v1/billing/meters", secret=secret))["data"] == []
    error_of(edge.get(f"/v1/billing/meters/{meter['id']}", secret=secret), 404)


def test_a_restricted_key_opens_a_session_that_dies_with_it(edge: ControlEdge) -> None:
    key, secret = edge.keys.create(TEST_MODE, {Resource.SESSIONS: Access.WRITE})
    token = document(edge.send("POST", "/v2/billing/meter_event_session", secret=secret))["authentication_token"]
    principal, _ = edge.sessions.authenticate(token)
    assert (principal.tenant, principal.key_id) == (TEST_MODE, key.id)
    edge.keys.revoke(key.id)
    assert error_of(edge.send("POST", "/v2/billing/meter_event_session", secret=secret), 401)


def test_a_restricted_key_that_does_not_exist_is_401_not_403(edge: ControlEdge) -> None:
    assert error_of(edge.get("/v1/customers", secret="rk_test_" + "x" * 32), 401)["code"] == "invalid_credentials"
