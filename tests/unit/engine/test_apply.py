"""What becomes of events, one rule at a time, on memory adapters."""

from dataclasses import replace
from decimal import Decimal

import pytest

from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.errors import Corrupt, Unavailable
from streamgauge.domain.event_block import block_of, encode
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.domain.tally import Tally
from streamgauge.engine.ports.progress import Intent
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, WINDOW_MS, Event, World, request

pytestmark = pytest.mark.usefixtures("both_ways")

LIVE = Tenant(TENANT.account_id, livemode=True)
OTHER = Tenant("acct_other", livemode=False)


@pytest.fixture
def world() -> World:
    return World()


def test_an_event_of_a_known_meter_and_customer_counts(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="2.5"), Event("b", value="-1"))
    world.apply()
    assert world.fates("a") == ["counted"]
    assert world.total(meter) == Decimal("1.5")


def test_what_is_not_applied_yet_waits(world: World) -> None:
    world.accept(Event("a"), Event("b"))
    world.accept(Event("c"))
    assert world.applier.waiting == 3
    world.apply()
    assert world.applier.waiting == 0
    world.accept(Event("d"))
    assert world.applier.waiting == 1


def test_decimals_add_up_exactly(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(*(Event(f"e{n}", value="0.1") for n in range(30)))
    world.accept(Event("large", value="999999999999999"), Event("small", value="0.000000000000001"))
    world.apply()
    assert world.total(meter) == Decimal("1000000000000002.000000000000001")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (Event("x", event_name="nothing"), "no_meter"),
        (Event("x", timestamp_ms=START_MS - 35 * DAY_MS - 60_000), "timestamp_too_far_in_past"),
        (Event("x", timestamp_ms=START_MS + 6 * 60_000), "timestamp_in_future"),
        (Event("x", payload={"value": "1"}), "meter_event_no_customer_defined"),
        (Event("x", payload={"value": "1", "stripe_customer_id": ""}), "meter_event_no_customer_defined"),
        (Event("x", customer="cus_stranger"), "meter_event_customer_not_found"),
        (Event("x", payload={"stripe_customer_id": "cus_1"}), "meter_event_value_not_found"),
        (Event("x", value="many"), "meter_event_invalid_value"),
        (Event("x", value=""), "meter_event_invalid_value"),
        (Event("x", value="1e3"), "meter_event_invalid_value"),
        (Event("x", value="NaN"), "meter_event_invalid_value"),
        (Event("x", value="١٢"), "meter_event_invalid_value"),
        (Event("x", value="1\n"), "meter_event_invalid_value"),
        (Event("x", value="1234567890123456"), "meter_event_value_too_many_digits"),
        (Event("x", value="0.1234567890123456"), "meter_event_value_too_many_digits"),
        (Event("x", value="000000000000000000001"), "counted"),
        (Event("x", timestamp_ms=START_MS - 35 * DAY_MS + 60_000), "counted"),
        (Event("x", timestamp_ms=START_MS + 4 * 60_000), "counted"),
    ],
)
def test_an_event_that_cannot_count_is_rejected_with_the_documented_code(world: World, event: Event, code: str) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(event)
    world.apply()
    assert world.fates("x") == [code]


def test_a_count_meter_needs_no_value(world: World) -> None:
    meter = world.add_meter(formula=Formula.COUNT)
    world.add_customer()
    world.accept(Event("a", payload={"stripe_customer_id": "cus_1"}), Event("b", value="not looked at"))
    world.apply()
    assert world.total(meter) == 2


def test_the_same_identifier_counts_once_inside_a_request_across_requests_and_across_a_restart(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="5"), Event("a", value="5"))
    world.apply()
    world.accept(Event("a", value="5"))
    world.apply()
    world.restart()
    world.accept(Event("a", value="7"))
    world.apply()
    assert world.fates("a") == ["counted", "duplicate", "duplicate", "duplicate"]
    assert world.total(meter) == 5


def test_a_corrected_resend_of_a_rejected_event_counts_and_later_repeats_do_not(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="wrong"), Event("a", value="3"), Event("a", value="wrong again"))
    world.apply()
    assert world.fates("a") == ["meter_event_invalid_value", "counted", "duplicate"]
    assert world.total(meter) == 3


