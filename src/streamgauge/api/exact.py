"""Exact decimals and times as text, the way JSON answers show them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decimal_text(value: Decimal) -> str:
    """Every digit of `value` and no more: `0.3`, `25`, `-1.5`; never an exponent, never trailing zeros, never `-0`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def rfc3339(at_ms: int) -> str:
    """Milliseconds since the epoch as `2024-06-01T12:00:00.000Z`; always UTC, always three digits."""
    at = EPOCH + timedelta(milliseconds=at_ms)
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def unix_seconds(at_ms: int) -> int:
    """Milliseconds since the epoch as whole seconds, rounded down."""
    return at_ms // 1000
