"""Queries of version 2: parameters in the URL, in both spellings that its clients use."""

from typing import ClassVar, Self

from streamgauge.api.forms import Params, decode
from streamgauge.api.operation import RawRequest
from streamgauge.api.parameters import FormParameters, parse
from streamgauge.domain.errors import InvalidRequest


class QueryParameters(FormParameters, frozen=True, kw_only=True):
    """Base of what a GET of version 2 takes.

    `FLATTENED` names nested parameters whose members are also taken flat: `created_gt` for `created[gt]`.
    """

    FLATTENED: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def read(cls, raw: RawRequest) -> Self:
        """Raises InvalidRequest, also for a body that says anything."""
        if b"".join(raw.body.split()) not in (b"", b"{}"):
            raise InvalidRequest("This call takes no body; its parameters belong into the URL.")
        return parse(cls, _nested(decode(raw.query), cls.FLATTENED))


def _nested(params: Params, flattened: frozenset[str]) -> Params:
    nested: Params = {}
    for name, value in params.items():
        outer, _, inner = name.partition("_")
        if outer not in flattened or not inner:
            if name in nested:
                raise _given_twice(name)
            nested[name] = dict(value) if isinstance(value, dict) else value
            continue
        members = nested.setdefault(outer, {})
        if not isinstance(members, dict) or inner in members:
            raise _given_twice(name)
        members[inner] = value
    return nested


def _given_twice(name: str) -> InvalidRequest:
    return InvalidRequest(f"The parameter {name} is given in two spellings; give one.", param=name)
