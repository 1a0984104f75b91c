"""What a record of the event log holds: a block of events, one of cancel requests, or one of redriven events."""

from typing import Final, TypeAlias

from streamgauge.domain.cancellation import CancelBlock, decode_cancels
from streamgauge.domain.event_block import EventBlock, decode
from streamgauge.domain.redrive import MAGIC, RedriveBlock, decode_redrive

LogBlock: TypeAlias = EventBlock | CancelBlock | RedriveBlock

# A block of events begins with a word of its own or, in older formats, with four bytes of ones; JSON with a brace.
_JSON: Final = b"{"


def decode_block(data: bytes) -> LogBlock:
    """Raises ValueError when the bytes are none of them."""
    if data.startswith(MAGIC):
        return decode_redrive(data)
    return decode_cancels(data) if data.startswith(_JSON) else decode(data)
