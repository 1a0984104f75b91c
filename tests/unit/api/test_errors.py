import json
from typing import Any

import pytest

from streamgauge.api.errors import ErrorStyle, render, render_unexpected, render_unrouted, style_of
from streamgauge.domain import errors
from streamgauge.domain.errors import (
    BacklogFull,
    BodyTooLarge,
    Corrupt,
    DurabilityLost,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    OtherAccount,
    Overloaded,
    PermissionDenied,
    RateLimited,
    Rejected,
    SessionExpired,
    StartRefused,
    StorageFull,
    StreamgaugeError,
    Unauthenticated,
    Unavailable,
    UnknownCursor,
    UnsupportedMediaType,
)

from .contract import faults_of_schema

V1, V2 = ErrorStyle.V1, ErrorStyle.V2

# class, status, code in version 1 (None: left out), code in version 2
TABLE: list[tuple[type[StreamgaugeError], int, str | None, str]] = [
    (Rejected, 400, "internal_error", "internal_error"),
    (InvalidRequest, 400, None, "invalid_fields"),
    (UnknownCursor, 400, "resource_missing", "resource_missing"),
    (IdempotencyKeyReused, 400, None, "idempotency_error"),
    (Unauthenticated, 401, "invalid_credentials", "invalid_credentials"),
    (SessionExpired, 401, "billing_meter_event_session_expired", "billing_meter_event_session_expired"),
    (PermissionDenied, 403, "permission_denied", "permission_denied"),
    (OtherAccount, 403, "account_invalid", "account_invalid"),
    (NotFound, 404, "resource_missing", "not_found"),
    (BodyTooLarge, 413, "body_too_large", "body_too_large"),
    (UnsupportedMediaType, 415, "unsupported_media_type", "unsupported_media_type"),
    (StreamgaugeError, 500, "internal_error", "internal_error"),
    (Corrupt, 500, "corrupt", "corrupt"),
    (DurabilityLost, 500, "durability_lost", "durability_lost"),
    (StartRefused, 500, "start_refused", "start_refused"),
    (Overloaded, 503, "overloaded", "overloaded"),
    (BacklogFull, 503, "backlog_full", "backlog_full"),
    (StorageFull, 503, "storage_full", "storage_full"),
    (RateLimited, 429, "rate_limit", "account_rate_limit_exceeded"),
    (Unavailable, 503, "service_unavailable", "service_unavailable"),
]


def rendered(error: StreamgaugeError, style: ErrorStyle) -> tuple[int, dict[str, str], dict[str, Any]]:
    status, headers, body = render(error, style)
    return status, {name.decode(): value.decode() for name, value in headers}, json.loads(body)


@pytest.mark.parametrize(("kind", "status", "code", "_"), TABLE)
def test_every_class_has_its_status_and_code_in_version_1(
    kind: type[StreamgaugeError], status: int, code: str | None, _: str
) -> None:
    answered, _headers, body = rendered(kind("what happened"), V1)
    assert (answered, body["error"].get("code")) == (status, code)
    ours_or_theirs = "api_error" if status >= 500 else "invalid_request_error"
    assert body["error"]["type"] == ("idempotency_error" if kind is IdempotencyKeyReused else ours_or_theirs)
    assert faults_of_schema(body, "error") == []


@pytest.mark.parametrize(("kind", "status", "_", "code"), TABLE)
def test_every_class_has_its_status_and_code_in_version_2(
    kind: type[StreamgaugeError], status: int, _: str | None, code: str
) -> None:
    answered, _headers, body = rendered(kind("what happened"), V2)
    assert (answered, body["error"]["code"]) == (status, code)
    assert faults_of_schema(body, "v2.error") == []


def test_the_table_above_leaves_no_class_out() -> None:
    known = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, StreamgaugeError)}
    assert known == {kind for kind, *_ in TABLE}


@pytest.mark.parametrize("style", ErrorStyle)
@pytest.mark.parametrize("kind", [kind for kind, status, *_ in TABLE if status == 500])
def test_what_went_wrong_inside_is_not_told(kind: type[StreamgaugeError], style: ErrorStyle) -> None:
    assert b"/data/events.db" not in render(kind("cannot read /data/events.db at 41"), style)[2]


@pytest.mark.parametrize("style", ErrorStyle)
@pytest.mark.parametrize("kind", [kind for kind, status, *_ in TABLE if status == 503])
def test_what_passes_with_time_says_that_it_may_be_retried(kind: type[StreamgaugeError], style: ErrorStyle) -> None:
    _, headers, _ = rendered(kind("full"), style)
    assert (headers["retry-after"], headers["stripe-should-retry"]) == ("1", "true")


