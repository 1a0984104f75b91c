"""Does an answer have the shape that the contract's data give it? As much of JSON Schema as those data use."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[2] / "data" / "stripe-metering.openapi.json"
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


@cache
def openapi() -> Any:
    return json.loads(DATA.read_text())


def faults_of_answer(answer: Any, method: str, path: str) -> list[str]:
    """What is wrong with the body of a 200 to this method of the documented path."""
    described = openapi()["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    return faults(answer, described)


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
