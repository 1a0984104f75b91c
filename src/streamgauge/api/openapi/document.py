"""The document itself: one entry for each operation of the table, the stream, and the few plain routes."""

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from streamgauge import __version__
from streamgauge.api.errors import ErrorStyle, style_of
from streamgauge.api.forms import FORM_CONTENT_TYPE
from streamgauge.api.health import Health
from streamgauge.api.openapi import error_responses
from streamgauge.api.openapi.schemas import Place, Schema, Schemas, prose
from streamgauge.api.operation import REPLAYED_HEADER, Operation
from streamgauge.api.parameters import FormParameters, ObjectId, Parameters
from streamgauge.api.v2.json_body import JSON_CONTENT_TYPE, JsonBody
from streamgauge.api.v2.meter_event_stream import PATH as STREAM_PATH
from streamgauge.api.v2.query import QueryParameters
from streamgauge.api.v2.stream_body import BoundedRequest
from streamgauge.domain.meter_event import REQUEST_EVENTS_MAX
from streamgauge.domain.request_key import IDEMPOTENCY_KEY_LENGTH_MAX

Document: TypeAlias = dict[str, Any]
Operations: TypeAlias = Mapping[str, Mapping[str, Operation]]

VERSION = "3.1.0"
URL = "/openapi.json"
PAGE_URL = "/docs"
SERVER_TAG = "Server"
KEY_SECURITY: list[Schema] = [{"bearerAuth": []}, {"basicAuth": []}]
SESSION_SECURITY: list[Schema] = [{"sessionToken": []}]

# The prefix of our own additions to the format.
PERMISSION = "x-streamgauge-permission"
UNSUPPORTED = "x-streamgauge-unsupported"

_REQUEST_ID: Schema = {"$ref": "#/components/headers/Request-Id"}
_DESCRIPTION = """\
Streamgauge speaks Stripe's public billing-meter API. What it takes of it and what it does otherwise is said in \
docs/compatibility.md.

Pass a secret key as `Authorization: Bearer sk_...`, or as the user name of HTTP Basic with an empty password. \
Version 1 takes forms, with nested parameters as `name[inner]=value`; version 2 takes JSON.

This document is made of the code that serves the requests."""