@pytest.mark.parametrize("style", ErrorStyle)
@pytest.mark.parametrize("kind", [kind for kind, status, *_ in TABLE if status not in (429, 503)])
def test_nothing_else_asks_for_a_retry(kind: type[StreamgaugeError], style: ErrorStyle) -> None:
    assert not {"retry-after", "stripe-should-retry"} & rendered(kind("no"), style)[1].keys()


@pytest.mark.parametrize("style", ErrorStyle)
def test_a_rate_limit_says_when_to_come_back_and_which_limit_it_was(style: ErrorStyle) -> None:
    status, headers, _ = rendered(RateLimited("too fast", reason="endpoint-rate", retry_after_seconds=7), style)
    assert (status, headers["retry-after"], headers["stripe-rate-limited-reason"]) == (429, "7", "endpoint-rate")
    assert "stripe-should-retry" not in headers


def test_a_rate_limit_has_the_type_that_clients_choose_its_class_by() -> None:
    assert rendered(RateLimited("too fast"), V2)[2]["error"]["type"] == "rate_limit"


@pytest.mark.parametrize("style", ErrorStyle)
@pytest.mark.parametrize("kind", [Unauthenticated, SessionExpired])
def test_a_401_names_the_scheme(kind: type[StreamgaugeError], style: ErrorStyle) -> None:
    assert rendered(kind("who?"), style)[1]["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("style", ErrorStyle)
def test_headers_are_complete_for_a_handler_without_a_framework(style: ErrorStyle) -> None:
    _, headers, body = render(NotFound("No such thing", param="id"), style)
    assert dict(headers) == {
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
        b"cache-control": b"no-store",
    }


def test_an_expired_session_has_every_member_that_clients_choose_its_class_by() -> None:
    _, _, body = rendered(SessionExpired("The temporary session token has expired."), V2)
    assert faults_of_schema(body, "v2.error.billing_meter_event_session_expired") == []
    assert body["error"]["type"] == "temporary_session_expired"


def test_a_reused_idempotency_key_has_the_type_that_clients_choose_its_class_by() -> None:
    _, _, body = rendered(IdempotencyKeyReused("Use another key."), V1)
    assert body == {"error": {"type": "idempotency_error", "message": "Use another key."}}
    _, _, body = rendered(IdempotencyKeyReused("Use another key."), V2)
    assert body["error"] == {"code": "idempotency_error", "type": "idempotency_error", "message": "Use another key."}


def test_an_object_that_is_missing_has_the_documented_shape_of_version_2() -> None:
    _, _, body = rendered(NotFound("No such event"), V2)
    assert faults_of_schema(body, "v2.error.not_found") == []


def test_version_2_names_the_path_of_a_fault_in_the_message_and_as_a_member() -> None:
    _, _, body = rendered(InvalidRequest("must be a string", param="events[3].payload.value"), V2)
    assert body == {
        "error": {
            "code": "invalid_fields",
            "message": "events[3].payload.value: must be a string",
            "param": "events[3].payload.value",
        }
    }


def test_a_message_that_begins_with_the_path_does_not_get_it_twice() -> None:
    _, _, body = rendered(InvalidRequest("events[3]: must be an object", param="events[3]"), V2)
    assert body["error"]["message"] == "events[3]: must be an object"


@pytest.mark.parametrize("style", ErrorStyle)
def test_a_reason_replaces_the_code(style: ErrorStyle) -> None:
    _, _, body = rendered(InvalidRequest("Missing required param: a.", param="a", reason="parameter_missing"), style)
    assert body["error"]["code"] == "parameter_missing"
    assert body["error"]["param"] == "a"


def test_version_1_leaves_out_what_is_null() -> None:
    _, _, body = rendered(InvalidRequest("The body is odd."), V1)
    assert body == {"error": {"type": "invalid_request_error", "message": "The body is odd."}}


@pytest.mark.parametrize("style", ErrorStyle)
def test_an_unexpected_failure_is_an_internal_error(style: ErrorStyle) -> None:
    status, _, body = render_unexpected(style)
    assert (status, json.loads(body)["error"]["code"]) == (500, "internal_error")


@pytest.mark.parametrize(
    ("path", "style"),
    [
        ("/v2/billing/meter_event_session", V2),
        ("/v2/nothing", V2),
        ("/v1/billing/meters", V1),
        ("/streamgauge/status", V1),
        ("/healthz", V1),
        ("/", V1),
        ("/v2", V1),
        ("/v21/x", V1),
    ],
)
def test_the_path_decides_the_envelope(path: str, style: ErrorStyle) -> None:
    assert style_of(path) is style


@pytest.mark.parametrize("style", ErrorStyle)
def test_a_very_long_url_is_not_repeated_whole(style: ErrorStyle) -> None:
    assert len(render_unrouted(404, "GET", "/v1/" + "x" * 60_000, style)[2]) < 1_000