def test_an_identifier_is_free_again_after_the_deduplication_window(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a"))
    world.apply()
    world.clock.at_ms += WINDOW_MS - 1000
    world.accept(Event("a"))
    world.apply()
    world.clock.at_ms += 2000
    world.accept(Event("a"))
    world.accept(Event("a"))
    world.apply()
    assert world.fates("a") == ["counted", "duplicate", "counted", "duplicate"]
    assert world.total(meter) == 2


def test_a_backlog_longer_than_the_window_gives_the_same_fates_as_applying_at_once(world: World) -> None:
    world.add_meter()
    world.add_customer()
    for _ in range(3):
        world.accept(Event("a"))
        world.clock.at_ms += WINDOW_MS // 2 + HOUR_MS
    world.apply()
    assert world.fates("a") == ["counted", "duplicate", "counted"]


def test_an_event_that_waited_through_a_restart_is_judged_by_the_window_before_its_own_receipt(world: World) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(Event("a"))
    world.apply()
    world.clock.at_ms += WINDOW_MS - HOUR_MS
    world.accept(Event("a"))
    world.clock.at_ms += 2 * HOUR_MS  # now the claim has left the window, but it had not when the repeat came
    world.restart()
    world.apply()
    assert world.fates("a") == ["counted", "duplicate"]


def test_identifiers_meters_and_customers_of_other_accounts_and_modes_stay_apart(world: World) -> None:
    world.control.add_account(Account(id=OTHER.account_id, name="other", created_ms=0))
    meters = {}
    for tenant in (TENANT, LIVE, OTHER):
        meters[tenant] = world.add_meter(tenant=tenant, meter_id=f"mtr_{tenant.account_id}_{tenant.livemode}")
        world.add_customer(tenant=tenant)
    world.accept(Event("a", value="1"))
    world.accept(Event("a", value="10"), tenant=LIVE)
    world.accept(Event("a", value="100"), tenant=OTHER)
    world.apply()
    assert [world.total(meters[tenant]) for tenant in (TENANT, LIVE, OTHER)] == [1, 10, 100]


def test_an_event_finds_the_catalogue_as_it_stood_when_it_was_received(world: World) -> None:
    world.accept(Event("before", customer="cus_1"))
    meter = world.add_meter()
    world.accept(Event("no customer yet"))
    customer = world.add_customer()
    world.accept(Event("good"))
    meter = world.change_meter(meter, active=False)
    world.accept(Event("archived"))
    meter = world.change_meter(meter, active=True)
    world.accept(Event("good again"))
    world.delete_customer(customer)
    world.accept(Event("deleted"))
    # Applied only now, after all changes: what each event found must not depend on that.
    world.restart()
    world.apply()
    names = ("before", "no customer yet", "good", "archived", "good again", "deleted")
    assert [world.fates(name) for name in names] == [
        ["no_meter"],
        ["meter_event_customer_not_found"],
        ["counted"],
        ["archived_meter"],
        ["counted"],
        ["meter_event_customer_not_found"],
    ]


def test_a_meter_finds_its_events_also_after_the_clock_stepped_back(world: World) -> None:
    world.add_customer()
    world.accept(Event("a"))
    world.clock.at_ms -= 10 * HOUR_MS
    world.add_meter()
    world.clock.at_ms -= 10 * HOUR_MS
    world.accept(Event("b"))
    world.apply()
    assert (world.fates("a"), world.fates("b")) == (["no_meter"], ["counted"])


def test_unknown_customers_count_when_the_setting_accepts_them() -> None:
    world = World(accept_unknown_customers=True)
    meter = world.add_meter()
    world.accept(Event("a", customer="anyone", value="4"))
    world.apply()
    assert world.total(meter, "anyone") == 4


def test_last_is_the_greatest_timestamp_and_among_equals_the_one_logged_last(world: World) -> None:
    meter = world.add_meter(formula=Formula.LAST)
    world.add_customer()
    world.accept(
        Event("a", value="1", timestamp_ms=START_MS - 1000),
        Event("b", value="2", timestamp_ms=START_MS - 500),
        Event("c", value="3", timestamp_ms=START_MS - 500),
        Event("d", value="4", timestamp_ms=START_MS - 2000),
    )
    world.apply()
    assert world.total(meter) == 3


def test_within_an_event_time_window_only_the_event_received_last_counts(world: World) -> None:
    meter = world.add_meter(window=EventTimeWindow.HOUR)
    world.add_customer()
    hour_ms = START_MS // HOUR_MS * HOUR_MS
    world.accept(Event("a", value="10", timestamp_ms=hour_ms - 1), Event("b", value="20", timestamp_ms=hour_ms - 1000))
    world.accept(Event("c", value="5", timestamp_ms=hour_ms - HOUR_MS - 1))
    world.apply()
    assert world.total(meter) == 25


def test_meters_may_name_other_payload_keys(world: World) -> None:
    plain = world.add_meter()
    with world.catalogue.change() as change:
        own = replace(plain, id="mtr_own", event_name="own", customer_key="who", value_key="amount")
        world.control.add_meter(own)
        change.put_meter(own)
    world.add_customer()
    world.accept(
        Event("a", event_name="own", payload={"amount": "7", "extra": "x", "who": "cus_1"}),
        Event("b", value="1"),
        Event("c", event_name="own", value="1"),
    )
    world.apply()
    assert [world.total(own), world.total(plain)] == [7, 1]
    assert world.fates("c") == ["meter_event_no_customer_defined"]


class _StoreThatDies:
    """Dies once, before or after the insert."""

    def __init__(self, world: World, *, after_insert: bool) -> None:
        self._store = world.store
        self._after_insert = after_insert
        self._died = False

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        if not self._died and not self._after_insert:
            self._died = True
            raise Unavailable("died")
        self._store.insert(events, step=step, again=again)
        if not self._died:
            self._died = True
            raise Unavailable("died")

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


@pytest.mark.parametrize("after_insert", [False, True])
def test_a_crash_around_the_insert_neither_loses_nor_doubles(world: World, after_insert: bool) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="1"), Event("a", value="1"), Event("b", value="10"))
    whole = world.store
    world.store = _StoreThatDies(world, after_insert=after_insert)  # type: ignore[assignment]
    world.restart()
    with pytest.raises(Unavailable):
        world.apply()
    # More arrives before the restart: the redo must still take exactly the range of the intent.
    world.accept(Event("b", value="10"), Event("c", value="100"))
    world.store = whole
    world.restart()
    world.apply()
    assert world.total(meter) == 111
    assert world.fates("b") == ["counted", "duplicate"]


