"""What waits in the log is found by its identifier, and judged as the applier will judge it."""

from streamgauge.domain.account import Tenant
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.engine import unapplied as unapplied_module
from tests.support.world import TENANT, Event, World

LIVE = Tenant(TENANT.account_id, livemode=True)


def found(world: World, *identifiers: str, tenant: Tenant = TENANT) -> list[tuple[int, str]]:
    """Offset and identifier of the events that wait."""
    ahead = world.unapplied.find(hash_names([(tenant, each) for each in identifiers]))
    if ahead.events is None:
        return []
    return list(zip(ahead.events.offset.tolist(), ahead.events.identifier.to_pylist(), strict=True))


def fates(world: World, *identifiers: str) -> list[str]:
    settled = world.unapplied.judged(world.unapplied.find(hash_names([(TENANT, each) for each in identifiers])))
    assert settled is not None
    rows = sorted(settled.table.to_pylist(), key=lambda row: row["log_offset"])
    return [row["code"] or row["status"] for row in rows]


def test_events_beyond_the_checkpoint_are_found_wherever_they_stand() -> None:
    world = World()
    world.accept(Event("a"), Event("b"))
    world.accept(Event("c"), Event("a"))
    assert found(world, "a") == [(0, "a"), (3, "a")]
    assert found(world, "c", "b") == [(1, "b"), (2, "c")]
    assert found(world, "nothing") == []


def test_what_is_applied_is_no_longer_there_and_what_follows_is() -> None:
    world = World()
    world.accept(Event("a"))
    assert found(world, "a") == [(0, "a")]
    world.apply()
    world.accept(Event("b"), Event("a"))
    assert found(world, "a") == [(2, "a")]


def test_another_tenant_s_event_of_the_same_identifier_is_another_event() -> None:
    world = World()
    world.accept(Event("a"), tenant=LIVE)
    assert found(world, "a") == []
    assert found(world, "a", tenant=LIVE) == [(0, "a")]


def test_cancel_requests_are_found_beside_the_events() -> None:
    world = World()
    world.accept(Event("a"), Event("b"))
    record = world.accept_cancel("a")
    world.accept_cancel("b")
    ahead = world.unapplied.find(hash_names([(TENANT, "a")]))
    assert [(each.request.identifier, each.offset) for each in ahead.cancels] == [("a", record.first_offset)]
    assert found(world, "a") == [(0, "a")]


def test_a_block_too_large_to_keep_is_read_again() -> None:
    world = World()
    many = [Event(f"e{number}") for number in range(unapplied_module._KEPT_EVENTS_MAX + 1)]
    world.accept(*many)
    assert found(world, "e7", "e999") == [(7, "e7"), (999, "e999")]


def test_the_fate_that_is_told_ahead_is_the_one_that_comes() -> None:
    world = World()
    world.add_meter()
    world.add_customer()
    world.accept(Event("a"))
    world.apply()
    # A repeat of what is applied, one of what is not, a correction of what was refused, and a stranger's.
    world.accept(Event("a"), Event("b"), Event("c", value="many"))
    world.accept(Event("b"), Event("c", value="1"), Event("d", customer="cus_stranger"))
    ahead = fates(world, "a", "b", "c", "d")
    assert ahead == [
        "duplicate",
        "counted",
        "meter_event_invalid_value",
        "duplicate",
        "counted",
        "meter_event_customer_not_found",
    ]
    world.apply()
    assert [world.fates(each) for each in "abcd"] == [
        ["counted", "duplicate"],
        ["counted", "duplicate"],
        ["meter_event_invalid_value", "counted"],
        ["meter_event_customer_not_found"],
    ]
