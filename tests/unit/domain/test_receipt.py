"""Receipts: of all events with one identifier, which one is told of, and what is told."""

from dataclasses import replace
from decimal import Decimal

import pytest

from streamgauge.domain.fate import Fate
from streamgauge.domain.receipt import Hint, HintKind, Repeat, StoredEvent, receipt_of

BASE = StoredEvent(
    identifier="a",
    event_name="calls",
    status=Fate.COUNTED,
    code="",
    meter="mtr_1",
    customer="cus_1",
    value=Decimal("2.5"),
    timestamp_ms=1_000,
    timestamp_given=True,
    received_at_ms=2_000,
    log_offset=0,
    payload={"stripe_customer_id": "cus_1", "value": "2.5"},
)
DUPLICATE = replace(BASE, status=Fate.DUPLICATE, value=Decimal(0), received_at_ms=3_000, log_offset=1)
REJECTED = replace(BASE, status=Fate.REJECTED, code="no_meter", meter="", value=Decimal(0), log_offset=2)
CANCELLED = replace(BASE, status=Fate.CANCELLED, cancelled_at_ms=5_000)
PENDING = replace(BASE, status=Fate.PENDING, meter="", customer="", value=None, log_offset=3)


def test_a_counted_event_tells_everything_that_was_settled() -> None:
    receipt = receipt_of([BASE])
    assert (receipt.identifier, receipt.event_name, receipt.status) == ("a", "calls", Fate.COUNTED)
    assert (receipt.code, receipt.meter, receipt.customer, receipt.value) == (None, "mtr_1", "cus_1", Decimal("2.5"))
    assert (receipt.timestamp_ms, receipt.received_at_ms) == (1_000, 2_000)
    assert (receipt.repeats, receipt.conflicting_repeats) == (0, 0)


def test_a_cancelled_event_is_told_of_like_a_counted_one_with_its_value() -> None:
    told = receipt_of([CANCELLED])
    assert told == replace(receipt_of([BASE]), status=Fate.CANCELLED, bucket_ms=None, cancelled_at_ms=5_000)


def test_a_counted_event_tells_where_it_came_from_and_which_minute_it_counts_in() -> None:
    event = replace(BASE, timestamp_ms=179_999, log_offset=7, key_id="key_1", session_id="")
    told = receipt_of([event])
    assert (told.bucket_ms, told.log_offset, told.key_id, told.session_id) == (120_000, 7, "key_1", None)


def test_every_repeat_is_told_of_with_when_it_came_and_whether_it_differs() -> None:
    other = replace(DUPLICATE, received_at_ms=4_000, log_offset=2, payload={})
    told = receipt_of([BASE, DUPLICATE, other])
    assert told.repeated == (Repeat(3_000, 1, differs=False), Repeat(4_000, 2, differs=True))
    assert told.hints == (Hint(HintKind.REPEATED_WITH_DIFFERENT_CONTENT),)
    assert receipt_of([BASE, DUPLICATE]).hints == ()
    many = [replace(DUPLICATE, log_offset=at) for at in range(1, 500)]
    assert (receipt_of([BASE, *many]).repeats, len(receipt_of([BASE, *many]).repeated)) == (499, 100)


def test_a_receipt_can_be_asked_of_any_of_the_events() -> None:
    told = receipt_of([REJECTED, BASE, DUPLICATE], DUPLICATE)
    assert (told.status, told.log_offset, told.repeats) == (Fate.DUPLICATE, 1, 1)


def test_a_redriven_event_is_told_of_where_it_was_received() -> None:
    redriven = replace(BASE, log_offset=50, received_at_ms=9_000, first_offset=2, first_received_at_ms=2_500)
    told = receipt_of([REJECTED, redriven])
    assert (told.status, told.log_offset, told.judged_offset) == (Fate.COUNTED, 2, 50)
    assert (told.received_at_ms, told.redriven_at_ms) == (2_500, 9_000)
    assert receipt_of([BASE]).redriven_at_ms is None


def test_what_is_not_known_is_none_not_empty() -> None:
    receipt = receipt_of([replace(REJECTED, customer="")])
    assert (receipt.code, receipt.meter, receipt.customer, receipt.value) == ("no_meter", None, None, None)
    receipt = receipt_of([PENDING])
    assert (receipt.status, receipt.code, receipt.meter, receipt.value) == (Fate.PENDING, None, None, None)


@pytest.mark.parametrize(
    ("events", "told", "repeats"),
    [
        ([BASE, DUPLICATE], BASE, 1),
        ([BASE, DUPLICATE, DUPLICATE, PENDING], BASE, 2),
        ([REJECTED, BASE, DUPLICATE], BASE, 1),  # corrected and sent again
        ([REJECTED, replace(REJECTED, code="archived_meter")], replace(REJECTED, code="archived_meter"), 0),
        ([REJECTED, PENDING], REJECTED, 0),
        ([PENDING, replace(PENDING, received_at_ms=9_000)], PENDING, 0),
        ([BASE, replace(BASE, received_at_ms=7_000)], replace(BASE, received_at_ms=7_000), 0),  # a window later
        ([DUPLICATE], DUPLICATE, 1),  # what it repeats is gone
        ([CANCELLED, DUPLICATE], CANCELLED, 1),  # a late retry does not bring it back
        ([REJECTED, CANCELLED, PENDING], CANCELLED, 0),
        ([CANCELLED, replace(REJECTED, received_at_ms=9_000)], CANCELLED, 0),
        ([CANCELLED, replace(BASE, received_at_ms=7_000)], replace(BASE, received_at_ms=7_000), 0),  # a window later
        ([BASE, replace(CANCELLED, received_at_ms=7_000)], replace(CANCELLED, received_at_ms=7_000), 0),
    ],
)
def test_the_event_that_counted_last_is_told_of_else_the_newest_that_was_judged_else_the_first_that_waits(
    events: list[StoredEvent], told: StoredEvent, repeats: int
) -> None:
    receipt = receipt_of(events)
    assert (receipt.status, receipt.received_at_ms) == (told.status, told.received_at_ms)
    assert receipt.code == (told.code or None)
    assert receipt.repeats == repeats


@pytest.mark.parametrize(
    ("repeat", "conflicts"),
    [
        (DUPLICATE, 0),
        (replace(DUPLICATE, payload={"value": "2.5", "stripe_customer_id": "cus_1"}), 0),  # another order
        (replace(DUPLICATE, payload={"value": "2.50", "stripe_customer_id": "cus_1"}), 1),
        (replace(DUPLICATE, payload={}), 1),
        (replace(DUPLICATE, event_name="other"), 1),
        (replace(DUPLICATE, timestamp_ms=1_001), 1),
        (replace(DUPLICATE, timestamp_given=False), 1),
    ],
)
@pytest.mark.parametrize("first", [BASE, CANCELLED], ids=["counted", "cancelled"])
def test_a_repeat_with_other_content_is_flagged(first: StoredEvent, repeat: StoredEvent, conflicts: int) -> None:
    receipt = receipt_of([first, repeat, DUPLICATE])
    assert (receipt.repeats, receipt.conflicting_repeats) == (2, conflicts)


def test_a_repeat_without_a_timestamp_conflicts_with_none_whenever_it_was_received() -> None:
    first = replace(BASE, timestamp_given=False, timestamp_ms=2_000)
    again = replace(DUPLICATE, timestamp_given=False, timestamp_ms=3_000)
    assert receipt_of([first, again]).conflicting_repeats == 0
