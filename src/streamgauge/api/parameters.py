"""Typed parameters: what a form decoded to becomes a frozen struct, or an error in words that name the parameter.

The struct's type drives the reading, because text alone is ambiguous: `0` is an index, a number or a key of metadata,
and a customer may be named "null". (That is why msgspec's own lax mode, which reads "null" as None, is not used.)

    T | None            an empty text unsets it and reads as None
    T | UnsetType       not given reads as UNSET
    T alone             an empty text is refused
    Struct | T          nested parameters read as the struct, one text as T
"""

import difflib
import re
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar, assert_never

import msgspec
from msgspec import inspect

from streamgauge.api.forms import Params, Value, bracketed, decode_body
from streamgauge.api.operation import RawRequest
from streamgauge.domain.errors import InvalidRequest

T = TypeVar("T", bound="FormParameters")

# What an SQL database and a JSON reader take as a whole number alike.
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")

SupportedType = (
    inspect.StrType
    | inspect.IntType
    | inspect.BoolType
    | inspect.EnumType
    | inspect.StructType
    | inspect.DictType
    | inspect.VarTupleType
    | inspect.UnionType
)

ObjectId = Annotated[str, msgspec.Meta(min_length=1, max_length=5_000)]
Text = Annotated[str, msgspec.Meta(max_length=5_000)]


class FormParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is read from a query, a form, or both.

    `UNSUPPORTED` names parameters that the original API has and Streamgauge has no use for.
    """

    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def read(cls, raw: RawRequest) -> Self:
        """Those of the query and of the form body together. Raises like `forms.decode_body` and `parse`."""
        return parse(cls, decode_body(raw.body, raw.content_type, raw.query))


class Parameters(FormParameters, frozen=True, kw_only=True):
    """Base of what an operation of version 1 takes. `expand` is taken everywhere and nothing expands."""

    expand: tuple[Text, ...] = ()


def parse(kind: type[T], params: Params) -> T:
    """Read `params` as a `kind`.

    Raises InvalidRequest for the first fault, with `param` in brackets: `parameter_unknown`, `parameter_missing`,
    `parameter_invalid_empty`, `parameter_invalid_integer`, or no reason where the original API has none.
    """
    for name in params:
        if name in kind.UNSUPPORTED:
            raise InvalidRequest(
                f"Streamgauge does not support the parameter {name}: it meters usage and sends no invoices.",
                param=name,
            )
    return msgspec.convert(_object(params, _struct_type(kind), ()), kind)


@cache
def _struct_type(kind: type[FormParameters]) -> inspect.StructType:
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    return described


def _read(value: Value, kind: inspect.Type, at: tuple[str, ...]) -> Any:
    """What `msgspec.convert` takes for `kind`; every constraint of `kind` is checked here, with our words."""
    assert isinstance(kind, SupportedType), f"{bracketed(at)}: {kind} is not read from forms"
    if isinstance(kind, inspect.UnionType):
        return None if value == "" else _read(value, _alternative(value, kind), at)
    if value == "":
        raise InvalidRequest(
            f"The parameter {bracketed(at)} was given an empty value. Remove it, or give it a value.",
            param=bracketed(at),
            reason="parameter_invalid_empty",
        )
    match kind:
        case inspect.StrType():
            return _text(value, kind, at)
        case inspect.IntType():
            return _integer(value, kind, at)
        case inspect.BoolType():
            return _truth(value, at)
        case inspect.EnumType():
            return _choice(value, kind, at)
        case inspect.StructType():
            return _object(_nested(value, at), kind, at)
        case inspect.DictType():
            return _mapping(_nested(value, at), kind, at)
        case inspect.VarTupleType():
            return [_read(item, kind.item_type, (*at, str(index))) for index, item in enumerate(_items(value, at))]
        case _:
            assert_never(kind)


def _alternative(value: Value, kind: inspect.UnionType) -> inspect.Type:
    """Besides nothing at all, a parameter is of one type; or it is nested or plain, which the request tells."""
    kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    if len(kinds) == 1:
        return kinds[0]
    (nested,) = (each for each in kinds if isinstance(each, inspect.StructType))
    (plain,) = (each for each in kinds if each is not nested)
    return nested if isinstance(value, dict) else plain


def _object(params: Params, kind: inspect.StructType, at: tuple[str, ...]) -> dict[str, Any]:
    fields = {field.encode_name: field for field in kind.fields}
    for name in params:
        if name not in fields:
            raise _unknown(name, list(fields), at)
    for name, field in fields.items():
        if field.required and name not in params:
            param = bracketed((*at, name))
            raise InvalidRequest(f"Missing required param: {param}.", param=param, reason="parameter_missing")
    return {name: _read(value, fields[name].type, (*at, name)) for name, value in params.items()}


def _unknown(name: str, known: list[str], at: tuple[str, ...]) -> InvalidRequest:
    param = bracketed((*at, name))
    message = f"Received unknown parameter: {param}"
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        message += f". Did you mean {bracketed((*at, near[0]))}?"
    return InvalidRequest(message, param=param, reason="parameter_unknown")


def _mapping(params: Params, kind: inspect.DictType, at: tuple[str, ...]) -> dict[str, Any]:
    param = bracketed(at)
    if kind.max_length is not None and len(params) > kind.max_length:
        raise InvalidRequest(f"Invalid {param}: it can have up to {kind.max_length} keys.", param=param)
    # An empty text is a value here: in metadata it removes the key.
    return {
        _text(name, kind.key_type, (*at, name)): "" if value == "" else _read(value, kind.value_type, (*at, name))
        for name, value in params.items()
    }


def _nested(value: Value, at: tuple[str, ...]) -> Params:
    if isinstance(value, dict):
        return value
    param = bracketed(at)
    raise InvalidRequest(f"Invalid object: {param} takes nested parameters, as {param}[name]=value.", param=param)


def _items(value: Value, at: tuple[str, ...]) -> list[Value]:
    """The items of a list given as `name[]=` or as `name[0]=`; indices only order, gaps do not matter."""
    if isinstance(value, list):
        return list(value)
    if isinstance(value, dict) and all(name.isascii() and name.isdigit() for name in value):
        return [item for _, item in sorted(value.items(), key=lambda each: int(each[0]))]
    param = bracketed(at)
    raise InvalidRequest(f"Invalid array: {param} takes a list, as {param}[0]=value.", param=param)


def _text(value: Value, kind: inspect.Type, at: tuple[str, ...]) -> str:
    assert isinstance(kind, inspect.StrType)
    param = bracketed(at)
    if not isinstance(value, str):
        raise InvalidRequest(f"Invalid string: {param} takes one text, not nested parameters.", param=param)
    if kind.max_length is not None and len(value) > kind.max_length:
        raise InvalidRequest(
            f"Invalid string: {param} has {len(value)} characters; it must be at most {kind.max_length}.",
            param=param,
        )
    if kind.pattern is not None and re.search(kind.pattern, value) is None:
        raise InvalidRequest(f"Invalid string: {param} does not have the form {kind.pattern}.", param=param)
    return value


def _integer(value: Value, kind: inspect.IntType, at: tuple[str, ...]) -> int:
    param = bracketed(at)
    if not isinstance(value, str) or not _INTEGER.fullmatch(value):
        shown = f": {value}" if isinstance(value, str) and len(value) <= 40 else ""
        raise InvalidRequest(
            f"Invalid integer{shown}. {param} takes a whole number.", param=param, reason="parameter_invalid_integer"
        )
    lowest = INTEGER_MIN if kind.ge is None else int(kind.ge)
    highest = INTEGER_MAX if kind.le is None else int(kind.le)
    number = int(value)
    if not lowest <= number <= highest:
        raise InvalidRequest(
            f"Invalid integer: {param} must be between {lowest} and {highest}.",
            param=param,
            reason="parameter_invalid_integer",
        )
    return number


def _truth(value: Value, at: tuple[str, ...]) -> bool:
    if value not in ("true", "false"):
        raise InvalidRequest(f"Invalid boolean: {bracketed(at)} must be true or false.", param=bracketed(at))
    return value == "true"


def _choice(value: Value, kind: inspect.EnumType, at: tuple[str, ...]) -> str:
    param = bracketed(at)
    allowed = [str(member.value) for member in kind.cls]
    if not isinstance(value, str) or value not in allowed:
        raise InvalidRequest(f"Invalid {param}: must be one of {', '.join(allowed)}.", param=param)
    return value
