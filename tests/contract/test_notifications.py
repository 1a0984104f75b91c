"""The contracts of `NotificationStore`, `DestinationStore` and `Marks`, run on every adapter."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamgauge.domain.delivery import Attempt, DeliveryState
from streamgauge.domain.errors import NotFound, StreamgaugeError, UnknownCursor
from streamgauge.domain.event_destination import DisabledReason, MadeBy
from streamgauge.domain.notification import (
    DESTINATION_PING,
    ERROR_REPORT_TRIGGERED,
    METER_CREATED,
    METER_UPDATED,
    NO_METER_FOUND,
    Cause,
    Style,
)
from streamgauge.engine.ports.control_store import Page
from streamgauge.engine.ports.notifications import NotificationFilter
from streamgauge.engine.ports.outbox import Outcome
from tests.support.control_stores import ADAPTERS
from tests.support.notified import LIVE, OTHER, TEST, delivery, destination, notification
from tests.support.notifying import Stores, opened_stores


class Cancelled(Exception):
    """Of the caller, in the middle of a transaction."""


@pytest.fixture(params=ADAPTERS)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    with opened_stores(request.param, tmp_path) as opened:
        yield opened


def listed(stores: Stores, style: Style = Style.SNAPSHOT, page: Page | None = None, **wanted: object) -> list[str]:
    """Ids of one page of the notifications of `TEST`."""
    passing = NotificationFilter(style=style, **wanted)  # type: ignore[arg-type]
    return [each.id for each in stores.notifications.list(TEST, page or Page(limit=100), passing).items]


# Notifications


def test_a_notification_is_read_as_it_was_written(stores: Stores) -> None:
    whole = replace(
        notification(1, of_type=METER_UPDATED),
        previous_attributes={"display_name": "Zoe"},
        snapshot_id="evt_0",
        cause=Cause(request_id="req_1"),
    )
    bare = replace(notification(2, of_type=NO_METER_FOUND), related=None, data={})
    stores.notifications.add([whole, bare])
    assert stores.notifications.get(TEST, "evt_1") == whole
    assert stores.notifications.get(TEST, "evt_2") == bare
    assert stores.notifications.get(TEST, "evt_3") is None


@pytest.mark.parametrize("stranger", [LIVE, OTHER])
def test_a_notification_of_another_account_or_mode_is_not_visible(stores: Stores, stranger: object) -> None:
    stores.notifications.add([notification(1), notification(2, stranger)])  # type: ignore[arg-type]
    assert stores.notifications.get(TEST, "evt_2") is None
    assert listed(stores) == ["evt_1"]


def test_an_id_that_is_taken_is_refused_and_none_of_them_is_written(stores: Stores) -> None:
    stores.notifications.add([notification(1)])
    with pytest.raises(StreamgaugeError, match="nothing was written"):
        stores.notifications.add([notification(2), notification(1)])
    assert listed(stores) == ["evt_1"]


def test_what_is_written_in_a_transaction_goes_with_it(stores: Stores) -> None:
    stores.destinations.add(destination())
    with pytest.raises(Cancelled), stores.control.transaction():
        stores.notifications.add([notification(1)])
        stores.outbox.add([delivery(1, notification(1))])
        stores.destinations.save(replace(destination(), url="http://other"))
        stores.destinations.add(destination("ed_2"))
        stores.marks.put("reader", 7)
        raise Cancelled
    assert listed(stores) == []
    assert stores.outbox.get(TEST, "dlv_1") is None
    assert stores.destinations.list(TEST, Page()).items == (destination(),)
    assert stores.marks.get("reader") is None


def test_lists_are_newest_first_and_cut_at_cursors(stores: Stores) -> None:
    stores.notifications.add([notification(number) for number in (3, 1, 5, 2, 4)])
    assert listed(stores) == ["evt_5", "evt_4", "evt_3", "evt_2", "evt_1"]
    assert listed(stores, page=Page(limit=2, starting_after="evt_4")) == ["evt_3", "evt_2"]
    assert listed(stores, page=Page(limit=2, ending_before="evt_2")) == ["evt_4", "evt_3"]
    with pytest.raises(UnknownCursor):
        listed(stores, page=Page(starting_after="evt_9"))


def test_each_style_has_a_list_of_its_own(stores: Stores) -> None:
    stores.notifications.add([notification(1), notification(2, of_type=ERROR_REPORT_TRIGGERED)])
    assert listed(stores, Style.SNAPSHOT) == ["evt_1"]
    assert listed(stores, Style.THIN) == ["evt_2"]


@pytest.mark.parametrize(
    ("types", "found"),
    [
        ((), ["evt_3", "evt_2", "evt_1"]),
        ((ERROR_REPORT_TRIGGERED,), ["evt_1"]),
        ((ERROR_REPORT_TRIGGERED, DESTINATION_PING), ["evt_3", "evt_1"]),
        (("v1.billing.*",), ["evt_2", "evt_1"]),
        (("V1.billing.*",), []),
        (("v1.billing.meter.error_report",), []),
        (("*",), ["evt_3", "evt_2", "evt_1"]),
        (("v1_billing%",), []),
    ],
)
def test_types_are_exact_or_a_beginning_and_a_star(stores: Stores, types: tuple[str, ...], found: list[str]) -> None:
    given = enumerate((ERROR_REPORT_TRIGGERED, NO_METER_FOUND, DESTINATION_PING), start=1)
    stores.notifications.add([notification(number, of_type=each) for number, each in given])
    assert listed(stores, Style.THIN, types=types) == found


def test_bounds_are_half_open_and_filters_are_all_to_pass(stores: Stores) -> None:
    stores.notifications.add([notification(number) for number in range(1, 6)])
    assert listed(stores, created_from_ms=2, created_before_ms=4) == ["evt_3", "evt_2"]
    assert listed(stores, object_id="mtr_3") == ["evt_3"]
    assert listed(stores, object_id="mtr_3", created_before_ms=3) == []


def test_whether_everything_was_delivered_can_be_asked(stores: Stores) -> None:
    stores.destinations.add(destination())
    told = [notification(number) for number in range(1, 5)]
    stores.notifications.add(told)
    stores.outbox.add([delivery(number, each) for number, each in enumerate(told[:3], start=1)])
    for claimed in stores.outbox.claim("ed_1", 1_000, 2_000, 10)[:2]:
        state = DeliveryState.DELIVERED if claimed.notification.id == "evt_1" else DeliveryState.FAILED
        attempt = Attempt(at_ms=1_000, status=200, error=None, duration_ms=1, response_excerpt=None)
        stores.outbox.record([Outcome(delivery=claimed.delivery, attempt=attempt, state=state)])
    assert listed(stores, delivered=True) == ["evt_4", "evt_1"]
    assert listed(stores, delivered=False) == ["evt_3", "evt_2"]


def test_old_notifications_are_forgotten_but_not_while_a_delivery_needs_them(stores: Stores) -> None:
    stores.destinations.add(destination())
    stores.notifications.add([notification(1), notification(2), notification(3)])
    stores.outbox.add([delivery(1, notification(1))])
    assert stores.notifications.forget(3) == 1
    assert listed(stores) == ["evt_3", "evt_1"]


# Destinations


def test_a_destination_is_read_as_it_was_written(stores: Stores) -> None:
    assert stores.destinations.is_empty()
    stores.destinations.add(destination())
    assert stores.destinations.get(TEST, "ed_1") == destination()
    assert stores.destinations.get(LIVE, "ed_1") is None
    assert stores.destinations.get(OTHER, "ed_1") is None
    assert not stores.destinations.is_empty()


def test_saving_replaces_what_may_change_and_nothing_else(stores: Stores) -> None:
    stores.destinations.add(destination())
    changed = replace(
        destination(),
        name="Theirs",
        description="for them",
        url="https://example.com/",
        enabled_events=(METER_CREATED,),
        metadata={},
        api_version="2026-01-01",
        updated_ms=9,
        disabled_reason=DisabledReason.FAILING,
        secret_version=2,
        previous_secret_expires_ms=77,
    )
    stores.destinations.save(replace(changed, made_by=MadeBy.V1, style=Style.THIN, created_ms=5))
    assert stores.destinations.get(TEST, "ed_1") == changed


def test_saving_a_destination_that_is_not_there_is_told(stores: Stores) -> None:
    with pytest.raises(NotFound):
        stores.destinations.save(destination())
    stores.destinations.add(destination())
    with pytest.raises(NotFound):
        stores.destinations.save(destination(tenant=OTHER))
    stores.destinations.delete(TEST, "ed_1", 5)
    with pytest.raises(NotFound):
        stores.destinations.save(destination())


def test_destinations_are_listed_newest_first_all_or_of_one_style(stores: Stores) -> None:
    for number, style in enumerate((Style.THIN, Style.SNAPSHOT, Style.THIN), start=1):
        stores.destinations.add(destination(f"ed_{number}", style=style, created_ms=number))
    stores.destinations.add(destination("ed_4", OTHER))
    assert [each.id for each in stores.destinations.list(TEST, Page()).items] == ["ed_3", "ed_2", "ed_1"]
    assert [each.id for each in stores.destinations.list(TEST, Page(), Style.THIN).items] == ["ed_3", "ed_1"]
    page = stores.destinations.list(TEST, Page(limit=1, starting_after="ed_3"))
    assert ([each.id for each in page.items], page.has_more) == (["ed_2"], True)


def test_those_that_are_enabled_are_told_apart(stores: Stores) -> None:
    for number in (1, 2, 3):
        stores.destinations.add(destination(f"ed_{number}", created_ms=number))
    stores.destinations.save(replace(destination("ed_2", created_ms=2), disabled_reason=DisabledReason.USER))
    assert [each.id for each in stores.destinations.enabled(TEST)] == ["ed_1", "ed_3"]
    assert stores.destinations.enabled(OTHER) == ()
    assert stores.destinations.count(TEST) == 3


def test_a_deleted_destination_is_nowhere_but_a_page_may_go_on_behind_it(stores: Stores) -> None:
    for number in (1, 2):
        stores.destinations.add(destination(f"ed_{number}", created_ms=number))
    assert not stores.destinations.delete(OTHER, "ed_2", 5)
    assert stores.destinations.delete(TEST, "ed_2", 5)
    assert not stores.destinations.delete(TEST, "ed_2", 6)
    assert stores.destinations.get(TEST, "ed_2") is None
    assert stores.destinations.count(TEST) == 1
    assert [each.id for each in stores.destinations.enabled(TEST)] == ["ed_1"]
    assert [each.id for each in stores.destinations.list(TEST, Page(starting_after="ed_2")).items] == ["ed_1"]
    with pytest.raises(StreamgaugeError, match="nothing was written"):
        stores.destinations.add(destination("ed_2"))


# Marks


def test_a_mark_is_what_was_put_there_last(stores: Stores) -> None:
    assert stores.marks.get("reader") is None
    stores.marks.put("reader", 3)
    stores.marks.put("other", 5)
    stores.marks.put("reader", 2**62)
    assert (stores.marks.get("reader"), stores.marks.get("other")) == (2**62, 5)
