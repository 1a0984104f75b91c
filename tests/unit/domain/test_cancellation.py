"""Cancel requests: what each comes to, and their form in the log."""

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CancelBlock, CancelRequest, decode_cancels, encode_cancels
from streamgauge.domain.credential import Principal
from streamgauge.domain.event_block import EventBlock, block_of, encode
from streamgauge.domain.log_block import decode_block
from streamgauge.domain.tally import Tally
from tests.support.world import TENANT, Event, request

LIVE = Tenant(TENANT.account_id, livemode=True)
BLOCK = CancelBlock(
    (
        CancelRequest(Principal(TENANT, "key_1"), "calls", 'a "quoted" \n名'),
        CancelRequest(Principal(LIVE, "key_2"), "tokens", "\x7f"),
    )
)


def test_a_block_of_cancel_requests_comes_back_from_the_log_as_it_was() -> None:
    assert decode_block(encode_cancels(BLOCK)) == BLOCK


def test_a_record_of_events_and_one_of_cancel_requests_are_told_apart() -> None:
    block = block_of([request([Event("a")])])
    decoded = decode_block(encode(block))
    assert isinstance(decoded, EventBlock)
    assert decoded.events.equals(block.events)


def test_each_request_is_an_entry_of_its_tenant() -> None:
    assert BLOCK.tallies == {TENANT: Tally(cancellations=1), LIVE: Tally(cancellations=1)}
    assert len(BLOCK) == 2


@pytest.mark.parametrize(
    "damaged",
    [
        b"{",
        b"{}",
        b"[]",
        b'{"format":"cancellations 2","requests":[]}',
        b'{"format":"cancellations 1","requests":[["acct"]]}',
        b'{"format":"cancellations 1","requests":7}',
        b"\xff",
    ],
)
def test_what_is_no_block_of_cancel_requests_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError):
        decode_cancels(damaged)
