"""Every error this service raises on purpose, sorted by what the caller should do.

StreamgaugeError
├── Rejected             the caller's fault, final; nothing was stored          4xx
│   ├── InvalidRequest       a field is missing, unknown or wrong; `param` names it     400
│   ├── (refusal.py)         a single event cannot be counted, or not be cancelled      400
│   ├── IdempotencyKeyReused an Idempotency-Key came with other parameters than first   400
│   ├── BodyTooLarge         the body is over its limit                                 413
│   ├── UnsupportedMediaType the body's content type is not the one this call takes     415
│   ├── Unauthenticated      no credential, an unknown one, or one of the wrong kind    401
│   ├── SessionExpired       a meter event session past its 15 minutes                  401
│   ├── PermissionDenied     a restricted key lacks the permission that is named        403
│   ├── OtherAccount         the request names an account that the key is not for       403
│   └── NotFound             no such object in this account and mode                    404
├── Overloaded           a bound is reached, passes with time; nothing was stored   503 + Retry-After
│   ├── BacklogFull          acknowledged but not yet applied events reached their bound
│   ├── StorageFull          the disk has no room
│   └── RateLimited          an account sends more in a second than its limit      429 + Retry-After
├── Unavailable          a part of the service is away, passes with time        503 + Retry-After
├── Corrupt              stored data is damaged: stop there, never guess        500
├── DurabilityLost       fsync or write failed: stop accepting, exit non-zero   500
└── StartRefused         the operator must act before the service can start     exit status 2

`code` is stable and documented in docs/errors.md; `api/errors.py` holds the one table from class to HTTP status.
"""

from typing import ClassVar


class StreamgaugeError(Exception):
    """Base of all. `message` is for people; branch on the class or on `code`."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Rejected(StreamgaugeError):
    """The caller's fault, and final: the same request will be refused again."""


class InvalidRequest(Rejected):
    """A field is missing, unknown or wrong.

    `param` is the path of the fault as the caller wrote it, such as `events[3].payload.value` or `payload[value]`.
    `reason` overrides the code on the wire where the contract names one (`parameter_unknown`, `parameter_missing`).
    """

    code = "invalid_fields"

    def __init__(self, message: str, *, param: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.reason = reason


class BodyTooLarge(Rejected):
    """The request body is over its limit."""

    code = "body_too_large"


class UnknownCursor(InvalidRequest):
    """A list is to begin at an object that is not there, or is of another kind. `param` is the cursor's name."""

    def __init__(self, object_id: str, *, param: str | None = None) -> None:
        super().__init__(f"No such object: '{object_id}'", param=param, reason="resource_missing")


class IdempotencyKeyReused(Rejected):
    """The key was used before with other parameters or for another call. What was done then stands."""

    code = "idempotency_error"


class UnsupportedMediaType(Rejected):
    """The body is not in the encoding that this call takes; the message names that one."""

    code = "unsupported_media_type"


class PermissionDenied(Rejected):
    """A restricted key was used for what it has no permission for; the message names the one that is missing."""

    code = "permission_denied"


class OtherAccount(Rejected):
    """The request names another account in a header. Keys are for one account; nothing was done."""

    code = "account_invalid"


class Unauthenticated(Rejected):
    """No credential, an unknown or revoked one, or one of the wrong kind; the message says which to use."""

    code = "invalid_credentials"


class SessionExpired(Rejected):
    """A meter event session past its lifetime: open a new one."""

    code = "billing_meter_event_session_expired"


class NotFound(Rejected):
    """No such object in this account and mode."""

    code = "resource_missing"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class Overloaded(StreamgaugeError):
    """A named bound is reached. Nothing of the request was stored; the same request may succeed later."""

    code = "overloaded"


class BacklogFull(Overloaded):
    """Acknowledged events that are not applied yet, or requests waiting for the log, reached their bound."""

    code = "backlog_full"


class StorageFull(Overloaded):
    """The disk has no room for another record."""

    code = "storage_full"


class RateLimited(Overloaded):
    """An account and mode sent more in a second than the operator allows.

    `reason` says which limit it was, in the words that clients know; after `retry_after_seconds` there is room again.
    """

    code = "rate_limit"

    def __init__(self, message: str, *, reason: str = "global-rate", retry_after_seconds: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


class Unavailable(StreamgaugeError):
    """A part of the service is away (starting, stopping, restarting); passes with time."""

    code = "service_unavailable"


class Corrupt(StreamgaugeError):
    """Stored data is damaged. The message names the place; whoever reads it stops there."""

    code = "corrupt"


class DurabilityLost(StreamgaugeError):
    """A write or fsync failed in a way that leaves the disk's state unknown. Never retried: the process ends."""

    code = "durability_lost"


class StartRefused(StreamgaugeError):
    """The service cannot start until the operator acts; the message says what to do."""

    code = "start_refused"
