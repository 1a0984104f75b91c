"""JSON Schemas of msgspec types, in the dialect of OpenAPI 3.1.

msgspec can write schemas itself, but only of what it decodes. A form has no null and refuses names it does not know,
and in an answer a member with a default is always there: so one type has up to three schemas here.
"""

from enum import Enum
from typing import Any, TypeAlias, get_origin

import msgspec
from msgspec import inspect

Schema: TypeAlias = dict[str, Any]

COMPONENTS = "#/components/schemas/"
_NULL: Schema = {"type": "null"}
_EMPTY_TEXT: Schema = {"type": "string", "enum": [""]}
_TYPE_NAMES = {str: "string", int: "integer", bool: "boolean"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


class Place(Enum):
    """Where a value of a type stands."""

    FORM = "a query or form, as `api.parameters` reads it"
    JSON = "a JSON body that is decoded"
    ANSWER = "a JSON body that is encoded"


class Schemas:
    """Writes schemas. Answers that have a name of their own are collected in `components`, and referred to."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}

    def of(self, kind: Any, place: Place) -> Schema:
        """The schema of a type as annotations write it. Raises TypeError for a kind that has none yet."""
        return self._of(inspect.type_info(kind), place)

    def named(self, name: str, schema: Schema) -> Schema:
        """Keep a schema as a component; the reference to it."""
        self.components[name] = schema
        return {"$ref": COMPONENTS + name}

    def _of(self, kind: inspect.Type, place: Place) -> Schema:
        match kind:
            case inspect.StrType():
                return _text(kind, place)
            case inspect.IntType():
                bounds = _bounds(kind)
                # A form's numbers are text until they are read, and only 64 bits of them are taken.
                return {"type": "integer", **(bounds or ({"format": "int64"} if place is Place.FORM else {}))}
            case inspect.FloatType():
                return {"type": "number", **_bounds(kind)}
            case inspect.RawType():
                # What a struct holds ready encoded is an exact decimal.
                return {"type": "number"}
            case inspect.BoolType():
                return {"type": "boolean"}
            case inspect.NoneType():
                return _NULL
            case inspect.AnyType():
                return {}
            case inspect.EnumType():
                return _one_of([member.value for member in kind.cls])
            case inspect.LiteralType():
                return _one_of(list(kind.values))
            case inspect.ListType() | inspect.VarTupleType():
                items = {"minItems": kind.min_length, "maxItems": kind.max_length}
                return {"type": "array", "items": self._of(kind.item_type, place), **_given(items)}
            case inspect.DictType():
                return self._mapping(kind, place)
            case inspect.UnionType():
                return self._union(kind.types, place)
            case inspect.StructType():
                return self._struct(kind, place)
            case inspect.Metadata():
                return {**self._of(kind.type, place), **(kind.extra_json_schema or {})}
            case _:
                raise TypeError(f"the OpenAPI document has no schema for {kind}")

    def _union(self, kinds: tuple[inspect.Type, ...], place: Place) -> Schema:
        others = [self._of(each, place) for each in kinds if not isinstance(each, inspect.NoneType)]
        schema = others[0] if len(others) == 1 else {"anyOf": others}
        if len(others) == len(kinds):
            return schema
        return _or_empty(schema) if place is Place.FORM else _or_null(schema)

    def _mapping(self, kind: inspect.DictType, place: Place) -> Schema:
        # An empty text is a value in a form's mapping, not a null, and no key of one is empty.
        keys = {name: value for name, value in self._of(kind.key_type, place).items() if name != "type"}
        values = self._of(kind.value_type, place)
        if place is Place.FORM:
            values.pop("minLength", None)
        sizes = _given({"minProperties": kind.min_length, "maxProperties": kind.max_length})
        return {
            "type": "object",
            **({"propertyNames": keys} if keys else {}),
            "additionalProperties": values or True,
            **sizes,
        }

    def _struct(self, kind: inspect.StructType, place: Place) -> Schema:
        members = {each.encode_name: self._member(each, kind, place) for each in kind.fields}
        required = [each.encode_name for each in kind.fields if _is_required(each, kind, place)]
        schema: Schema = {"type": "object"}
        name = _name(kind) if place is Place.ANSWER else None
        if name is not None and kind.cls.__doc__:
            schema["description"] = prose(kind.cls.__doc__)
        schema["properties"] = members
        if required:
            schema["required"] = required
        if place is Place.FORM or (place is Place.JSON and kind.forbid_unknown_fields):
            schema["additionalProperties"] = False
        return schema if name is None else self.named(name, schema)

    def _member(self, field: inspect.Field, of: inspect.StructType, place: Place) -> Schema:
        if place is Place.ANSWER and _omits(field, of) and isinstance(field.type, inspect.UnionType):
            # A null is left out, so it is never seen.
            kept = tuple(each for each in field.type.types if not isinstance(each, inspect.NoneType))
            return self._union(kept, place)
        schema = self._of(field.type, place)
        if place is not Place.ANSWER and isinstance(field.default, (str, int)):
            return {**schema, "default": field.default}
        return schema


def prose(docstring: str) -> str:
    """A docstring without the indentation and line breaks that it has in the source; paragraphs stay apart."""
    return "\n\n".join(" ".join(each.split()) for each in docstring.strip().split("\n\n"))


def _name(kind: inspect.StructType) -> str | None:
    """What the API calls its objects: the constant member `object`. Lists and parts of objects have no name."""
    names = {
        each.encode_name: each.type.values[0]
        for each in kind.fields
        if isinstance(each.type, inspect.LiteralType) and len(each.type.values) == 1
    }
    name = names.get("object")
    if not isinstance(name, str) or name == "list":
        return None
    return f"deleted_{name}" if names.get("deleted") is True else name


def _is_required(field: inspect.Field, of: inspect.StructType, place: Place) -> bool:
    return not _omits(field, of) if place is Place.ANSWER else field.required


def _omits(field: inspect.Field, of: inspect.StructType) -> bool:
    """Whether an encoder ever leaves the member out."""
    # A default of UNSET is told as none at all.
    if not field.required and field.default is field.default_factory is msgspec.NODEFAULT:
        return True
    kind = get_origin(of.cls) or of.cls
    return bool(kind.__struct_config__.omit_defaults) and not field.required


def _text(kind: inspect.StrType, place: Place) -> Schema:
    # Without a default or a null, a form's empty text is refused.
    min_length = max(kind.min_length or 0, 1) if place is Place.FORM else kind.min_length
    bounds = _given({"minLength": min_length, "maxLength": kind.max_length})
    # Python's end of text is \Z; the regular expressions of JSON Schema have only $.
    return {"type": "string", **bounds, **({"pattern": kind.pattern.replace(r"\Z", "$")} if kind.pattern else {})}


def _bounds(kind: inspect.IntType | inspect.FloatType) -> Schema:
    return _given({schema_name: getattr(kind, name) for name, schema_name in _BOUNDS.items()})


def _given(keywords: Schema) -> Schema:
    return {name: value for name, value in keywords.items() if value is not None}


def _one_of(values: list[Any]) -> Schema:
    (kind,) = {type(value) for value in values}
    return {"type": _TYPE_NAMES[kind], "enum": values}


def _or_null(schema: Schema) -> Schema:
    if not isinstance(schema.get("type"), str):
        return {"anyOf": [*schema.get("anyOf", [schema]), _NULL]}
    nullable = {**schema, "type": [schema["type"], "null"]}
    return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable


def _or_empty(schema: Schema) -> Schema:
    """An empty text unsets. Where any text is taken, it is one of them."""
    if schema.get("type") == "string" and schema.keys() <= {"type", "minLength", "maxLength"}:
        return {name: value for name, value in schema.items() if name != "minLength"}
    return {"anyOf": [schema, _EMPTY_TEXT]}