class _StoreThatRemembers(_StoreThatDies):
    """Dies after its first insert, and keeps what each insert was given."""

    def __init__(self, world: World) -> None:
        super().__init__(world, after_insert=True)
        self.inserts: list[tuple[int, bool, SettledEvents]] = []

    def insert(self, events: SettledEvents, *, step: int, again: bool = False) -> None:
        self.inserts.append((step, again, events))
        super().insert(events, step=step, again=again)


def test_a_step_has_no_more_bytes_than_a_column_of_text_may_and_at_least_one_record() -> None:
    world = World(step_bytes_max=3_000)
    meter = world.add_meter()
    world.add_customer()
    long = {"stripe_customer_id": "cus_1", "value": "1", "note": "x" * 1_000}
    for number in range(6):
        world.accept(Event(f"e{number}", payload=long))
    world.accept(*(Event(f"f{number}", payload=long) for number in range(5)))
    assert [world.applier.run_once() for _ in range(4)] == [2, 2, 2, 5]
    assert world.total(meter) == Decimal(11)


def test_a_redo_has_the_range_of_its_intent_however_many_bytes_that_is() -> None:
    world = World()
    world.add_meter()
    world.add_customer()
    for number in range(6):
        world.accept(Event(f"e{number}"))
    world.progress.intend(Intent(0, 4))
    world.step_bytes_max = 1
    world.restart()
    assert [world.applier.run_once() for _ in range(3)] == [4, 1, 1]


def test_a_redo_gives_the_store_the_same_rows_although_it_has_them_already(world: World) -> None:
    """Of an insert that was cut in the middle the store has some parts: the rest must arrive with the same fates."""
    world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="1"), Event("a", value="1"), Event("b", value="10"))
    store = _StoreThatRemembers(world)
    world.store = store  # type: ignore[assignment]
    world.restart()
    with pytest.raises(Unavailable):
        world.apply()
    world.restart()
    world.apply()
    (first_step, first_again, first), (second_step, second_again, second) = store.inserts
    assert (first_step, first_again, second_step, second_again) == (0, False, 0, True)
    assert first.table.equals(second.table)


