"""Limits of one meter event, and the timestamps it may carry.

Source of the limits: the v1 schema (100 characters each), the stream's own (100 events a call, 35 days back,
5 minutes ahead). What the contract leaves open is bounded here, because everything has a limit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

REQUEST_EVENTS_MAX: Final = 100
REQUEST_BYTES_MAX: Final = 2**20
IDENTIFIER_LENGTH_MAX: Final = 100
PAYLOAD_KEYS_MAX: Final = 100
PAYLOAD_VALUE_LENGTH_MAX: Final = 5_000
TIMESTAMP_LENGTH_MAX: Final = 40
TIMESTAMP_PAST_MAX_MS: Final = 35 * 24 * 3600 * 1000
TIMESTAMP_FUTURE_MAX_MS: Final = 5 * 60 * 1000

# Stands for "not given" in a column of int64 milliseconds; no accepted timestamp comes near it.
ABSENT_MS: Final = int(np.iinfo(np.int64).min)

# The form that programs write, as a line: a fixed length, so that all of a request can be read at once.
_CANONICAL: Final = np.frombuffer(b"0000-00-00T00:00:00.000Z\n", np.uint8)
_ZONE_AT: Final = 23
_DIGIT: Final = np.frombuffer(b"0", np.uint8)
_SEPARATORS: Final = np.flatnonzero(_CANONICAL != _DIGIT)
_DIGITS: Final = np.flatnonzero(_CANONICAL == _DIGIT)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:[0-5]\d)", re.ASCII)
# A native time as the official Ruby client writes it: `2026-06-01 12:00:00 UTC`, or `+0200` at its end.
_RUBY_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) (?:UTC|([+-]\d\d)(\d\d))", re.ASCII)
_UNIX_SECONDS: Final = re.compile(r"-?\d{1,11}", re.ASCII)
_UNIX_SECONDS_MAX: Final = 10**11
# The years 1 to 9999: what every date type on the way can show again, in receipts for example.
_EARLIEST_MS: Final = -62_135_596_800_000
_LATEST_MS: Final = 253_402_300_799_999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class MeterEvent:
    """One reported unit of usage, as it was sent. `timestamp_ms` is None where none was given.

    For calls with a single event; the stream's are columns from the start.
    """

    event_name: str
    identifier: str
    timestamp_ms: int | None
    payload: Mapping[str, str]


class InvalidTimestamp(ValueError):
    """`at` is the index of a timestamp that is in none of the accepted forms."""

    def __init__(self, at: int) -> None:
        super().__init__(f"timestamp {at} is neither RFC 3339 nor Unix seconds")
        self.at = at


def parse_timestamps(timestamps: Sequence[str | int | None]) -> NDArray[np.int64]:
    """Milliseconds since the epoch, UTC, cut (not rounded) to the millisecond; ABSENT_MS where None.

    Accepts RFC 3339, and what official clients send for native dates: integer Unix seconds, a string of them, and
    Ruby's `2026-06-01 12:00:00 UTC`.
    Raises InvalidTimestamp for the first one that is none of these.
    """
    canonical = _parse_canonical(timestamps)
    if canonical is not None:
        return canonical
    return np.array([_parse_one(timestamp, at) for at, timestamp in enumerate(timestamps)], np.int64)


def _parse_canonical(timestamps: Sequence[str | int | None]) -> NDArray[np.int64] | None:
    """All at once if each is like `2026-06-01T12:00:00.000Z`; None when one is not."""
    try:
        joined = ("\n".join(timestamps) + "\n").encode("ascii")  # type: ignore[arg-type]  # what is no text is caught
    except (TypeError, UnicodeEncodeError):
        return None
    if len(joined) != len(_CANONICAL) * len(timestamps):
        return None
    # As many line ends as rows, each at the end of one: so each row is one text, not parts of two.
    letters = np.frombuffer(joined, np.uint8).reshape(len(timestamps), -1)
    if (letters[:, _SEPARATORS] != _CANONICAL[_SEPARATORS]).any() or (letters[:, _DIGITS] - _DIGIT > 9).any():
        return None
    # NumPy reads no zone: what remains without the Z is UTC.
    texts = np.ascontiguousarray(letters[:, :_ZONE_AT]).view(f"S{_ZONE_AT}").reshape(-1)
    try:
        parsed = texts.astype("datetime64[ms]").astype(np.int64)
    except ValueError:  # the 31st of February
        return None
    return parsed if parsed.min() >= _EARLIEST_MS else None  # NumPy has a year 0


def _parse_one(timestamp: str | int | None, at: int) -> int:
    if timestamp is None:
        return ABSENT_MS
    parsed = _milliseconds(timestamp)
    if parsed is None or not _EARLIEST_MS <= parsed <= _LATEST_MS:
        raise InvalidTimestamp(at)
    return parsed


def _milliseconds(timestamp: str | int) -> int | None:
    if isinstance(timestamp, int):
        return timestamp * 1000 if abs(timestamp) < _UNIX_SECONDS_MAX else None
    if _UNIX_SECONDS.fullmatch(timestamp):
        return int(timestamp) * 1000
    if ruby := _RUBY_TIME.fullmatch(timestamp):
        day, time_of_day, hours, minutes = ruby.groups()
        timestamp = f"{day}T{time_of_day}" + ("Z" if hours is None else f"{hours}:{minutes}")
    if not _RFC3339.fullmatch(timestamp.upper()):
        return None
    try:
        return (datetime.fromisoformat(timestamp.upper()) - _EPOCH) // _MILLISECOND
    except ValueError:
        return None  # the 31st of February
