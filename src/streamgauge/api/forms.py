"""Form encoding with brackets: `a[b]=c&expand[]=x` to nested parameters.

Names that are numbers stay names (`expand[0]=x` is `{"expand": {"0": "x"}}`), because only the parameter's type can
tell a list's index from a key of metadata. `parameters.py` knows the types and makes lists of them.
"""

import re
from collections.abc import Iterator
from string import hexdigits
from typing import TypeAlias

from streamgauge.domain.errors import InvalidRequest, UnsupportedMediaType

PARAMETERS_MAX = 1_000  # pairs in one request
NESTING_MAX = 6  # brackets after one name
KEY_LENGTH_MAX = 500  # characters of a whole key, brackets included

Value: TypeAlias = "str | list[str] | dict[str, Value]"
Params: TypeAlias = dict[str, Value]

FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_BRACKETED = re.compile(r"\[([^\[\]]*)\]")
# By what does match: the standard library's function raises for each `%` that begins no escape, which takes a second
# for a megabyte of them.
_ESCAPED = re.compile(rb"%[0-9A-Fa-f]{2}")
_BYTE_OF = {f"%{high}{low}".encode(): bytes.fromhex(high + low) for high in hexdigits for low in hexdigits}


def decode(*sources: bytes) -> Params:
    """Parameters of a query string, a form body, or both taken together.

    Shape:  nested dicts; a leaf is a text, or the list of texts given as `name[]`. Order is the request's.
    Raises: InvalidRequest when a key is malformed, too long or too deep, when there are too many, when text is not
            UTF-8 or holds NUL, and when two pairs cannot both be meant (`a=1&a=2`, `a=1&a[b]=2`).
    """
    params: Params = {}
    for count, (key, value) in enumerate(_pairs(sources), start=1):
        if count > PARAMETERS_MAX:
            raise InvalidRequest(f"The request has more than {PARAMETERS_MAX} parameters.")
        _place(params, key, _path(key), value)
    return params


def decode_body(body: bytes, content_type: str | None, query: bytes = b"") -> Params:
    """Like `decode`, of a request. Raises UnsupportedMediaType when the body is not a form, such as JSON."""
    if body:
        media_type = (content_type or FORM_CONTENT_TYPE).partition(";")[0].strip().lower()
        # A client that sends JSON as a form by mistake would otherwise be told of one very strange parameter.
        if media_type != FORM_CONTENT_TYPE or body.lstrip()[:1] in (b"{", b"["):
            raise UnsupportedMediaType(
                f"The body must be form-encoded (Content-Type: {FORM_CONTENT_TYPE}), with nested parameters written "
                "as name[inner]=value. Version 1 of the API takes no JSON."
            )
    return decode(query, body)


def _pairs(sources: tuple[bytes, ...]) -> Iterator[tuple[str, str]]:
    for source in sources:
        for pair in source.split(b"&"):
            if pair:
                key, _, value = pair.partition(b"=")
                name = _text(key, None)
                yield name, _text(value, name)


def _text(encoded: bytes, param: str | None) -> str:
    """`param` is the key that `encoded` is the value of; None when it is a key itself."""
    try:
        text = _ESCAPED.sub(lambda escape: _BYTE_OF[escape[0]], encoded.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        which = "A parameter's name" if param is None else f"The value of {_shown(param)}"
        raise InvalidRequest(f"{which} is not valid UTF-8.", param=param) from None
    if "\0" in text:
        which = "A parameter's name" if param is None else f"The value of {_shown(param)}"
        raise InvalidRequest(f"{which} contains a NUL character.", param=param)
    return text


def _path(key: str) -> list[str]:
    """`a[b][c]` as its names; an empty last one appends to a list."""
    if len(key) > KEY_LENGTH_MAX:
        raise InvalidRequest(f"A parameter's name is longer than {KEY_LENGTH_MAX} characters: {_shown(key)}")
    matched = _KEY.fullmatch(key)
    if matched is None:
        raise InvalidRequest(f"The parameter name {_shown(key)} has misplaced brackets.", param=key)
    inner = _BRACKETED.findall(matched[2])
    if len(inner) > NESTING_MAX:
        raise InvalidRequest(f"The parameter {_shown(key)} is nested deeper than {NESTING_MAX} levels.", param=key)
    if "" in inner[:-1]:
        raise InvalidRequest(f"The parameter {_shown(key)} has empty brackets before its end.", param=key)
    return [matched[1], *inner]


def _place(params: Params, key: str, path: list[str], value: str) -> None:
    appends = len(path) > 1 and path[-1] == ""
    names = path[:-1] if appends else path
    here = params
    for depth, name in enumerate(names[:-1], start=1):
        inner = here.setdefault(name, {})
        if not isinstance(inner, dict):
            raise _conflict(names[:depth])
        here = inner
    if appends:
        items = here.setdefault(names[-1], [])
        if not isinstance(items, list):
            raise _conflict(names)
        items.append(value)
    elif isinstance(here.get(names[-1]), str):
        raise InvalidRequest(f"The parameter {_shown(key)} is given more than once.", param=key)
    elif names[-1] in here:
        raise _conflict(names)
    else:
        here[names[-1]] = value


def _conflict(names: list[str]) -> InvalidRequest:
    param = bracketed(names)
    return InvalidRequest(f"The parameter {_shown(param)} is given both as one value and as nested ones.", param=param)


def bracketed(names: list[str] | tuple[str, ...]) -> str:
    """`["a", "b"]` as `a[b]`."""
    return names[0] + "".join(f"[{name}]" for name in names[1:])


def _shown(text: str) -> str:
    return text if len(text) <= 100 else text[:100] + "..."
