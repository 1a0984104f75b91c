"""Schemas in words: the members of an object as rows, and the kind of each as a phrase."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from streamgauge.api.openapi.schemas import COMPONENTS, Schema

_PLURALS = {"string": "strings", "integer": "integers", "number": "numbers", "boolean": "booleans", "object": "objects"}


class Nesting(Enum):
    """How the name of a member inside another is written."""

    BRACKETS = "outer[inner]"
    DOTS = "outer.inner"


@dataclass(frozen=True, slots=True)
class Member:
    """`words` may hold `code` in backticks. `component` is the name of the object that it is, or is a list of."""

    name: str
    is_required: bool
    words: str
    component: str | None


def members(schema: Schema, nesting: Nesting, inside: str = "") -> Iterator[Member]:
    """The members of an object and of the objects in it, outer ones first."""
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        full = name if not inside else f"{inside}[{name}]" if nesting is Nesting.BRACKETS else f"{inside}.{name}"
        yield Member(full, name in required, words(each), component_of(each))
        for nested, at in _nested(each, full):
            yield from members(nested, nesting, at)


def component_of(schema: Schema) -> str | None:
    """The component that a schema refers to, itself or with its items."""
    reference = schema.get("$ref", schema.get("items", {}).get("$ref"))
    return None if reference is None else str(reference).removeprefix(COMPONENTS)


def words(schema: Schema) -> str:
    """`string, 1 to 100 characters`, `one of `day`, `hour`, or null`, `list of up to 100 objects`."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(COMPONENTS)
    if "anyOf" in schema:
        alternatives = [each for each in schema["anyOf"] if each != {"type": "null"}]
        phrases = ["empty" if each.get("enum") == [""] else words(each) for each in alternatives]
        if len(alternatives) < len(schema["anyOf"]):
            phrases.append("null")
        return "; or ".join(phrases)
    kinds = schema.get("type", "anything")
    kind, *others = kinds if isinstance(kinds, list) else [kinds]
    phrase = _phrase(kind, schema)
    return f"{phrase}; or null" if "null" in others else phrase


def _phrase(kind: str, schema: Schema) -> str:
    if "enum" in schema:
        values = ", ".join(f"`{str(value).lower()}`" for value in schema["enum"] if value is not None)
        return values if len(schema["enum"]) == 1 else f"one of {values}"
    if kind == "array":
        items = schema["items"]
        plural = str(items["$ref"]).removeprefix(COMPONENTS) if "$ref" in items else _PLURALS[items["type"]]
        size = _range(schema.get("minItems"), schema.get("maxItems"))
        inner = words(items).partition(", ")[2] if "$ref" not in items else ""
        return f"list of {size + ' ' if size else ''}{plural}" + (f", each {inner}" if inner else "")
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        size = _range(schema.get("minProperties"), schema.get("maxProperties"))
        keys = _range_of_text(schema.get("propertyNames", {}))
        values = words(schema["additionalProperties"])
        return f"map{f' of {size} keys' if size else ''}{f' of {keys}' if keys else ''} to {values}"
    phrases = [kind]
    if "format" in schema:
        phrases[0] += f" ({schema['format']})"
    numbers = _range(schema.get("minimum"), schema.get("maximum"))
    phrases += [each for each in (_range_of_text(schema), numbers) if each]
    if "pattern" in schema:
        phrases.append(f"of the form `{schema['pattern']}`")
    if "default" in schema:
        phrases.append(f"default `{schema['default']}`")
    return ", ".join(phrases)


def _range_of_text(schema: Schema) -> str:
    size = _range(schema.get("minLength"), schema.get("maxLength"))
    return f"{size} {'character' if size.endswith(' 1') else 'characters'}" if size else ""


def _range(lowest: int | None, highest: int | None) -> str:
    if highest is None:
        return "" if lowest is None else f"at least {lowest:,}"
    return f"up to {highest:,}" if lowest is None else f"{lowest:,} to {highest:,}"


def _nested(schema: Schema, at: str) -> Iterator[tuple[Schema, str]]:
    for each in schema.get("anyOf", [schema]):
        if "properties" in each:
            yield each, at
        elif "properties" in each.get("items", {}):
            yield each["items"], f"{at}[]"
