"""What became of an event: every acknowledged event ends in exactly one fate."""

from enum import StrEnum
from typing import Final


class Fate(StrEnum):
    """`PENDING` is the time before a fate: acknowledged, in the log, not applied yet."""

    PENDING = "pending"
    COUNTED = "counted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class RejectionCode(StrEnum):
    """Why an acknowledged event could not be counted. In order of precedence: the first that applies is given."""

    NO_METER = "no_meter"
    ARCHIVED_METER = "archived_meter"
    TIMESTAMP_TOO_FAR_IN_PAST = "timestamp_too_far_in_past"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    NO_CUSTOMER_DEFINED = "meter_event_no_customer_defined"
    CUSTOMER_NOT_FOUND = "meter_event_customer_not_found"
    VALUE_NOT_FOUND = "meter_event_value_not_found"
    INVALID_VALUE = "meter_event_invalid_value"
    VALUE_TOO_MANY_DIGITS = "meter_event_value_too_many_digits"


# Columns carry a code as its position here; 0 means that nothing speaks against counting the event.
NO_REJECTION: Final = 0
REJECTION_CODES: Final[tuple[str, ...]] = ("", *RejectionCode)
CODE_NUMBER: Final[dict[RejectionCode, int]] = {code: 1 + at for at, code in enumerate(RejectionCode)}
