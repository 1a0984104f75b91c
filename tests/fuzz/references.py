"""Plain readings of the rules for what is accepted, in a few lines each and none of them ours: the standard library's
JSON, regular expressions, `datetime` and `Decimal`."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEARS_MS = range(-62_135_596_800_000, 253_402_300_800_000)
EVENT_FIELDS = {"event_name", "payload", "identifier", "timestamp"}
UNIX_SECONDS = re.compile(r"-?[0-9]{1,11}")
MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
RUBY_TIME = re.compile(r"([0-9-]{10}) ([0-9:]{8}) (?:UTC|([+-][0-9]{2})([0-9]{2}))")
VALUE = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?")


class Undecided(Exception):
    """JSON that does not say what it means: a name twice, or a number that Python reads and others need not."""


def json_of(data: bytes) -> Any:
    """Raises ValueError for what is not JSON in UTF-8, Undecided where readers may differ."""
    document = json.loads(
        data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_number, parse_int=_integer
    )
    if re.search(r"\\u[dD][89a-fA-F]", data.decode("utf-8")):
        raise Undecided("half of a pair of surrogates, perhaps")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise Undecided("a name is there twice")
    return dict(pairs)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _integer(digits: str) -> int:
    return int(digits) if len(digits) <= 30 else 10**30


def milliseconds(timestamp: object) -> int | None:
    """What an accepted timestamp means; None for one that is in no accepted form."""
    found = None
    if isinstance(timestamp, int) and not isinstance(timestamp, bool):
        found = timestamp * 1000 if -(10**11) < timestamp < 10**11 else None
    elif isinstance(timestamp, str):
        found = int(timestamp) * 1000 if UNIX_SECONDS.fullmatch(timestamp) else _moment(timestamp)
    return found if found is not None and found in YEARS_MS else None


def _moment(text: str) -> int | None:
    if ruby := RUBY_TIME.fullmatch(text):
        day, time_of_day, hours, minutes = ruby.groups()
        text = f"{day}T{time_of_day}" + (f"{hours}:{minutes}" if hours else "Z")
    # RFC 3339 takes t and z as well; other letters whose upper case is a T or Z are not meant.
    found = MOMENT.fullmatch(text.replace("t", "T").replace("z", "Z"))
    if found is None:
        return None
    year, month, day_of_month, hour, minute, second, fraction, sign, zone_hour, zone_minute = found.groups()
    try:
        day_ms = (date(int(year), int(month), int(day_of_month)) - EPOCH.date()) // timedelta(milliseconds=1)
    except ValueError:
        return None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59 or int(zone_hour or 0) > 23 or int(zone_minute or 0) > 59:
        return None
    of_day_s = int(hour) * 3_600 + int(minute) * 60 + int(second)
    zone_s = (int(zone_hour or 0) * 3_600 + int(zone_minute or 0) * 60) * (-1 if sign == "-" else 1)
    return day_ms + (of_day_s - zone_s) * 1000 + int(((fraction or "") + "000")[:3])


def is_text(value: object, least: int, most: int) -> bool:
    return isinstance(value, str) and least <= len(value) <= most


def is_event(value: Any) -> bool:
    if not isinstance(value, dict) or not {"event_name", "payload"} <= value.keys() <= EVENT_FIELDS:
        return False
    return (
        is_text(value["event_name"], 1, 100)
        and isinstance(value["payload"], dict)
        and len(value["payload"]) <= 100
        and all(is_text(key, 1, 100) and is_text(each, 0, 5_000) for key, each in value["payload"].items())
        and (value.get("identifier") is None or is_text(value["identifier"], 1, 100))
        and (value.get("timestamp") is None or milliseconds(value["timestamp"]) is not None)
    )


def is_stream_request(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and document.keys() == {"events"}
        and isinstance(document["events"], list)
        and 1 <= len(document["events"]) <= 100
        and all(map(is_event, document["events"]))
    )


def is_adjustment(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and document.keys() == {"cancel", "event_name", "type"}
        and is_text(document["event_name"], 1, 100)
        and document["type"] == "cancel"
        and isinstance(document["cancel"], dict)
        and document["cancel"].keys() == {"identifier"}
        and is_text(document["cancel"]["identifier"], 1, 100)
    )


def value_or_code(text: str | None) -> Decimal | str:
    """The value of an event, or the code of its rejection."""
    if text is None:
        return "meter_event_value_not_found"
    found = VALUE.fullmatch(text)
    if found is None:
        return "meter_event_invalid_value"
    whole, decimals = found.groups()
    if len(whole.lstrip("0")) + len(decimals or "") > 15:
        return "meter_event_value_too_many_digits"
    return Decimal(text)
