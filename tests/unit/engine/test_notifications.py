"""Notifications: announced with their effect, once for every destination that is to hear of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgauge.domain.errors import NotFound
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import (
    ALERT_TRIGGERED,
    DESTINATION_PING,
    ERROR_REPORT_TRIGGERED,
    METER_CREATED,
    NO_METER_FOUND,
    RETENTION_MS,
    STYLES,
    THIN_TWINS,
    Style,
)
from streamgauge.engine.notifications import FORGET_INTERVAL_MS, NotificationDraft, Notifications
from streamgauge.engine.ports.control_store import Page
from streamgauge.engine.ports.notifications import NotificationFilter
from tests.support.control import CountingEntropy, SettableClock
from tests.support.control_stores import ADAPTERS
from tests.support.notified import LIVE, OTHER, TEST, destination
from tests.support.notifying import Stores, opened_stores

THIN, SNAPSHOT = NotificationFilter(style=Style.THIN), NotificationFilter(style=Style.SNAPSHOT)
REPORT = NotificationDraft(tenant=TEST, type=ERROR_REPORT_TRIGGERED, data={"count": 3})
CREATED = NotificationDraft(tenant=TEST, type=METER_CREATED, data={"id": "mtr_1"})


class Cancelled(Exception):
    """Of the effect that is told of."""


class Bench:
    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self.clock = SettableClock()
        self.notifications = Notifications(
            stores.control, stores.notifications, stores.destinations, stores.outbox, self.clock, CountingEntropy()
        )
        self.woken = 0
        self.notifications.when_committed(self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def listed(self, wanted: NotificationFilter) -> list[str]:
        return [each.type for each in self.notifications.list(TEST, Page(), wanted).items]

    def sent(self) -> list[tuple[str, str]]:
        """Destination and type of every delivery of the tenant."""
        return sorted(
            (each.destination_id, self.notifications.get(TEST, each.notification_id).type)
            for each in self.stores.outbox.list(TEST, Page(limit=100)).items
        )


@pytest.fixture(params=ADAPTERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with opened_stores(request.param, tmp_path) as stores:
        yield Bench(stores)


def test_what_is_announced_is_kept_as_it_was_said(bench: Bench) -> None:
    told = bench.notifications.announce(REPORT)
    assert told == bench.notifications.get(TEST, told.id)
    assert (told.type, told.data, told.created_ms) == (ERROR_REPORT_TRIGGERED, {"count": 3}, bench.clock.ms)
    with pytest.raises(NotFound):
        bench.notifications.get(OTHER, told.id)


def test_a_thin_notification_goes_with_a_snapshot_and_refers_to_it(bench: Bench) -> None:
    told = bench.notifications.announce(CREATED)
    assert bench.listed(SNAPSHOT) == [METER_CREATED]
    (twin,) = bench.notifications.list(TEST, Page(), THIN).items
    assert (twin.type, twin.snapshot_id, twin.data) == ("v1.billing.meter.created", told.id, {})


LISTENERS: list[tuple[EventDestination, list[str]]] = [
    (destination("all_snapshots"), [METER_CREATED]),
    (destination("all_thin", style=Style.THIN), [ERROR_REPORT_TRIGGERED, "v1.billing.meter.created"]),
    (destination("reports", style=Style.THIN, enabled_events=(ERROR_REPORT_TRIGGERED,)), [ERROR_REPORT_TRIGGERED]),
    (destination("alerts", enabled_events=(ALERT_TRIGGERED,)), []),
    (destination("others", OTHER), []),
    (destination("live", LIVE), []),
]


def test_a_destination_hears_of_what_it_listens_to(bench: Bench) -> None:
    for each, _ in LISTENERS:
        bench.stores.destinations.add(each)
    bench.notifications.announce(REPORT)
    bench.notifications.announce(CREATED)
    assert bench.sent() == sorted((each.id, of_type) for each, types in LISTENERS for of_type in types)


def test_one_that_is_named_alone_hears_of_what_is_for_it(bench: Bench) -> None:
    for each, _ in LISTENERS:
        bench.stores.destinations.add(each)
    ping = NotificationDraft(tenant=TEST, type=DESTINATION_PING, data={})
    bench.notifications.announce(ping, only_to=destination("alerts", enabled_events=(ALERT_TRIGGERED,)))
    assert bench.sent() == [("alerts", DESTINATION_PING)]


def test_what_is_undone_was_never_announced_and_wakes_nobody(bench: Bench) -> None:
    bench.stores.destinations.add(destination())
    with pytest.raises(Cancelled), bench.stores.control.transaction():
        bench.notifications.announce(CREATED)
        raise Cancelled
    assert (bench.listed(SNAPSHOT), bench.listed(THIN), bench.sent(), bench.woken) == ([], [], [], 0)


def test_whoever_delivers_is_woken_after_the_commit_and_not_before(bench: Bench) -> None:
    bench.stores.destinations.add(destination())
    with bench.stores.control.transaction():
        bench.notifications.announce(CREATED)
        assert bench.woken == 0
    assert bench.woken == 1
    assert [each.id for each in bench.stores.outbox.due_destinations(bench.clock.ms)] == ["ed_1"]


def test_what_is_older_than_the_retention_is_forgotten_with_its_deliveries(bench: Bench) -> None:
    bench.stores.destinations.add(destination())
    old = bench.notifications.announce(CREATED)
    bench.clock.ms += FORGET_INTERVAL_MS
    kept = bench.notifications.announce(CREATED)
    bench.clock.ms = kept.created_ms + RETENTION_MS
    newest = bench.notifications.announce(CREATED)
    found = bench.notifications.list(TEST, Page(), SNAPSHOT).items
    assert [each.id for each in found] == [newest.id, kept.id]
    assert old.id not in {each.notification_id for each in bench.stores.outbox.list(TEST, Page()).items}


def test_every_snapshot_has_a_twin_and_every_type_a_style() -> None:
    snapshots = {each for each, style in STYLES.items() if style is Style.SNAPSHOT}
    assert THIN_TWINS.keys() == snapshots
    assert all(STYLES[twin] is Style.THIN for twin in THIN_TWINS.values())
    assert STYLES[NO_METER_FOUND] is Style.THIN
