"""The contract of `Outbox`, run on every adapter."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamgauge.domain.delivery import Attempt, Delivery, DeliveryState
from streamgauge.domain.errors import StreamgaugeError
from streamgauge.domain.event_destination import DisabledReason
from streamgauge.engine.ports.control_store import Page
from streamgauge.engine.ports.outbox import Claimed, Outcome
from tests.support.control_stores import ADAPTERS
from tests.support.notified import LIVE, OTHER, TEST, delivery, destination, notification
from tests.support.notifying import Stores, opened_stores

NOTIFICATIONS = [notification(number) for number in range(1, 6)]


@pytest.fixture(params=ADAPTERS)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """With five notifications, and the destinations `ed_1` and `ed_2` of one tenant and `ed_3` of another."""
    with opened_stores(request.param, tmp_path) as opened:
        opened.notifications.add([*NOTIFICATIONS, notification(9, OTHER)])
        for each in (destination("ed_1"), destination("ed_2"), destination("ed_3", OTHER)):
            opened.destinations.add(each)
        yield opened


def attempt(at_ms: int = 1_000, status: int | None = 200, error: str | None = None) -> Attempt:
    return Attempt(at_ms=at_ms, status=status, error=error, duration_ms=12, response_excerpt="thanks")


def claim(stores: Stores, destination_id: str = "ed_1", now_ms: int = 1_000, limit: int = 10) -> list[Claimed]:
    """Until a minute later."""
    return list(stores.outbox.claim(destination_id, now_ms, now_ms + 60_000, limit))


def record(
    stores: Stores, of: Delivery, state: DeliveryState, at_ms: int = 1_000, next_at_ms: int | None = None
) -> None:
    status = 200 if state is DeliveryState.DELIVERED else 500
    outcome = Outcome(delivery=of, attempt=attempt(at_ms, status), state=state, next_at_ms=next_at_ms)
    stores.outbox.record([outcome])


def due(stores: Stores, now_ms: int) -> list[str]:
    return [each.id for each in stores.outbox.due_destinations(now_ms)]


def found(stores: Stores, delivery_id: str = "dlv_1") -> Delivery:
    known = stores.outbox.get(TEST, delivery_id)
    assert known is not None
    return known


# Due and claimed


def test_an_empty_outbox_has_nothing_due(stores: Stores) -> None:
    assert stores.outbox.due_destinations(10**15) == ()
    assert stores.outbox.next_due_ms() is None
    assert claim(stores) == []


def test_a_delivery_is_due_when_its_time_has_come(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0], next_at_ms=1_500)])
    assert due(stores, 1_499) == []
    assert due(stores, 1_500) == ["ed_1"]
    assert stores.outbox.next_due_ms() == 1_500
    assert stores.outbox.due_destinations(1_500) == (destination("ed_1"),)


def test_a_delivery_of_an_unknown_notification_or_destination_is_refused(stores: Stores) -> None:
    for stranger in (delivery(1, notification(77)), delivery(1, NOTIFICATIONS[0], "ed_77")):
        with pytest.raises(StreamgaugeError, match="nothing was written"):
            stores.outbox.add([delivery(2, NOTIFICATIONS[0]), stranger])
    assert stores.outbox.get(TEST, "dlv_2") is None


def test_a_claim_gives_what_is_due_longest_first_with_what_is_to_be_sent(stores: Stores) -> None:
    stores.outbox.add(
        [delivery(at, each, at_ms=1_000 - at) for at, each in enumerate(NOTIFICATIONS)]
        + [delivery(10, NOTIFICATIONS[0], "ed_2"), delivery(11, NOTIFICATIONS[1], next_at_ms=1_001)]
    )
    claimed = claim(stores, limit=2)
    assert [each.delivery.id for each in claimed] == ["dlv_4", "dlv_3"]
    assert [each.notification for each in claimed] == [NOTIFICATIONS[4], NOTIFICATIONS[3]]


def test_what_is_claimed_is_not_due_for_others_until_the_claim_expires(stores: Stores) -> None:
    """A process that was killed with a claim in its hands has lost nothing."""
    stores.outbox.add([delivery(1, NOTIFICATIONS[0])])
    (claimed,) = claim(stores, now_ms=1_000)
    assert claim(stores, now_ms=60_999) == []
    assert due(stores, 60_999) == []
    assert stores.outbox.next_due_ms() == 61_000
    (again,) = claim(stores, now_ms=61_000)
    assert again.delivery.id == claimed.delivery.id
    assert again.delivery.tries == 0


def test_many_for_one_destination_hide_nobody_elses(stores: Stores) -> None:
    stores.outbox.add([delivery(number, NOTIFICATIONS[0], at_ms=number) for number in range(1, 300)])
    stores.outbox.add([delivery(500, NOTIFICATIONS[0], "ed_2", at_ms=900)])
    stores.outbox.add([delivery(501, notification(9, OTHER), "ed_3", at_ms=900)])
    assert due(stores, 1_000) == ["ed_1", "ed_2", "ed_3"]
    assert [each.delivery.id for each in claim(stores, "ed_2")] == ["dlv_500"]


def test_of_a_disabled_destination_nothing_is_due_until_it_is_enabled(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0])])
    stores.destinations.save(replace(destination("ed_1"), disabled_reason=DisabledReason.USER))
    assert (due(stores, 2_000), claim(stores), stores.outbox.next_due_ms()) == ([], [], None)
    stores.destinations.save(destination("ed_1"))
    assert [each.delivery.id for each in claim(stores)] == ["dlv_1"]


def test_deleting_a_destination_cancels_what_is_pending_for_it(stores: Stores) -> None:
    stores.outbox.add(
        [delivery(1, NOTIFICATIONS[0]), delivery(2, NOTIFICATIONS[1]), delivery(3, NOTIFICATIONS[0], "ed_2")]
    )
    (claimed,) = claim(stores, limit=1)
    record(stores, claimed.delivery, DeliveryState.DELIVERED)
    stores.destinations.delete(TEST, "ed_1", 1_100)
    assert found(stores, "dlv_1").state is DeliveryState.DELIVERED
    assert (found(stores, "dlv_2").state, found(stores, "dlv_2").next_at_ms) == (DeliveryState.CANCELLED, None)
    assert due(stores, 2_000) == ["ed_2"]
    assert stores.outbox.resend(TEST, "dlv_2", 3_000) == found(stores, "dlv_2")
    assert due(stores, 3_000) == ["ed_2"]


# Attempts


def test_a_delivery_that_arrived_is_never_due_again(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0])])
    (claimed,) = claim(stores)
    record(stores, claimed.delivery, DeliveryState.DELIVERED)
    known = found(stores)
    assert (known.state, known.next_at_ms, known.tries, known.attempts) == (DeliveryState.DELIVERED, None, 1, 1)
    assert due(stores, 10**15) == []


def test_a_failed_attempt_is_repeated_when_it_is_said_to_be(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0])])
    (claimed,) = claim(stores)
    record(stores, claimed.delivery, DeliveryState.PENDING, next_at_ms=5_000)
    assert due(stores, 4_999) == []
    (again,) = claim(stores, now_ms=5_000)
    assert (again.delivery.tries, again.delivery.attempts, again.delivery.begun_ms) == (1, 1, 1_000)
    record(stores, again.delivery, DeliveryState.FAILED, at_ms=5_000)
    known = found(stores)
    assert (known.state, known.next_at_ms, known.tries) == (DeliveryState.FAILED, None, 2)


def test_attempts_are_kept_in_their_order(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0]), delivery(2, NOTIFICATIONS[0], "ed_2")])
    made = [attempt(1_000, None, "timed_out"), attempt(2_000, 503), attempt(3_000, 200)]
    (claimed,) = claim(stores)
    stores.outbox.record(
        [
            Outcome(delivery=claimed.delivery, attempt=each, state=DeliveryState.PENDING, next_at_ms=9_000)
            for each in made
        ]
    )
    assert stores.outbox.attempts(["dlv_1", "dlv_2", "dlv_3"]) == {"dlv_1": tuple(made)}
    assert found(stores).attempts == 3


def test_since_when_a_destination_fails_is_known_until_a_success(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0]), delivery(2, NOTIFICATIONS[1])])
    first, second = claim(stores)
    record(stores, first.delivery, DeliveryState.PENDING, at_ms=1_000, next_at_ms=5_000)
    record(stores, second.delivery, DeliveryState.FAILED, at_ms=2_000)
    failing = stores.destinations.get(TEST, "ed_1")
    assert failing is not None and failing.failing_since_ms == 1_000
    # Whoever saves what was read before the failure does not lose it, and None forgets it.
    stores.destinations.save(replace(failing, failing_since_ms=3_000))
    assert stores.destinations.get(TEST, "ed_1") == failing
    record(stores, first.delivery, DeliveryState.DELIVERED, at_ms=6_000)
    answering = stores.destinations.get(TEST, "ed_1")
    assert answering is not None and answering.failing_since_ms is None


def test_an_attempt_at_what_was_cancelled_meanwhile_changes_that_only_if_it_arrived(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0]), delivery(2, NOTIFICATIONS[1])])
    first, second = claim(stores)
    stores.destinations.delete(TEST, "ed_1", 1_100)
    record(stores, first.delivery, DeliveryState.PENDING, next_at_ms=5_000)
    record(stores, second.delivery, DeliveryState.DELIVERED)
    assert (found(stores, "dlv_1").state, found(stores, "dlv_1").next_at_ms) == (DeliveryState.CANCELLED, None)
    assert found(stores, "dlv_2").state is DeliveryState.DELIVERED


def test_an_attempt_at_what_was_forgotten_meanwhile_is_passed_over(stores: Stores) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0]), delivery(2, NOTIFICATIONS[1], at_ms=990)])
    second, first = claim(stores)
    assert stores.outbox.forget(1_000) == 1
    stores.outbox.record(
        [Outcome(delivery=each.delivery, attempt=attempt(), state=DeliveryState.DELIVERED) for each in (second, first)]
    )
    assert stores.outbox.get(TEST, "dlv_2") is None
    assert found(stores).state is DeliveryState.DELIVERED


# Asked for again


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.PENDING])
def test_whatever_became_of_it_a_delivery_can_be_made_again(stores: Stores, state: DeliveryState) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0])])
    (claimed,) = claim(stores)
    record(stores, claimed.delivery, state, next_at_ms=90_000 if state is DeliveryState.PENDING else None)
    assert stores.outbox.resend(OTHER, "dlv_1", 7_000) is None
    assert stores.outbox.resend(LIVE, "dlv_1", 7_000) is None
    again = stores.outbox.resend(TEST, "dlv_1", 7_000)
    assert again == found(stores)
    assert again is not None
    assert (again.state, again.begun_ms, again.next_at_ms) == (DeliveryState.PENDING, 7_000, 7_000)
    assert (again.tries, again.attempts) == (0, 1)
    assert [each.delivery.id for each in claim(stores, now_ms=7_000)] == ["dlv_1"]


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.PENDING])
def test_what_is_asked_for_while_an_attempt_is_under_way_is_made_after_it(stores: Stores, state: DeliveryState) -> None:
    stores.outbox.add([delivery(1, NOTIFICATIONS[0])])
    (under_way,) = claim(stores)
    stores.outbox.resend(TEST, "dlv_1", 1_500)
    record(stores, under_way.delivery, state, next_at_ms=90_000 if state is DeliveryState.PENDING else None)
    known = found(stores)
    assert (known.state, known.tries, known.attempts, known.next_at_ms) == (DeliveryState.PENDING, 0, 1, 1_500)


# Looked at


def test_deliveries_are_listed_newest_first_by_what_is_asked_for(stores: Stores) -> None:
    stores.outbox.add(
        [
            delivery(1, NOTIFICATIONS[0], at_ms=1_000),
            delivery(2, NOTIFICATIONS[0], "ed_2", at_ms=1_001),
            delivery(3, NOTIFICATIONS[1], at_ms=1_002),
            delivery(4, notification(9, OTHER), "ed_3", at_ms=1_003),
        ]
    )
    (claimed,) = claim(stores, limit=1)
    record(stores, claimed.delivery, DeliveryState.DELIVERED)

    def listed(page: Page | None = None, **filters: object) -> list[str]:
        return [each.id for each in stores.outbox.list(TEST, page or Page(), **filters).items]  # type: ignore[arg-type]

    assert listed() == ["dlv_3", "dlv_2", "dlv_1"]
    assert listed(destination_id="ed_1") == ["dlv_3", "dlv_1"]
    assert listed(notification_id="evt_1") == ["dlv_2", "dlv_1"]
    assert listed(state=DeliveryState.DELIVERED) == ["dlv_1"]
    assert listed(destination_id="ed_2", state=DeliveryState.DELIVERED) == []
    assert listed(Page(limit=1, starting_after="dlv_3")) == ["dlv_2"]
    assert stores.outbox.get(OTHER, "dlv_1") is None


def test_what_is_not_delivered_is_counted_by_notification_and_what_is_pending_by_destination(stores: Stores) -> None:
    stores.outbox.add([delivery(number, NOTIFICATIONS[0], "ed_1", at_ms=number) for number in (1, 2, 3)])
    stores.outbox.add([delivery(4, NOTIFICATIONS[0], "ed_2"), delivery(5, NOTIFICATIONS[1], "ed_2")])
    first, second = claim(stores, limit=2)
    record(stores, first.delivery, DeliveryState.DELIVERED)
    record(stores, second.delivery, DeliveryState.FAILED)
    assert stores.outbox.undelivered(["evt_1", "evt_2", "evt_3"]) == {"evt_1": 3, "evt_2": 1}
    assert stores.outbox.pending(TEST) == {"ed_1": 1, "ed_2": 2}
    assert stores.outbox.pending(OTHER) == {}


def test_a_delivery_is_forgotten_when_it_and_its_last_attempt_are_old(stores: Stores) -> None:
    stores.outbox.add([delivery(number, NOTIFICATIONS[number], at_ms=number) for number in (1, 2, 3)])
    first, second, _ = claim(stores, now_ms=10)
    record(stores, first.delivery, DeliveryState.FAILED, at_ms=20)
    record(stores, second.delivery, DeliveryState.FAILED, at_ms=40)
    assert stores.outbox.forget(30) == 2
    assert stores.outbox.attempts(["dlv_1"]) == {}
    assert [each.id for each in stores.outbox.list(TEST, Page()).items] == ["dlv_2"]
    assert stores.notifications.forget(30) == 5
