"""Redrives: their record in the log, and the one fate of each acknowledged event."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.event_block import block_of, encode
from streamgauge.domain.fate import Fate
from streamgauge.domain.log_block import decode_block
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.redrive import (
    MAGIC,
    DeadLetter,
    RedriveBlock,
    acknowledged,
    decode_redrive,
    encode_redrive,
    place_of_letter,
    redrive_of,
)
from streamgauge.domain.tally import Tally
from tests.support.world import START_MS, TENANT, Event, request

LIVE = Tenant(TENANT.account_id, livemode=True)
LETTER = DeadLetter(
    tenant=TENANT,
    event_name="api_requests",
    identifier="evt-1",
    timestamp_ms=START_MS - 1,
    timestamp_given=True,
    payload=(("stripe_customer_id", "cus_1"), ("value", "1.50"), ('"', "ü\0")),
    key_id="key_1",
    session_id="mes_1",
    code="meter_event_customer_not_found",
    meter="mtr_1",
    customer="cus_1",
    offset=70,
    judged_at_ms=START_MS + 50,
    first_offset=7,
    received_at_ms=START_MS,
)
OTHER = replace(LETTER, tenant=LIVE, identifier="", timestamp_given=False, payload=(), session_id="", first_offset=9)
BLOCK = redrive_of([LETTER, OTHER])


def same(left: RedriveBlock, right: RedriveBlock) -> bool:
    return (
        left.events.origins == right.events.origins
        and left.events.events.equals(right.events.events)
        and left.first_receipt.offset.tolist() == right.first_receipt.offset.tolist()
        and left.first_receipt.received_at_ms.tolist() == right.first_receipt.received_at_ms.tolist()
    )


def test_a_redrive_comes_back_from_the_log_as_it_was() -> None:
    decoded = decode_block(encode_redrive(BLOCK))
    assert isinstance(decoded, RedriveBlock)
    assert same(decoded, BLOCK)


def test_an_event_is_redriven_as_it_was_sent_by_whom_it_was_sent() -> None:
    event = BLOCK.events.event(0)
    assert (event.event_name, event.identifier, event.timestamp_ms) == ("api_requests", "evt-1", START_MS - 1)
    assert tuple(event.payload.items()) == LETTER.payload
    assert BLOCK.events.event(1).timestamp_ms is None
    assert [(each.key_id, each.session_id) for each in BLOCK.events.origins] == [("key_1", "mes_1"), ("key_1", None)]


def test_redriven_events_are_no_newly_accepted_ones() -> None:
    assert BLOCK.tallies == {TENANT: Tally(redriven=1), LIVE: Tally(redriven=1)}
    assert len(BLOCK) == 2


@pytest.mark.parametrize(
    "data",
    [
        MAGIC,
        MAGIC + b"\xff\xff\xff\xff",
        encode_redrive(BLOCK)[:-200],
        MAGIC + encode(block_of([request([Event("a")])])),
        encode_redrive(replace(BLOCK, first_receipt=BLOCK.first_receipt.take(np.array([0])))),
    ],
    ids=["nothing", "no schema", "cut off", "another schema", "fewer receipts than events"],
)
def test_what_is_not_a_redrive_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"redrive|block"):
        decode_redrive(data)


def test_joined_with_other_events_each_keeps_its_first_receipt() -> None:
    plain = block_of([request([Event("a"), Event("b")])])
    events = received(
        [LoggedBlock(plain, 100, START_MS), LoggedBlock(BLOCK.events, 102, START_MS + 5, BLOCK.first_receipt)]
    )
    assert events.offset.tolist() == [100, 101, 102, 103]
    assert events.first_offset.tolist() == [100, 101, 7, 9]
    assert events.first_received_at_ms.tolist() == [START_MS, START_MS, START_MS, START_MS]
    # An absent timestamp is the first receipt, not the redrive.
    assert events.timestamp_ms.tolist() == [START_MS, START_MS, START_MS - 1, START_MS]
    rows = events.take(np.array([1, 3]))
    assert (rows.first_offset.tolist(), rows.offset.tolist()) == ([101, 9], [101, 103])


def test_without_a_redrive_the_first_receipt_is_the_receipt() -> None:
    events = received([LoggedBlock(block_of([request([Event("a")])]), 3, START_MS)])
    assert events.first_receipt is None
    assert events.first_offset is events.offset
    assert events.first_received_at_ms.tolist() == [START_MS]


def stored(offset: int, status: Fate, code: str = "", first_offset: int | None = None) -> StoredEvent:
    return StoredEvent(
        identifier="a",
        event_name="api_requests",
        status=status,
        code=code,
        meter="",
        customer="",
        value=Decimal(0),
        timestamp_ms=START_MS,
        timestamp_given=True,
        received_at_ms=START_MS + offset,
        log_offset=offset,
        first_offset=first_offset,
        first_received_at_ms=None if first_offset is None else START_MS + first_offset,
    )


@pytest.mark.parametrize(
    ("rows", "fates"),
    [
        ([stored(1, Fate.REJECTED, "no_meter")], [(1, "no_meter")]),
        ([stored(1, Fate.REJECTED, "no_meter"), stored(5, Fate.COUNTED, "", 1)], [(1, "counted")]),
        # Redriven twice at once: the second is a repeat of itself.
        (
            [stored(1, Fate.REJECTED, "a"), stored(5, Fate.COUNTED, "", 1), stored(6, Fate.DUPLICATE, "", 1)],
            [(1, "counted")],
        ),
        (
            [stored(1, Fate.REJECTED, "a"), stored(5, Fate.CANCELLED, "", 1), stored(6, Fate.DUPLICATE, "", 1)],
            [(1, "cancelled")],
        ),
        ([stored(1, Fate.REJECTED, "a"), stored(5, Fate.REJECTED, "b", 1)], [(1, "b")]),
        ([stored(1, Fate.REJECTED, "a"), stored(5, Fate.PENDING, "", 1)], [(1, "pending")]),
        # Of two rejected events with one identifier the first one counts, the other is its repeat.
        (
            [
                stored(1, Fate.REJECTED, "a"),
                stored(2, Fate.REJECTED, "a"),
                stored(5, Fate.COUNTED, "", 1),
                stored(6, Fate.DUPLICATE, "", 2),
            ],
            [(1, "counted"), (2, "duplicate")],
        ),
    ],
)
def test_each_acknowledged_event_has_one_fate_in_the_order_of_first_receipt(
    rows: list[StoredEvent], fates: list[tuple[int, str]]
) -> None:
    told = [(_first_place(each), each.code or str(each.status)) for each in acknowledged(rows)]
    assert told == fates


def test_a_redriven_event_knows_what_it_was_rejected_with_at_first() -> None:
    rows = [stored(1, Fate.REJECTED, "a"), stored(5, Fate.REJECTED, "b", 1), stored(7, Fate.COUNTED, "", 1)]
    (told,) = acknowledged(rows)
    assert (told.status, told.first_code) == (Fate.COUNTED, "a")
    (told,) = acknowledged(rows[:1])
    assert told.first_code == ""


def _first_place(event: StoredEvent) -> int:
    return event.log_offset if event.first_offset is None else event.first_offset


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("dl_0", 0),
        ("dl_17", 17),
        ("dl_", None),
        ("17", None),
        ("dl_-1", None),
        ("dl_" + "9" * 30, None),
        ("dl_\u0663", None),
    ],
)
def test_ids_name_the_first_place(text: str, place: int | None) -> None:
    assert place_of_letter(text) == place


def test_the_block_inside_may_be_of_any_format_that_is_read() -> None:
    """The record holds the bytes of a block as they are."""
    inner = encode(BLOCK.events)
    record = pa.ipc.open_stream(pa.py_buffer(encode_redrive(BLOCK)).slice(len(MAGIC))).read_next_batch()
    assert record.column("events")[0].as_py() == inner
