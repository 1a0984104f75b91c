"""What a record of the event log holds: a block of events, or one of cancel requests."""

from typing import Final, TypeAlias

from streamgauge.domain.cancellation import CancelBlock, decode_cancels
from streamgauge.domain.event_block import EventBlock, decode

LogBlock: TypeAlias = EventBlock | CancelBlock

# Arrow's stream format begins with four bytes of ones, JSON with a brace.
_JSON: Final = b"{"


def decode_block(data: bytes) -> LogBlock:
    """Raises ValueError when the bytes are neither."""
    return decode_cancels(data) if data.startswith(_JSON) else decode(data)
