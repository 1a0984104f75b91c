"""The body of a stream request: bytes in, columns out, or the path of the first fault.

Nothing here loops over events in Python except what turns decoded structs into columns.
"""

import hashlib
import secrets
from itertools import chain
from typing import Annotated, Final

import msgspec

from streamgauge import native
from streamgauge.api.event_fields import EventName, Identifier, Payload, Timestamp
from streamgauge.api.v2.json_body import fault, not_json
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import InvalidRequest
from streamgauge.domain.event_block import IncomingRequest, PackedRequest, RequestColumns
from streamgauge.domain.meter import EVENT_NAME_LENGTH_MAX, PAYLOAD_KEY_LENGTH_MAX
from streamgauge.domain.meter_event import (
    IDENTIFIER_LENGTH_MAX,
    PAYLOAD_KEYS_MAX,
    PAYLOAD_VALUE_LENGTH_MAX,
    REQUEST_EVENTS_MAX,
    InvalidTimestamp,
    parse_timestamps,
)


class StreamedEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event of a call, checked for structure only; its meaning is judged when it is applied."""

    event_name: str
    payload: dict[str, str]
    identifier: str | None = None
    timestamp: str | int | None = None


class StreamRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[StreamedEvent]


class BoundedEvent(StreamedEvent, forbid_unknown_fields=True, gc=False):
    """The same with every bound, which names the place of a fault but takes twice as long to decode."""

    event_name: EventName
    payload: Payload
    identifier: Identifier | None = None
    timestamp: Timestamp | None = None


class BoundedRequest(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: Annotated[list[BoundedEvent], msgspec.Meta(min_length=1, max_length=REQUEST_EVENTS_MAX)]


_decoder: Final = msgspec.json.Decoder(StreamRequest)
_bounded_decoder: Final = msgspec.json.Decoder(BoundedRequest)


def request_of(principal: Principal, body: bytes | bytearray, request_key: str | None = None) -> IncomingRequest:
    """Decode and check the whole request; `columns_of`, the short way where there is one."""
    packed = native.compiled.parse(body) if native.compiled is not None else None
    if packed is None:
        return columns_of(principal, bytes(body), request_key)
    if packed.missing:
        packed.identify(_made(packed.missing, request_key, body))
    return PackedRequest(principal, packed, len(body))


def columns_of(principal: Principal, body: bytes, request_key: str | None = None) -> RequestColumns:
    """Decode and check the whole request. Raises InvalidRequest with the path of the first fault.

    `request_key` is the request's `Idempotency-Key`: what an event without an identifier is known by.
    """
    try:
        events = _decoder.decode(body).events
        identifiers = [event.identifier for event in events]
        payloads = [event.payload for event in events]
        columns = RequestColumns(
            origin=principal,
            event_names=[event.event_name for event in events],
            identifiers=_complete(identifiers, request_key, body) if None in identifiers else identifiers,  # type: ignore[arg-type]
            timestamps_ms=parse_timestamps([event.timestamp for event in events]),
            payload_sizes=list(map(len, payloads)),
            payload_keys=list(chain.from_iterable(payloads)),
            payload_values=list(chain.from_iterable(map(dict.values, payloads))),
            size_bytes=len(body),
        )
        if not _within_bounds(columns):
            _bounded_decoder.decode(body)
            raise AssertionError("a bound is exceeded that the bounded decoder does not know")
    except InvalidTimestamp as error:
        raise InvalidRequest(
            "Expected an RFC 3339 date-time or Unix seconds.", param=f"events[{error.at}].timestamp"
        ) from error
    except msgspec.ValidationError as error:
        raise fault(body, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from error
    return columns


def _within_bounds(columns: RequestColumns) -> bool:
    """Whether every bound is kept; which one is not, and where, the bounded decoder says."""
    return (
        1 <= len(columns) <= REQUEST_EVENTS_MAX
        and all(columns.event_names)
        and max(map(len, columns.event_names)) <= EVENT_NAME_LENGTH_MAX
        and all(columns.identifiers)
        and max(map(len, columns.identifiers)) <= IDENTIFIER_LENGTH_MAX
        and all(columns.payload_keys)
        and max(map(len, columns.payload_keys), default=0) <= PAYLOAD_KEY_LENGTH_MAX
        and max(map(len, columns.payload_values), default=0) <= PAYLOAD_VALUE_LENGTH_MAX
        and max(columns.payload_sizes) <= PAYLOAD_KEYS_MAX
    )


def _complete(identifiers: list[str | None], request_key: str | None, body: bytes) -> list[str]:
    """An event without an identifier gets one of its own, so that it is one event for ever after.

    Official clients repeat a request that got no answer, with its key and its very bytes: it gets the same
    identifiers again, so the repeat counts nothing. Other bytes under the same key are other events.
    """
    made = _made(identifiers.count(None), request_key, body).hex()
    fresh = iter(range(0, len(made), 32))
    return [each if each is not None else made[(at := next(fresh)) : at + 32] for each in identifiers]


def _made(count: int, request_key: str | None, body: bytes | bytearray) -> bytes:
    """16 bytes for each of `count` identifiers."""
    if not request_key:  # an empty header names nothing
        return secrets.token_bytes(16 * count)
    return hashlib.shake_256(len(request_key).to_bytes(8, "big") + request_key.encode() + body).digest(16 * count)
