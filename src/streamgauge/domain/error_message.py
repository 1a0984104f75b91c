"""What is said of an event that could not be counted: in error reports and in receipts."""

from streamgauge.domain.fate import RejectionCode
from streamgauge.domain.meter import Meter


def error_message(code: RejectionCode, *, event_name: str, meter: Meter | None, customer: str) -> str:
    """One sentence. `meter` is the one that the event reached, if any; `customer` what its payload named, or "".

    The texts for no meter and for no customer are those of the original, which documents no others.
    """
    customer_key = "of the customer" if meter is None else meter.customer_key
    value_key = "of the value" if meter is None else meter.value_key
    match code:
        case RejectionCode.NO_METER:
            return f"No meter was found matching event_name {event_name}."
        case RejectionCode.ARCHIVED_METER:
            return f"The meter with the event_name {event_name} is not active."
        case RejectionCode.TIMESTAMP_TOO_FAR_IN_PAST:
            return "The timestamp is more than 35 days in the past."
        case RejectionCode.TIMESTAMP_IN_FUTURE:
            return "The timestamp is more than 5 minutes in the future."
        case RejectionCode.NO_CUSTOMER_DEFINED:
            return f"Customer mapping key {customer_key} not found in payload."
        case RejectionCode.CUSTOMER_NOT_FOUND:
            return f"No customer was found with the id {customer}."
        case RejectionCode.VALUE_NOT_FOUND:
            return f"Value key {value_key} not found in payload."
        case RejectionCode.INVALID_VALUE:
            return f"The value under the key {value_key} is no decimal number such as 25 or 0.5."
        case RejectionCode.VALUE_TOO_MANY_DIGITS:
            return f"The value under the key {value_key} has more than 15 digits."
