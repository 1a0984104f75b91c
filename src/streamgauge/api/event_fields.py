"""The fields of a meter event, with their bounds: the same in the stream and in the calls with a single event."""

import secrets
from typing import Annotated, TypeAlias

import msgspec

from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.meter import EVENT_NAME_LENGTH_MAX, PAYLOAD_KEY_LENGTH_MAX
from streamgauge.domain.meter_event import (
    ABSENT_MS,
    IDENTIFIER_LENGTH_MAX,
    PAYLOAD_KEYS_MAX,
    PAYLOAD_VALUE_LENGTH_MAX,
    TIMESTAMP_LENGTH_MAX,
    InvalidTimestamp,
    parse_timestamps,
)

EventName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_NAME_LENGTH_MAX)]
Identifier: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=IDENTIFIER_LENGTH_MAX)]
Timestamp: TypeAlias = Annotated[str, msgspec.Meta(max_length=TIMESTAMP_LENGTH_MAX)] | int
PayloadKey: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=PAYLOAD_KEY_LENGTH_MAX)]
PayloadValue: TypeAlias = Annotated[str, msgspec.Meta(max_length=PAYLOAD_VALUE_LENGTH_MAX)]
Payload: TypeAlias = Annotated[dict[PayloadKey, PayloadValue], msgspec.Meta(max_length=PAYLOAD_KEYS_MAX)]


def milliseconds_of(timestamp: str | int | None) -> int | None:
    """The timestamp of a single event. Raises InvalidRequest when it is in none of the accepted forms."""
    try:
        parsed = int(parse_timestamps([timestamp])[0])
    except InvalidTimestamp as error:
        raise InvalidRequest("Expected an RFC 3339 date-time or Unix seconds.", param="timestamp") from error
    return None if parsed == ABSENT_MS else parsed


def made_identifier() -> str:
    """For a single event without one, so that it is one event for ever after. Random, as in the stream."""
    return secrets.token_hex(16)
