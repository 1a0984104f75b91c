"""Destinations: what is decided beside the API, whose tests have the rest."""

from dataclasses import replace

import pytest

from streamgauge.domain.delivery import Attempt, DeliveryState
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.event_destination import DisabledReason, EventDestination, MadeBy, signing_secret
from streamgauge.domain.notification import DESTINATION_DISABLED, Style
from streamgauge.engine.destinations import DestinationChanges, DestinationDraft, Destinations
from streamgauge.engine.notifications import Notifications
from streamgauge.engine.ports.control_store import Page
from streamgauge.engine.ports.notifications import NotificationFilter
from streamgauge.engine.ports.outbox import Outcome
from tests.support.control import CountingEntropy, SettableClock, store_with_accounts
from tests.support.notified import OTHER, TEST
from tests.support.notifying import on

ROOT = b"\x01" * 32
DRAFT = DestinationDraft(
    made_by=MadeBy.V2,
    name="Ours",
    description="",
    url="https://example.com/",
    style=Style.THIN,
    enabled_events=("*",),
    metadata={},
    api_version=None,
)


class Bench:
    def __init__(self) -> None:
        control = store_with_accounts("acct_1", "acct_2")
        self.stores, self.clock, entropy = on(control), SettableClock(), CountingEntropy()
        self.notifications = Notifications(
            control, self.stores.notifications, self.stores.destinations, self.stores.outbox, self.clock, entropy
        )
        self.destinations = Destinations(
            control, self.stores.destinations, self.notifications, self.clock, entropy, ROOT
        )

    def attempted(self, destination: EventDestination, state: DeliveryState) -> None:
        """One attempt at whatever is due there."""
        now_ms = self.clock.ms
        (claimed,) = self.stores.outbox.claim(destination.id, now_ms, now_ms + 1_000, 1)
        attempt = Attempt(at_ms=now_ms, status=500, error=None, duration_ms=1, response_excerpt=None)
        self.stores.outbox.record([Outcome(delivery=claimed.delivery, attempt=attempt, state=state)])

    def failing(self) -> EventDestination:
        """A destination whose last attempt failed."""
        made = self.destinations.create(TEST, DRAFT)
        self.destinations.ping(TEST, made.id)
        self.attempted(made, DeliveryState.FAILED)
        return self.destinations.get(TEST, made.id)

    def told(self) -> list[str]:
        found = self.notifications.list(TEST, Page(), NotificationFilter(style=Style.THIN))
        return [each.type for each in found.items]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_destination_that_fails_for_too_long_is_disabled_and_the_others_hear_of_it(bench: Bench) -> None:
    failing, listening = bench.failing(), bench.destinations.create(TEST, DRAFT)
    assert bench.destinations.disable_failing(failing)
    assert bench.destinations.get(TEST, failing.id).disabled_reason is DisabledReason.FAILING
    assert bench.told()[0] == DESTINATION_DISABLED
    assert bench.stores.outbox.pending(TEST) == {listening.id: 1}


def test_it_is_disabled_and_told_once(bench: Bench) -> None:
    failing = bench.failing()
    assert bench.destinations.disable_failing(failing)
    assert not bench.destinations.disable_failing(failing)
    assert bench.told().count(DESTINATION_DISABLED) == 1


def test_one_that_answered_meanwhile_or_was_deleted_is_left_alone(bench: Bench) -> None:
    answering, deleted = bench.failing(), bench.failing()
    bench.destinations.ping(TEST, answering.id)
    bench.attempted(answering, DeliveryState.DELIVERED)
    bench.destinations.delete(TEST, deleted.id)
    assert not bench.destinations.disable_failing(answering)
    assert not bench.destinations.disable_failing(deleted)
    assert bench.destinations.get(TEST, answering.id).is_enabled


def test_whoever_enables_it_again_starts_anew(bench: Bench) -> None:
    failing = bench.failing()
    bench.destinations.disable_failing(failing)
    enabled = bench.destinations.switch(TEST, failing.id, enabled=True)
    assert (enabled.is_enabled, enabled.failing_since_ms) == (True, None)
    assert not bench.destinations.disable_failing(enabled)


def test_switching_off_by_hand_keeps_since_when_it_fails(bench: Bench) -> None:
    failing = bench.failing()
    disabled = bench.destinations.switch(TEST, failing.id, enabled=False)
    assert disabled.disabled_reason is DisabledReason.USER
    assert bench.destinations.get(TEST, failing.id).failing_since_ms == failing.failing_since_ms


def test_a_change_that_is_refused_changes_nothing(bench: Bench) -> None:
    made = bench.destinations.create(TEST, DRAFT)
    with pytest.raises(InvalidRequest):
        bench.destinations.update(TEST, made.id, DestinationChanges(name="Theirs", url="ftp://x"))
    with pytest.raises(InvalidRequest):
        bench.destinations.update(TEST, made.id, DestinationChanges(name="Theirs", enabled_events=("nonsense",)))
    assert bench.destinations.get(TEST, made.id) == made


def test_nothing_of_another_account_can_be_touched(bench: Bench) -> None:
    made = bench.destinations.create(TEST, DRAFT)
    for touch in (
        lambda: bench.destinations.get(OTHER, made.id),
        lambda: bench.destinations.update(OTHER, made.id, DestinationChanges(name="x")),
        lambda: bench.destinations.switch(OTHER, made.id, enabled=False),
        lambda: bench.destinations.ping(OTHER, made.id),
        lambda: bench.destinations.roll_secret(OTHER, made.id, 0),
        lambda: bench.destinations.delete(OTHER, made.id),
    ):
        with pytest.raises(NotFound):
            touch()
    assert bench.destinations.get(TEST, made.id) == made


def test_two_rolls_leave_two_secrets_the_newest_and_the_one_before(bench: Bench) -> None:
    made = bench.destinations.create(TEST, DRAFT)
    bench.destinations.roll_secret(TEST, made.id, 3_600)
    rolled = bench.destinations.roll_secret(TEST, made.id, 3_600)
    expected = [signing_secret(ROOT, made.id, version) for version in (3, 2)]
    assert list(bench.destinations.signing_secrets(rolled)) == expected
    bench.clock.ms += 3_600_000
    assert list(bench.destinations.signing_secrets(rolled)) == expected[:1]


def test_secrets_of_other_roots_destinations_and_versions_differ() -> None:
    secrets = {
        signing_secret(root, destination_id, version)
        for root in (ROOT, bytes(32))
        for destination_id in ("ed_1", "ed_11", "ed_2")
        for version in (1, 2, 11)
    }
    assert len(secrets) == 18


def test_a_destination_is_shown_without_its_secret(bench: Bench) -> None:
    made = bench.destinations.create(TEST, DRAFT)
    secret = bench.destinations.secret(made.id, 1)
    assert secret not in repr(replace(made, secret_version=1))
