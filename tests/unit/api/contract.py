"""Does an answer have the shape that the contract's data give it? As much of JSON Schema as those data use."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

DATA = Path(__file__).parents[2] / "data" / "stripe-metering.openapi.json"
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


@dataclass(frozen=True)
class Difference:
    """Where answers leave the contract on purpose: on paths of this form, faults of this form; both match whole."""

    paths: str
    fault: str
    reason: str


DIFFERENCES: Final = (
    Difference(
        r"/v2/.*",
        r"\$\.error\.param: not documented",
        "callers need the path of the fault, and version 2 has no member for it; clients ignore what they do not know",
    ),
    Difference(
        r"/v2/.*",
        r"\$\.error\.type: not documented",  # by v2.error.idempotency_error; v2.error itself has it
        "the contract's idempotency error has no type, but the official clients choose an exception class by it",
    ),
    Difference(
        r"/v2/core/(events|event_destinations/.*/ping).*",
        r"\$\.(data\[\d+\]\.)?context: None is no string",
        "the official Python client fails to fetch the related object where the member is left out",
    ),
    Difference(
        r"/v1/events.*",
        r"\$\.(data\[\d+\]\.)?request\.idempotency_key: not documented",
        "the official clients have a member for it",
    ),
    Difference(
        r"/readyz", r"\$.*", "read by whoever routes to the server, not by clients of the API: a status and a reason"
    ),
    Difference(
        r"/v1/billing/alerts.*",
        r"\$(\.data\[\d+\])?\.usage_threshold\.recurrence: '(every|daily|monthly)' is not listed",
        "thresholds that recur are ours; clients take any text there, and only who asked for one is shown one",
    ),
)


@cache
def openapi() -> Any:
    return json.loads(DATA.read_text())


def faults_of_answer(answer: Any, method: str, path: str) -> list[str]:
    """What is wrong with the body of a 200 to this method of the documented path."""
    described = openapi()["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    return faults(answer, described)


def faults_of_response(method: str, path: str, status: int, body: bytes) -> list[str]:
    """What is wrong with the answer to a request, besides `DIFFERENCES`.

    A 200 of a documented path must have the shape that is documented for it, whatever failed the envelope of its
    version. `path` as it was sent, with its query.
    """
    path = path.partition("?")[0]
    if method == "HEAD":
        return []  # the server in front sends no body, whatever the application says
    if status >= 400:
        found = faults_of_error(json.loads(body), "v2" if path.startswith("/v2/") else "v1")
    elif (documented := _documented(method.lower(), path)) is not None:
        found = faults_of_answer(json.loads(body), method.lower(), documented)
    else:
        found = []
    return [fault for fault in found if not any(_is_meant(fault, path, each) for each in DIFFERENCES)]


def faults_of_error(answer: Any, version: str) -> list[str]:
    """What is wrong with the body of a failure. Version 2 documents the members of some codes each for itself."""
    found = faults_of_schema(answer, "error" if version == "v1" else "v2.error")
    if found or version == "v1":
        return found
    of_code = f"v2.error.{answer['error']['code']}"
    return faults_of_schema(answer, of_code) if of_code in openapi()["components"]["schemas"] else []


def _documented(method: str, path: str) -> str | None:
    """The contract's own text of that path, `/v1/billing/meters/{id}`, if the method is documented for it."""
    for template, methods in openapi()["paths"].items():
        if method in methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return str(template)
    return None


def _is_meant(fault: str, path: str, difference: Difference) -> bool:
    return bool(re.fullmatch(difference.paths, path) and re.fullmatch(difference.fault, fault, re.DOTALL))


def faults_of_schema(value: Any, name: str) -> list[str]:
    return faults(value, openapi()["components"]["schemas"][name])


def faults(value: Any, schema: dict[str, Any], at: str = "$") -> list[str]:
    if "$ref" in schema:
        return faults(value, openapi()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], at)
    if value is None and schema.get("nullable"):
        return []
    if "anyOf" in schema:
        tried = [faults(value, each, at) for each in schema["anyOf"]]
        return [] if [] in tried else min(tried, key=len)
    kind = schema["type"]
    if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        return [f"{at}: {value!r} is no {kind}"]
    found = []
    if value not in schema.get("enum", [value]) or value not in schema.get("x-open-enum", [value]):
        found.append(f"{at}: {value!r} is not listed")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")
    if isinstance(value, list):
        found += [f for i, each in enumerate(value) for f in faults(each, schema["items"], f"{at}[{i}]")]
    if isinstance(value, dict):
        members = schema.get("properties", {})
        found += [f"{at}.{name}: missing" for name in schema.get("required", []) if name not in value]
        for name, each in value.items():
            other = schema.get("additionalProperties")
            if name in members or isinstance(other, dict):
                found += faults(each, members.get(name, other), f"{at}.{name}")
            elif members:
                found.append(f"{at}.{name}: not documented")
    return found
