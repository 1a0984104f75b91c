"""Bodies of version 2: JSON objects with exactly the documented members, read strictly, with the path of a fault."""

import logging
import re
from typing import Any, Final, Self

import msgspec

from streamgauge.api.event_fields import Payload
from streamgauge.api.operation import RawRequest
from streamgauge.domain.errors import InvalidRequest, UnsupportedMediaType
from streamgauge.domain.meter import PAYLOAD_KEY_LENGTH_MAX

logger = logging.getLogger(__name__)

JSON_CONTENT_TYPE: Final = "application/json"
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_AT: Final = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<path>.*)`)?$", re.DOTALL)
_STEP: Final = re.compile(r"([A-Za-z_]+)|\[(\d+)\]")


class JsonBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what an operation of version 2 takes. A call without members also takes no body at all."""

    @classmethod
    def read(cls, raw: RawRequest) -> Self:
        """Raises InvalidRequest, or UnsupportedMediaType for a content type that is given and is not JSON."""
        if raw.query:
            raise InvalidRequest("This call takes no parameters in its URL; they belong into the JSON body.")
        body = raw.body if raw.body.strip() else b"{}"
        # Copied commands send `{}` under whatever type their tool puts there; nothing is lost by taking it.
        if b"".join(body.split()) != b"{}":
            refuse_other_types(raw.content_type)
        try:
            return msgspec.json.decode(body, type=cls)
        except msgspec.ValidationError as error:
            raise fault(body, error) from error
        # Brackets nested without end are a RecursionError, bytes that are not UTF-8 a UnicodeDecodeError.
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise not_json(error) from error


def refuse_other_types(content_type: str | None) -> None:
    """Raises UnsupportedMediaType unless it is JSON's or none."""
    media_type = (content_type or JSON_CONTENT_TYPE).partition(";")[0].strip().lower()
    if media_type != JSON_CONTENT_TYPE:
        raise UnsupportedMediaType(
            f"The body must be JSON (Content-Type: {JSON_CONTENT_TYPE}), and was sent as {media_type[:100]}."
        )


def fault(body: bytes, error: msgspec.ValidationError) -> InvalidRequest:
    """msgspec's words as a sentence, with our path: it writes `$.events[0].payload[...]` where we owe the key."""
    match = _AT.match(str(error))
    what, path = (match["what"], match["path"]) if match else (str(error), None)
    if path and path.endswith("[...]"):
        path = path.removesuffix("[...]") + _faulty_key(body, path.removesuffix("[...]"))
    if unknown := _UNKNOWN.fullmatch(what):
        # msgspec has the path of the object around it, which for a member of the body itself is none at all.
        name = unknown["name"][:PAYLOAD_KEY_LENGTH_MAX]
        what, path = f"Object contains unknown field '{name}'", f"{path}.{name}" if path else name
    return InvalidRequest(what.replace("`", "'") + ".", param=path or None)


def not_json(error: Exception) -> InvalidRequest:
    return InvalidRequest(f"The request body is not valid JSON: {error}.")


def _faulty_key(body: bytes, path: str) -> str:
    """`.value` for the first entry of the payload at `path` that is wrong; `[...]` if it cannot be told."""
    try:
        entries: Any = msgspec.json.decode(body)
        for name, index in _STEP.findall(path):
            entries = entries[int(index)] if index else entries[name]
        for key, value in entries.items():
            try:
                msgspec.convert({key: value}, Payload)
            except msgspec.ValidationError:
                return f".{key[:PAYLOAD_KEY_LENGTH_MAX]}"
    # The text of an error repeats names that the caller chose, and they may look like a path of ours.
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):
        logger.debug("the faulty key of a body cannot be named")
    return "[...]"
