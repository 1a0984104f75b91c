"""Verifying finds nothing where nothing is wrong, and names the place of anything that was changed.

The world is a random one: every formula, duplicates over and within the window, rejections of each kind,
cancellations, both modes. It is applied to either store, and then one thing is changed by hand.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_audit import MemoryUsageAudit
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.catalogue import Catalogue
from streamgauge.domain.counting_rules import CountingRules, RulesHistory
from streamgauge.domain.meter import EventTimeWindow, Formula
from streamgauge.domain.received_events import LoggedBlock, ReceivedEvents, received
from streamgauge.domain.recount import value_of
from streamgauge.engine import verification
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.ports.usage_audit import UsageAudit
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal
from streamgauge.engine.verification import DIFFERENCES_MAX, Verification, Verified
from tests.support.usage import LIVE
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT, Event, World, request

NAMES = ("sums", "counts", "lasts", "windowed", "archived", "unknown")
VALUES = ("1", "0.1", "-2.5", "999999999999999", "0.000000000000001", "007", "1e3", "", "1234567890123456", "x")
WINDOW_MS = 2 * DAY_MS


def lived_world(world: World, seed: int = 1, records: int = 60) -> World:
    """Some days of usage, applied in steps of several sizes."""
    rng = random.Random(seed)
    for tenant in (TENANT, LIVE):
        mode = "live" if tenant.livemode else "test"
        world.add_meter("sums", Formula.SUM, tenant=tenant, meter_id=f"mtr_sum_{mode}")
        world.add_meter("counts", Formula.COUNT, tenant=tenant, meter_id=f"mtr_count_{mode}")
        world.add_meter("lasts", Formula.LAST, tenant=tenant, meter_id=f"mtr_last_{mode}")
        world.add_meter("windowed", Formula.SUM, EventTimeWindow.HOUR, tenant=tenant, meter_id=f"mtr_window_{mode}")
        archived = world.add_meter("archived", Formula.SUM, tenant=tenant, meter_id=f"mtr_archived_{mode}")
        world.clock.at_ms += 1_000
        world.change_meter(archived, active=False)
        for customer in ("cus_1", "cus_2"):
            world.add_customer(f"{customer}_{mode}", tenant)
    sent: list[tuple[str, str, Tenant]] = []
    for _ in range(records):
        world.clock.at_ms += rng.choice((1, 1_000, HOUR_MS, 3 * HOUR_MS))
        tenant = rng.choice((TENANT, LIVE))
        mode = "live" if tenant.livemode else "test"
        events = []
        for _ in range(rng.randrange(1, 12)):
            event = Event(
                identifier=f"e{rng.randrange(300)}",
                customer=rng.choice((*[f"cus_1_{mode}", f"cus_2_{mode}"] * 4, "cus_stranger", "")),
                value=rng.choice((*VALUES, *["3.25"] * 10)),
                event_name=rng.choice((*NAMES, *NAMES[:4] * 3)),
                timestamp_ms=rng.choice(
                    (*[None, world.clock.at_ms - rng.randrange(DAY_MS)] * 5, world.clock.at_ms - 40 * DAY_MS, 2**41)
                ),
                payload=rng.choice((*[None] * 8, {}, {"stripe_customer_id": f"cus_1_{mode}"})),
            )
            events.append(event)
        world.accept_requests(request(events, tenant))
        sent += [(each.identifier, each.event_name, tenant) for each in events]
        for identifier, name, whose in rng.choices(sent[-30:], k=rng.randrange(6)):
            world.accept_cancel(identifier, rng.choice((name, name, name, rng.choice(NAMES))), whose)
        if rng.random() < 0.2:
            world.applier.run_once()
    world.apply()
    return world


def audit_of(world: World) -> UsageAudit:
    if isinstance(world.store, ClickHouseStore):
        return world.store.audit
    assert isinstance(world.store, MemoryUsageStore)
    return MemoryUsageAudit(world.store)


def verified(world: World, share_events: int = 70, catalogue: Catalogue | None = None) -> Verified:
    return Verification(
        world.log,
        world.progress,
        audit_of(world),
        catalogue or world.catalogue.settled(),
        share_events=share_events,
    ).run()


@pytest.mark.parametrize("seed", range(20))
def test_what_was_applied_agrees_with_a_recount_of_the_log(seed: int) -> None:
    world = lived_world(World(window_ms=WINDOW_MS), seed)
    found = verified(world)
    assert list(found.differences) == []
    assert found.events + sum(each.cancellations for each in world.log.accepted().values()) == world.log.end_offset()
    assert found.cancellations > 0 and found.windows > 0 and found.unapplied == 0


@pytest.mark.parametrize("share_events", (11, 50, 1_000_000))
def test_the_shares_in_which_it_is_done_change_nothing(
    share_events: int, new_clickhouse_store: Callable[[], ClickHouseStore]
) -> None:
    world = lived_world(World(store=new_clickhouse_store(), window_ms=WINDOW_MS), records=12)
    whole = verified(world)
    assert verified(world, share_events) == whole
    assert list(whole.differences) == []


def test_no_more_of_the_log_is_looked_at_together_than_columns_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    world = lived_world(World(window_ms=WINDOW_MS))
    whole = verified(world)
    together: list[int] = []

    def noted(blocks: Sequence[LoggedBlock]) -> ReceivedEvents:
        together.append(len(blocks))
        return received(blocks)

    monkeypatch.setattr(verification, "received", noted)
    assert verified(world) == whole
    assert max(together) > 1
    together.clear()
    monkeypatch.setattr(verification, "STEP_BYTES_MAX", 1)
    assert verified(world) == whole
    assert set(together) == {1}


class Misreading(MemoryUsageAudit):
    """Over a store whose rollups are right, and whose summaries are not."""

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        if query.meter.id == "mtr_last_live":
            return []
        found = super().totals(query)
        if query.meter.id != "mtr_window_test":
            return found
        return [replace(each, value=each.value + 1) for each in found]


def test_a_summary_that_answers_something_else_than_its_rollups_hold_is_named() -> None:
    world = lived_world(World(window_ms=WINDOW_MS))
    assert isinstance(world.store, MemoryUsageStore)
    catalogue = world.catalogue.settled()
    found = Verification(world.log, world.progress, Misreading(world.store), catalogue).run().differences
    assert {each.split(",")[1] for each in found} == {" meter mtr_last_live", " meter mtr_window_test"}
    assert any(
        "live mode" in each and "a summary says nothing, the log and the raw events say " in each for each in found
    )
    assert all("Z to " in each for each in found)


def test_an_empty_folder_agrees() -> None:
    assert verified(World()) == Verified(0, 0, 0, 0, 0, 0, [])


def test_what_is_not_applied_yet_is_left_out_and_counted() -> None:
    world = lived_world(World(window_ms=WINDOW_MS))
    before = verified(world)
    world.accept(Event("late"), Event("later"))
    after = verified(world)
    assert (after.unapplied, after.events, list(after.differences)) == (2, before.events, [])


def test_other_rules_than_those_that_were_applied_with_show() -> None:
    world = lived_world(World(window_ms=WINDOW_MS))
    other = RulesHistory.of(CountingRules(dedup_window_ms=1))
    catalogue = CatalogueKeeper(world.control, world.log, world.clock, other).settled()
    assert any("status is" in each for each in verified(world, catalogue=catalogue).differences)


SUM_ROW = "account, livemode, meter, customer, bucket, events, total"
TAMPERINGS = {
    "a row more in the sums": (
        f"INSERT INTO {{db}}.sums ({SUM_ROW}) VALUES "
        "('acct_test', false, 'mtr_sum_test', 'cus_1_test', '2027-01-15 08:00:00', 1, 0.5)",
        "acct_test test mode, meter mtr_sum_test, customer cus_1_test, 2027-01-15T08:00:00Z to 2027-01-15T08:01:00Z",
    ),
    "a row of another year": (
        f"INSERT INTO {{db}}.sums ({SUM_ROW}) VALUES ('a', true, 'm', 'c', '2001-01-01 00:00:00', 0, 0.5)",
        "a live mode, meter m, customer c, 2001-01-01T00:00:00Z",
    ),
    "no sums": ("TRUNCATE TABLE {db}.sums", "in the rollups"),
    "no latests": ("TRUNCATE TABLE {db}.latests", "last is "),
    "no events kept": ("TRUNCATE TABLE {db}.latest_events", "events kept for cancellations"),
    "an event that is not in the log": (
        "INSERT INTO {db}.events SELECT * REPLACE (log_offset + 1000000 AS log_offset) FROM {db}.events LIMIT 1",
        "offset 1000000: the event is in the store, and no look-up finds it",
    ),
    "an event and its identifier that are not in the log": (
        "INSERT INTO {db}.events SELECT * REPLACE (log_offset + 1000000 AS log_offset) "
        "FROM (SELECT * FROM {db}.events WHERE log_offset = 0); "
        "INSERT INTO {db}.identifiers SELECT * REPLACE (log_offset + 1000000 AS log_offset) "
        "FROM (SELECT * FROM {db}.identifiers WHERE log_offset = 0)",
        "the event is in the store, and not in the log",
    ),
    "an identifier that leads nowhere": (
        "ALTER TABLE {db}.identifiers UPDATE log_offset = 999 WHERE log_offset = 0 SETTINGS mutations_sync = 2",
        "offset 0: the event is in the log, and not in the store",
    ),
    "an identifier that does not claim": (
        "ALTER TABLE {db}.identifiers UPDATE counted = NOT counted WHERE log_offset = 0 SETTINGS mutations_sync = 2",
        "offset 0: the event is in the log, and not in the store",
    ),
    "an event twice": (
        "INSERT INTO {db}.events SELECT * FROM {db}.events WHERE status = 'rejected' LIMIT 1",
        "the store has it more than once",
    ),
    "an event that is lost": (
        "ALTER TABLE {db}.events DELETE WHERE log_offset = 3 SETTINGS mutations_sync = 2",
        "offset 3: the event is in the log, and not in the store",
    ),
    "an event with another payload": (
        "ALTER TABLE {db}.events UPDATE payload_form = '', payload_text = 'changed' WHERE log_offset = 1 "
        "SETTINGS mutations_sync = 2",
        "offset 1, identifier ",
    ),
    "a cancellation that is lost": (
        "ALTER TABLE {db}.cancellations DELETE WHERE 1 SETTINGS mutations_sync = 2",
        "and the store has not",
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_whatever_is_changed_in_the_store_is_found_and_its_place_is_named(
    name: str, new_clickhouse_store: Callable[[], ClickHouseStore]
) -> None:
    statement, place = TAMPERINGS[name]
    store = new_clickhouse_store()
    world = lived_world(World(store=store, window_ms=WINDOW_MS), records=15)
    assert list(verified(world).differences) == []
    for each in statement.split("; "):
        store._writer.command(each.format(db=store._database))
    found = verified(world).differences
    assert any(place in each for each in found), found
    assert len(found) <= DIFFERENCES_MAX


@pytest.mark.parametrize(
    ("text", "value", "code"),
    [
        ("1.50", "1.5", ""),
        ("-0", "0", ""),
        ("0001", "1", ""),
        ("0.000000000000001", "0.000000000000001", ""),
        ("0.0000000000000001", "0", "meter_event_value_too_many_digits"),
        ("1234567890123456", "0", "meter_event_value_too_many_digits"),
        ("1\n", "0", "meter_event_invalid_value"),
        ("١", "0", "meter_event_invalid_value"),
        ("+1", "0", "meter_event_invalid_value"),
        (".5", "0", "meter_event_invalid_value"),
        (None, "0", "meter_event_value_not_found"),
    ],
)
def test_a_value_is_read_by_its_plain_definition(text: str | None, value: str, code: str) -> None:
    assert value_of(text) == (Decimal(value), code)


def test_the_world_of_these_tests_has_every_fate() -> None:
    world = lived_world(World(window_ms=WINDOW_MS))
    assert isinstance(world.store, MemoryUsageStore)
    assert {row["code"] or row["status"] for row in world.store.rows} >= {
        "counted",
        "duplicate",
        "no_meter",
        "archived_meter",
        "timestamp_too_far_in_past",
        "timestamp_in_future",
        "meter_event_no_customer_defined",
        "meter_event_customer_not_found",
        "meter_event_value_not_found",
        "meter_event_invalid_value",
        "meter_event_value_too_many_digits",
    }
    assert world.clock.at_ms > START_MS
