"""What a schema says of each member, as far as two schemas of one thing must agree. Takes OpenAPI 3.0 and 3.1."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Schema = dict[str, Any]


@dataclass(frozen=True)
class Fact:
    """`types` is without null and without the empty text of forms, which `is_nullable` stands for."""

    types: frozenset[str]
    is_nullable: bool
    is_required: bool
    enum: frozenset[Any]
    max_length: int | None


def resolved(document: Document, node: Any) -> Any:
    """A part of the document, or what it refers to."""
    while "$ref" in node:
        path = node["$ref"].removeprefix("#/").split("/")
        node = document
        for name in path:
            node = node[name]
    return node


def facts(document: Document, schema: Schema) -> dict[str, Fact]:
    """By the dotted name of the member; an item of a list is `name[]`, a value of a map `name{}`."""
    return dict(_members(document, schema, ""))


def _fact(document: Document, schema: Schema, *, is_required: bool) -> Fact:
    alternatives = list(_alternatives(document, schema))
    kept = [each for each in alternatives if each.get("type") != "null" and each.get("enum") != [""]]
    types = {name for each in kept for name in _types(each)}
    return Fact(
        types=frozenset(types - {"null"}),
        is_nullable=len(kept) < len(alternatives) or "null" in types or any(each.get("nullable") for each in kept),
        is_required=is_required,
        enum=frozenset(_values(kept) - {None, ""}),
        max_length=max((each["maxLength"] for each in kept if "maxLength" in each), default=None),
    )


def _alternatives(document: Document, schema: Schema) -> Iterator[Schema]:
    schema = resolved(document, schema)
    if "anyOf" not in schema:
        yield schema
        return
    for each in schema["anyOf"]:
        yield from _alternatives(document, each)
    if schema.get("nullable"):
        yield {"type": "null"}


def _types(schema: Schema) -> list[str]:
    kinds = schema.get("type") or []
    return kinds if isinstance(kinds, list) else [kinds]


def _values(schemas: list[Schema]) -> set[Any]:
    """An enum that is called open lists what is known, and more is a matter of its future."""
    return {value for each in schemas for value in each.get("enum") or each.get("x-open-enum") or ()}


def _members(document: Document, schema: Schema, inside: str) -> Iterator[tuple[str, Fact]]:
    for each in _alternatives(document, schema):
        for name, member in each.get("properties", {}).items():
            at = f"{inside}.{name}" if inside else name
            yield at, _fact(document, member, is_required=name in each.get("required", ()))
            yield from _members(document, member, at)
        for keyword, suffix in (("items", "[]"), ("additionalProperties", "{}")):
            if isinstance(each.get(keyword), dict):
                yield inside + suffix, _fact(document, each[keyword], is_required=False)
                yield from _members(document, each[keyword], inside + suffix)
