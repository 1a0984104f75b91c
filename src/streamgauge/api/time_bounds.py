"""Bounds of time in a query: `name[gte]`, `name[gt]`, `name[lt]`, `name[lte]`."""

from typing import Annotated, TypeAlias

import msgspec

from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.meter_event import InvalidTimestamp, parse_timestamps

Unset: TypeAlias = msgspec.UnsetType
Moment = Annotated[str, msgspec.Meta(max_length=40)]


class TimeBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Times as RFC 3339 or as Unix seconds."""

    gt: Moment | Unset = msgspec.UNSET
    gte: Moment | Unset = msgspec.UNSET
    lt: Moment | Unset = msgspec.UNSET
    lte: Moment | Unset = msgspec.UNSET


def half_open_ms(bounds: TimeBounds | Unset, name: str) -> tuple[int | None, int | None]:
    """From, before; None where there is no bound. Raises InvalidRequest, with the parameter in brackets."""
    if not bounds:
        return None, None
    froms = [_ms(bounds.gte, f"{name}[gte]"), _ms(bounds.gt, f"{name}[gt]", later=1)]
    befores = [_ms(bounds.lt, f"{name}[lt]"), _ms(bounds.lte, f"{name}[lte]", later=1)]
    return (
        max((each for each in froms if each is not None), default=None),
        min((each for each in befores if each is not None), default=None),
    )


def _ms(moment: str | Unset, param: str, later: int = 0) -> int | None:
    if not moment:
        return None
    try:
        (at_ms,) = parse_timestamps([moment]).tolist()
    except InvalidTimestamp as error:
        raise InvalidRequest(
            f"Invalid {param}: it takes a time such as 2026-06-01T12:00:00.000Z.", param=param
        ) from error
    return int(at_ms) + later
