"""The error responses of the document, from the table of `api.errors` and what its errors render to."""

from collections.abc import Iterable
from typing import Any

from streamgauge.api.errors import INTERNAL_MESSAGE, STATUS, STATUS_INTERNAL, ErrorStyle, V1Error, V2Error, render
from streamgauge.api.openapi.schemas import Place, Schema, Schemas, prose
from streamgauge.domain.errors import StartRefused, StreamgaugeError

RESPONSES = "#/components/responses/"

# An operation may fail in every way that the table has, but for these: they need something to be wrong with.
NEEDS_A_BODY = frozenset({413, 415})
NEEDS_A_NAME = frozenset({404})

# They are on every answer, so a list of them would tell nothing.
_HEADERS_NOT_LISTED = frozenset({b"content-type", b"content-length", b"cache-control"})
_ENVELOPE_NAMES = {ErrorStyle.V1: "error", ErrorStyle.V2: "v2.error"}
_ENVELOPED: dict[ErrorStyle, type[V1Error | V2Error]] = {ErrorStyle.V1: V1Error, ErrorStyle.V2: V2Error}


def statuses(*, body: bool, names_something: bool) -> list[int]:
    """The statuses that an operation fails with: one with a body, one that names an object in URL or parameters."""
    possible = {status for kind, status in STATUS.items() if kind is not StartRefused}
    if not body:
        possible -= NEEDS_A_BODY
    if not names_something:
        possible -= NEEDS_A_NAME
    return sorted(possible)


def referred(style: ErrorStyle, of: Iterable[int]) -> dict[str, Schema]:
    """The part of an operation's `responses` that is about errors."""
    return {str(status): {"$ref": RESPONSES + _name(style, status)} for status in of}


def components(schemas: Schemas, request_id: Schema) -> dict[str, Schema]:
    """Every error response that `referred` refers to. `request_id` is the header that is on all of them."""
    return {
        _name(style, status): _response(style, status, schemas, request_id)
        for style in ErrorStyle
        for status in statuses(body=True, names_something=True)
    }


def _name(style: ErrorStyle, status: int) -> str:
    return f"{style.value}.{status}"


def _response(style: ErrorStyle, status: int, schemas: Schemas, request_id: Schema) -> Schema:
    kinds = _kinds(status)
    _, headers, _ = render(kinds[0](""), style)
    envelope = {
        "type": "object",
        "properties": {"error": schemas.of(_ENVELOPED[style], Place.ANSWER)},
        "required": ["error"],
    }
    shown: dict[str, Any] = {
        name.decode().title(): {"schema": {"type": "string", "examples": [value.decode()]}}
        for name, value in headers
        if name not in _HEADERS_NOT_LISTED
    }
    return {
        "description": INTERNAL_MESSAGE if status == STATUS_INTERNAL else " ".join(map(_sentence, kinds)),
        "headers": {"Request-Id": request_id, **shown},
        "content": {"application/json": {"schema": schemas.named(_ENVELOPE_NAMES[style], envelope)}},
    }


def _kinds(status: int) -> list[type[StreamgaugeError]]:
    """The classes of that status, without bases that are only there for others to derive from."""
    kinds = [kind for kind, its_status in STATUS.items() if its_status == status]
    return [kind for kind in kinds if not any(each is not kind and issubclass(each, kind) for each in kinds)] or kinds


def _sentence(kind: type[StreamgaugeError]) -> str:
    return prose(kind.__doc__ or "").partition("\n\n")[0]