def test_an_intent_whose_range_is_not_in_the_log_stops_with_its_place(world: World) -> None:
    world.accept(Event("a"))
    world.progress.intend(Intent(0, 7))
    with pytest.raises(Corrupt, match="offset 0: the range 0-7"):
        world.applier.run_once()


def test_a_record_that_is_not_a_block_stops_applying_at_its_offset(world: World) -> None:
    world.accept(Event("a"))
    world.log.append(b"not a block", {TENANT: Tally(1)})
    with pytest.raises(Corrupt, match="offset 1"):
        world.applier.run_once()


def test_a_record_whose_entries_are_not_as_many_as_its_offsets_stops_applying_at_its_offset(world: World) -> None:
    world.log.append(encode(block_of([request([Event("a")])])), {TENANT: Tally(2)})
    with pytest.raises(Corrupt, match="offset 0: 1 entries"):
        world.applier.run_once()


def test_a_cancelled_event_counts_for_nothing_and_keeps_its_claim(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="5"), Event("b", value="2"))
    world.apply()
    world.accept_cancel("a")
    world.accept(Event("a", value="5"))
    world.apply()
    assert world.total(meter) == Decimal(2)
    assert world.fates("a") == ["cancelled", "duplicate"]


def test_an_event_can_be_cancelled_in_the_step_that_counts_it(world: World) -> None:
    meter = world.add_meter(formula=Formula.LAST)
    world.add_customer()
    world.accept(Event("a", value="5", timestamp_ms=START_MS - 10), Event("b", value="2", timestamp_ms=START_MS - 5))
    world.accept_cancel("b")
    world.apply()
    assert world.total(meter) == Decimal(5)


def test_a_cancellation_before_its_event_does_nothing(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept_cancel("a")
    world.accept(Event("a", value="5"))
    world.apply()
    assert world.total(meter) == Decimal(5)


@pytest.mark.parametrize(("age_ms", "total"), [(24 * HOUR_MS - 2, None), (24 * HOUR_MS + 1, Decimal(5))])
def test_only_events_of_the_last_24_hours_are_cancelled(world: World, age_ms: int, total: Decimal | None) -> None:
    meter = world.add_meter()
    world.add_customer()
    record = world.accept(Event("a", value="5", timestamp_ms=START_MS))
    world.clock.at_ms = record.received_at_ms + age_ms
    world.accept_cancel("a")
    world.apply()
    assert world.total(meter) == total


def test_a_cancellation_that_names_another_meter_or_tenant_does_nothing(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="5"))
    world.accept_cancel("a", event_name="other")
    world.accept_cancel("a", tenant=LIVE)
    world.apply()
    assert world.total(meter) == Decimal(5)


def test_an_event_is_cancelled_once_however_often_it_is_asked_for(world: World) -> None:
    meter = world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="5"), Event("b", value="1"))
    for _ in range(3):
        world.accept_cancel("a")
    world.apply()
    world.accept_cancel("a")
    world.apply()
    assert world.total(meter) == Decimal(1)


def test_cancellations_are_tallied_apart_from_events(world: World) -> None:
    world.accept(Event("a"))
    world.accept_cancel("a")
    world.apply()
    assert world.log.accepted() == world.progress.applied() == {TENANT: Tally(events=1, cancellations=1)}
    assert world.progress.checkpoint().next_offset == 2


def test_an_event_is_stored_with_its_value_only_if_it_counted(world: World) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(Event("counts", value="7"), Event("counts", value="8"), Event("nobody's", customer="cus_9", value="9"))
    world.apply()
    stored = [
        (each.status, each.value)
        for name in ("counts", "nobody's")
        for each in world.store.events_of(TENANT, name, int(hash_names([(TENANT, name)])[0]))
    ]
    nothing = Decimal(0)
    assert stored == [(Fate.COUNTED, Decimal(7)), (Fate.DUPLICATE, nothing), (Fate.REJECTED, nothing)]
