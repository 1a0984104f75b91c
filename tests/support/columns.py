"""Events as the applier has them in hand: columns made from a plain list."""

from collections.abc import Sequence

from streamgauge.domain.account import Tenant
from streamgauge.domain.event_block import block_of
from streamgauge.domain.received_events import LoggedBlock, ReceivedEvents, received
from tests.support.world import START_MS, TENANT, Event, request


def received_events(
    events: Sequence[Event | tuple[Tenant, Event]], *, records: int = 1, first_offset: int = 0
) -> ReceivedEvents:
    """`events` in log order, spread over `records` records that were received a second after each other."""
    owned = [each if isinstance(each, tuple) else (TENANT, each) for each in events]
    size = -(-len(owned) // records)
    groups = [owned[start : start + size] for start in range(0, len(owned), size)]
    blocks = [block_of([request([event], tenant) for tenant, event in group]) for group in groups]
    logged = []
    for number, block in enumerate(blocks):
        logged.append(LoggedBlock(block, first_offset, START_MS + 1_000 * number))
        first_offset += len(block)
    return received(logged)