def document(operations: Operations) -> Document:
    """The OpenAPI document of everything that is served when `operations` are."""
    schemas = Schemas()
    paths: dict[str, dict[str, Schema]] = {}
    for route, methods in operations.items():
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route)  # a router's converters are its own matter
        for method, operation in methods.items():
            paths.setdefault(path, {})[method.lower()] = _operation(schemas, method, path, operation)
    paths[STREAM_PATH] = {"post": _stream(schemas)}
    paths |= {path: {"get": each} for path, each in _plain_routes(schemas).items()}
    responses = error_responses.components(schemas, _REQUEST_ID)
    tags = {tag for item in paths.values() for each in item.values() for tag in each["tags"]}
    return {
        "openapi": VERSION,
        "info": {
            "title": "Streamgauge",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": KEY_SECURITY,
        "tags": [{"name": tag} for tag in sorted(tags - {SERVER_TAG})] + [{"name": SERVER_TAG}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": responses,
            "parameters": {"Idempotency-Key": _idempotency_key()},
            "headers": {"Request-Id": _request_id()},
            "securitySchemes": _security_schemes(),
        },
    }


def operation_id(method: str, path: str) -> str:
    """As the original API names its operations: `POST /v1/billing/meters/{id}` is `PostBillingMetersId`."""
    names = re.findall(r"[a-z0-9]+", path.removeprefix("/v1/"))
    return method.capitalize() + "".join(name.capitalize() for name in names)


def _operation(schemas: Schemas, method: str, path: str, operation: Operation) -> Schema:
    style = style_of(path)
    path_names = re.findall(r"\{(\w+)\}", path)
    parameters = [_path_parameter(schemas, name) for name in path_names]
    taken = schemas.of(operation.takes, Place.FORM if issubclass(operation.takes, FormParameters) else Place.JSON)
    body: Schema | None = None
    if method == "POST":
        body = _form(taken) if issubclass(operation.takes, FormParameters) else _json(taken)
        parameters.append({"$ref": "#/components/parameters/Idempotency-Key"})
    else:
        parameters += _query_parameters(taken)
    names_something = bool(path_names) or bool(set(taken["properties"]) - {"expand"})
    answers = [schemas.of(answer, Place.ANSWER) for answer in operation.answers]
    answered = _answered(answers[0] if len(answers) == 1 else {"anyOf": answers}, replays=method == "POST")
    described: Schema = {
        "operationId": operation_id(method, path),
        **_words(operation),
        "tags": [operation.needs.resource.replace("_", " ").capitalize()],
        "security": KEY_SECURITY,
        "parameters": parameters,
    }
    if body is not None:
        described["requestBody"] = body
    described["responses"] = {
        "200": answered,
        **error_responses.referred(
            style, error_responses.statuses(body=body is not None, names_something=names_something)
        ),
    }
    described[PERMISSION] = str(operation.needs)
    unsupported = getattr(operation.takes, "UNSUPPORTED", ())
    return {**described, UNSUPPORTED: sorted(unsupported)} if unsupported else described


def _words(operation: Operation) -> Schema:
    """The first sentence is the summary; what follows, and what the parameters' type says of them, describes."""
    summary, _, rest = prose(operation.perform.__doc__ or "").partition(". ")
    # The bases say what they are for the code, not for a caller.
    of_parameters = operation.takes.__doc__ if operation.takes not in (Parameters, QueryParameters, JsonBody) else None
    description = "\n\n".join(filter(None, (rest, prose(of_parameters or ""))))
    return {"summary": summary.removesuffix("."), **({"description": description} if description else {})}


def _path_parameter(schemas: Schemas, name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": schemas.of(ObjectId, Place.FORM)}


def _query_parameters(taken: Schema) -> list[Schema]:
    return [
        {
            "name": name,
            "in": "query",
            "required": name in taken.get("required", ()),
            **(_nested_style() if _is_nested(schema) else {"style": "form", "explode": True}),
            "schema": schema,
        }
        for name, schema in taken["properties"].items()
    ]


def _form(taken: Schema) -> Schema:
    encoding = {name: _nested_style() for name, schema in taken["properties"].items() if _is_nested(schema)}
    content = {"schema": taken, **({"encoding": encoding} if encoding else {})}
    return {"required": "required" in taken, "content": {FORM_CONTENT_TYPE: content}}


def _json(taken: Schema) -> Schema:
    return {"required": "required" in taken, "content": {JSON_CONTENT_TYPE: {"schema": taken}}}


def _nested_style() -> Schema:
    """How the original API declares `name[inner]=value`, and `name[0]=value` for lists."""
    return {"style": "deepObject", "explode": True}


def _is_nested(schema: Schema) -> bool:
    return any(each.get("type") in ("object", "array") for each in schema.get("anyOf", [schema]))


def _answered(schema: Schema, *, replays: bool) -> Schema:
    headers = {"Request-Id": _REQUEST_ID}
    if replays:
        for name, value in REPLAYED_HEADER.items():
            headers[name.title()] = {
                "description": "There when the answer is that to an earlier request with the same key.",
                "schema": {"type": "string", "enum": [value]},
            }
    return {"description": "Done.", "headers": headers, "content": {JSON_CONTENT_TYPE: {"schema": schema}}}


def _stream(schemas: Schemas) -> Schema:
    """The stream is no operation of the table: it has its own credential and answers from its own process."""
    # A token is for one account and this call alone, so nothing is forbidden; and any content type is taken for JSON.
    failures = sorted(set(error_responses.statuses(body=True, names_something=False)) - {403, 415})
    return {
        "operationId": operation_id("POST", STREAM_PATH),
        "summary": "Stream meter events",
        "description": (
            f"Up to {REQUEST_EVENTS_MAX} events in one call. The answer comes when they are durable; what becomes of "
            "each is decided afterwards, and `GET /streamgauge/meter_events/{identifier}` tells it. An event that is "
            "sent again with its identifier counts once, so a call may always be repeated.\n\n"
            "The credential is the `authentication_token` of a meter event session."
        ),
        "tags": ["Meter events"],
        "security": SESSION_SECURITY,
        "requestBody": {
            "required": True,
            "content": {JSON_CONTENT_TYPE: {"schema": schemas.of(BoundedRequest, Place.JSON)}},
        },
        "responses": {
            "200": _answered({"type": "object", "maxProperties": 0}, replays=False),
            **error_responses.referred(ErrorStyle.V2, failures),
        },
    }


def _plain_routes(schemas: Schemas) -> dict[str, Schema]:
    """What is served to anyone, because nothing of an account is in it."""
    health = schemas.of(Health, Place.ANSWER)

    def plain(path: str, summary: str, media_type: str, schema: Schema, **responses: Schema) -> Schema:
        away = error_responses.referred(ErrorStyle.V1, (500, 503))
        return {
            "operationId": operation_id("GET", path),
            "summary": summary,
            "tags": [SERVER_TAG],
            "security": [],
            "responses": {
                "200": {
                    "description": "Done.",
                    "headers": {"Request-Id": _REQUEST_ID},
                    "content": {media_type: {"schema": schema}},
                },
                **away,
                **responses,
            },
        }

    not_ready = {
        "description": "Events would not be accepted now; `reason` says why.",
        "headers": {"Request-Id": _REQUEST_ID},
        "content": {JSON_CONTENT_TYPE: {"schema": {"anyOf": [health, {"type": "object", "required": ["error"]}]}}},
    }
    return {
        "/healthz": plain("/healthz", "Tell whether the server is alive", JSON_CONTENT_TYPE, health),
        "/readyz": plain(
            "/readyz", "Tell whether events would be accepted now", JSON_CONTENT_TYPE, health, **{"503": not_ready}
        ),
        "/metrics": plain("/metrics", "Metrics for Prometheus", "text/plain", {"type": "string"}),
        URL: plain(URL, "This document", JSON_CONTENT_TYPE, {"type": "object"}),
        PAGE_URL: plain(PAGE_URL, "This document as a page", "text/html", {"type": "string"}),
    }


def _idempotency_key() -> Schema:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "A request that is sent again with its key is done once and answered alike.",
        "schema": {"type": "string", "maxLength": IDEMPOTENCY_KEY_LENGTH_MAX},
    }


def _request_id() -> Schema:
    return {
        "description": "Names this request in the server's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^req_[0-9A-Za-z]+$"},
    }


def _security_schemes() -> dict[str, Schema]:
    return {
        "bearerAuth": {"type": "http", "scheme": "bearer", "description": "A secret key, `sk_...`."},
        "basicAuth": {
            "type": "http",
            "scheme": "basic",
            "description": "A secret key as the user name, with an empty password.",
        },
        "sessionToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "The `authentication_token` of a meter event session, for 15 minutes.",
        },
    }
