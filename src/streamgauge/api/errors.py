"""Errors as answers: the one table from class to HTTP status, and the two envelopes that clients know."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from streamgauge.domain.errors import (
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
    StreamgaugeError,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)

# A class that is not listed takes the status of its nearest base.
STATUS: Mapping[type[StreamgaugeError], int] = MappingProxyType(
    {
        Rejected: 400,
        InvalidRequest: 400,
        IdempotencyKeyReused: 400,
        Unauthenticated: 401,
        SessionExpired: 401,
        PermissionDenied: 403,
        OtherAccount: 403,
        NotFound: 404,
        BodyTooLarge: 413,
        UnsupportedMediaType: 415,
        StreamgaugeError: 500,
        Corrupt: 500,
        DurabilityLost: 500,
        StartRefused: 500,
        RateLimited: 429,
        Overloaded: 503,
        Unavailable: 503,
    }
)

STATUS_INTERNAL = 500

DOCS_URL = "docs/errors.md"  # in this repository: the contract asks for a text, and we have no address to give
INTERNAL_MESSAGE = "An error on our side. Its details are in the server's log under this answer's Request-Id."
RETRY_AFTER_SECONDS = 1
RATE_LIMIT_CODE_V2 = "account_rate_limit_exceeded"  # where version 1 says `rate_limit`
URL_SHOWN_MAX = 200  # characters of an unknown URL that its 404 repeats

# By these the official clients choose an exception class; all other errors of version 2 carry no type.
_V2_TYPE: Mapping[type[StreamgaugeError], str] = MappingProxyType(
    {
        SessionExpired: "temporary_session_expired",
        IdempotencyKeyReused: "idempotency_error",
        RateLimited: "rate_limit",
    }
)

Headers = list[tuple[bytes, bytes]]
Rendered = tuple[int, Headers, bytes]


class ErrorStyle(Enum):
    """The shape of an error: v1 has types and optional codes, v2 has codes and optional types."""

    V1 = "v1"
    V2 = "v2"


class V1Error(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`type` tells whose fault it is; `code` is there where a program may want to branch on it."""

    type: str
    code: str | None = None
    message: str
    param: str | None = None
    doc_url: str | None = None


class V2Error(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`type` is only there for the few types by which the official clients choose an exception class."""

    code: str
    message: str
    type: str | None = None
    param: str | None = None
    doc_url: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    error: V1Error | V2Error


def style_of(path: str) -> ErrorStyle:
    """The envelope that callers of this path expect; whatever is not version 2 answers in the shape of version 1."""
    return ErrorStyle.V2 if path.startswith("/v2/") else ErrorStyle.V1


def render(error: StreamgaugeError, style: ErrorStyle) -> Rendered:
    """Status, complete headers and body of the answer to a request that failed with `error`."""
    status = _status(error)
    return _rendered(status, _headers_of(error, status), _v1(error, status) if style is ErrorStyle.V1 else _v2(error))


def render_unexpected(style: ErrorStyle) -> Rendered:
    """The answer to a mistake of ours: it says nothing of what went wrong inside."""
    return render(StreamgaugeError(INTERNAL_MESSAGE), style)


def render_unrouted(status: int, method: str, path: str, style: ErrorStyle, *, allow: str | None = None) -> Rendered:
    """The answer where no operation stands: 404, or 405 with the methods that the URL does have in `allow`."""
    message = f"Unrecognized request URL ({method}: {path[:URL_SHOWN_MAX]})."
    message += f" This URL takes {allow}." if allow else " docs/compatibility.md lists what Streamgauge serves."
    headers = [(b"allow", allow.encode())] if allow else []
    if style is ErrorStyle.V2:
        code = "not_found" if status == 404 else "method_not_allowed"
        return _rendered(status, headers, V2Error(code=code, message=message))
    return _rendered(status, headers, V1Error(type="invalid_request_error", message=message))


def _status(error: StreamgaugeError) -> int:
    return next(STATUS[base] for base in type(error).__mro__ if base in STATUS)


def _headers_of(error: StreamgaugeError, status: int) -> Headers:
    headers: Headers = []
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, RateLimited):
        # No Stripe-Should-Retry: the official clients would come back sooner than there is room.
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
        headers.append((b"stripe-rate-limited-reason", error.reason.encode()))
    if status == 503:
        # The official clients look at their own header only; Retry-After is for everyone else.
        headers.append((b"retry-after", str(RETRY_AFTER_SECONDS).encode()))
        headers.append((b"stripe-should-retry", b"true"))
    return headers


def _message(error: StreamgaugeError) -> str:
    """Errors of ours name files and offsets, which are for the log and not for the caller."""
    return INTERNAL_MESSAGE if _status(error) == STATUS_INTERNAL else error.message


def _v1(error: StreamgaugeError, status: int) -> V1Error:
    kind = "api_error" if status >= 500 else "invalid_request_error"
    code: str | None = error.code
    param = None
    if isinstance(error, IdempotencyKeyReused):
        return V1Error(type="idempotency_error", message=error.message)
    if isinstance(error, InvalidRequest):
        # Version 1 names a code for few faults of parameters; the others have none there, not `invalid_fields`.
        code, param = error.reason, error.param
    elif isinstance(error, NotFound):
        param = error.param
    return V1Error(type=kind, code=code, message=_message(error), param=param, doc_url=_doc_url(error))


def _v2(error: StreamgaugeError) -> V2Error:
    if isinstance(error, InvalidRequest):
        # A reason has words of its own; the others are a reader's, which say what is wrong but not where.
        message = error.message if error.reason else _with_path(error)
        return V2Error(code=error.reason or error.code, message=message, param=error.param)
    if isinstance(error, NotFound):
        return V2Error(code="not_found", message=error.message, param=error.param)
    code = RATE_LIMIT_CODE_V2 if isinstance(error, RateLimited) else error.code
    return V2Error(code=code, message=_message(error), type=_V2_TYPE.get(type(error)), doc_url=_doc_url(error))


def _with_path(error: InvalidRequest) -> str:
    """Version 2 has no documented member for the path, and clients print only the message: so it is in both."""
    if error.param is None or error.message.startswith(error.param):
        return error.message
    return f"{error.param}: {error.message}"


def _doc_url(error: StreamgaugeError) -> str | None:
    # The contract requires it of this one error.
    return f"{DOCS_URL}#{error.code}" if isinstance(error, SessionExpired) else None


def _rendered(status: int, headers: Headers, error: V1Error | V2Error) -> Rendered:
    body = msgspec.json.encode(Envelope(error))
    always = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    return status, always + headers, body
