"""The contract of `DeadLetters`, run on every adapter."""

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.engine.ports.dead_letters import LetterFilter, Places
from streamgauge.engine.ports.usage_store import UsageStore
from tests.contract.test_usage_store import STRANGE_TEXTS
from tests.support.colliding import colliding_pair
from tests.support.redriving import ANY, OPEN, dead_letters, letters_of, redrive
from tests.support.world import DAY_MS, START_MS, TENANT, Event, World

LIVE = Tenant(TENANT.account_id, livemode=True)
STRANGERS = "meter_event_customer_not_found"


@pytest.fixture
def world(store: UsageStore) -> World:
    return World(store=store)


def found(world: World, wanted: LetterFilter = OPEN, places: Places | None = None, limit: int = 100) -> list[str]:
    """Their identifiers."""
    letters = letters_of(world.store).find(TENANT, wanted, places or Places(), limit=limit)
    return [each.identifier for each in letters]


def test_a_letter_tells_all_that_was_sent_and_found(world: World) -> None:
    meter = world.add_meter()
    payload = {text: text[::-1] for text in STRANGE_TEXTS} | {"stripe_customer_id": "cus_9", "value": "1.5"}
    record = world.accept(Event("a", timestamp_ms=START_MS - 7, payload=payload))
    world.apply()
    (letter,) = dead_letters(world)
    assert (letter.event_name, letter.identifier, dict(letter.payload)) == ("api_requests", "a", payload)
    assert (letter.timestamp_ms, letter.timestamp_given) == (START_MS - 7, True)
    assert (letter.key_id, letter.session_id) == ("key_test", "mes_test")
    assert (letter.code, letter.meter, letter.customer) == (STRANGERS, meter.id, "cus_9")
    assert (letter.offset, letter.first_offset) == (0, 0)
    assert (letter.judged_at_ms, letter.received_at_ms) == (record.received_at_ms, record.received_at_ms)
    assert (letter.tenant, letter.is_open) == (TENANT, True)


def test_only_rejected_events_of_the_tenant_are_letters(world: World) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(Event("good"), Event("bad", value="x"), Event("good"))
    world.accept(Event("theirs", value="x"), tenant=LIVE)
    world.apply()
    assert found(world, ANY) == ["bad"]


def test_a_corrected_resend_closes_a_letter_and_one_that_is_rejected_too_does_not(world: World) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="x"), Event("b", value="x"))
    world.accept(Event("a", value="1"), Event("b", value="y"))
    world.apply()
    assert found(world) == ["b", "b"]
    assert found(world, LetterFilter(is_open=False)) == ["a"]
    assert found(world, ANY) == ["a", "b", "b"]


def test_a_cancelled_event_still_closes_the_letter(world: World) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(Event("a", value="x"))
    world.accept(Event("a"))
    world.accept_cancel("a")
    world.apply()
    assert found(world) == []


def test_what_counted_before_the_letter_was_received_does_not_close_it(world: World) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(Event("a"))
    world.clock.at_ms += 36 * DAY_MS  # the claim has left the window
    world.accept(Event("a", value="x"))
    world.apply()
    assert found(world) == ["a"]


def test_filters_are_all_fulfilled(world: World) -> None:
    world.add_meter()
    world.accept(Event("a", customer="cus_1"), Event("b", customer="cus_2"), Event("c", event_name="other"))
    world.clock.at_ms += 10_000
    world.accept(Event("d", customer="cus_1", value="x"))
    world.apply()
    assert found(world, LetterFilter(codes=frozenset({STRANGERS}))) == ["a", "b", "d"]
    assert found(world, LetterFilter(codes=frozenset({"no_meter"}))) == ["c"]
    assert found(world, LetterFilter(codes=frozenset({"no_meter", STRANGERS}))) == ["a", "b", "c", "d"]
    assert found(world, LetterFilter(event_names=frozenset({"other"}))) == ["c"]
    assert found(world, LetterFilter(customers=frozenset({"cus_1"}))) == ["a", "d"]
    assert found(world, LetterFilter(customers=frozenset({"cus_1"}), identifier="d")) == ["d"]
    assert found(world, LetterFilter(customers=frozenset({"cus_2"}), identifier="d")) == []
    assert found(world, LetterFilter(received_from_ms=START_MS + 10_000)) == ["d"]
    assert found(world, LetterFilter(received_before_ms=START_MS + 10_000)) == ["a", "b", "c"]
    assert found(world, LetterFilter(received_from_ms=START_MS + 10_001)) == []


@pytest.mark.parametrize("text", STRANGE_TEXTS)
def test_any_text_can_be_asked_for(world: World, text: str) -> None:
    world.add_meter()
    world.accept(Event(text, customer=text), Event("other", customer="other"), Event("unnamed", event_name=text))
    world.apply()
    assert found(world, LetterFilter(customers=frozenset({text}))) == [text]
    assert found(world, LetterFilter(identifier=text)) == [text]
    assert found(world, LetterFilter(event_names=frozenset({text, "?"}))) == ["unnamed"]


def test_pages_in_both_directions_miss_nothing(world: World) -> None:
    world.accept(*(Event(f"{number:03}") for number in range(25)))
    world.apply()
    names = [f"{number:03}" for number in range(25)]
    assert found(world, places=Places(10, 20), limit=4) == names[10:14]
    assert found(world, places=Places(10, 20, newest_first=True), limit=4) == names[19:15:-1]
    assert found(world, places=Places(newest_first=True), limit=100) == names[::-1]


def test_open_letters_are_found_behind_many_closed_ones(world: World) -> None:
    """More of them than one look at the store takes in."""
    world.add_meter()
    world.add_customer()
    many = [f"{number}" for number in range(700)]
    world.accept(*(Event(each, value="x") for each in many))
    world.accept(*(Event(each) for each in many if each not in ("3", "699")))
    world.apply()
    assert found(world, limit=1) == ["3"]
    assert found(world, places=Places(newest_first=True)) == ["699", "3"]


def test_a_redriven_letter_is_there_once_at_its_first_place_as_it_was_judged_last(world: World) -> None:
    world.accept(Event("a"), Event("b"))
    world.apply()
    first = dead_letters(world)[0]
    world.clock.at_ms += DAY_MS
    world.add_meter()
    (portion,) = redrive(world)
    assert portion.rejected == {STRANGERS: 2}
    letter, other = dead_letters(world)
    assert (letter.identifier, letter.first_offset, letter.received_at_ms) == ("a", 0, first.received_at_ms)
    assert (letter.offset, letter.judged_at_ms) == (2, START_MS + DAY_MS + 1)
    assert (letter.code, letter.meter, letter.customer) == (STRANGERS, "mtr_api_requests", "cus_1")
    assert found(world, LetterFilter(codes=frozenset({"no_meter"}), is_open=None)) == []
    assert found(world, LetterFilter(received_before_ms=START_MS + 1)) == ["a", "b"]
    assert found(world, LetterFilter(received_from_ms=START_MS + 1)) == []
    assert found(world, places=Places(newest_first=True)) == ["b", "a"]
    assert other.identifier == "b"


def test_what_counted_by_a_redrive_is_closed_and_stays_listed(world: World) -> None:
    world.add_meter()
    world.accept(Event("a"), Event("b", value="x"))
    world.apply()
    world.add_customer()
    redrive(world)
    assert found(world) == ["b"]
    (closed,) = dead_letters(world, LetterFilter(is_open=False))
    assert (closed.identifier, closed.is_open, closed.code) == ("a", False, STRANGERS)


def test_fates_are_counted_over_a_range_of_the_log(world: World) -> None:
    world.add_meter()
    world.add_customer()
    world.accept(Event("a"), Event("a"), Event("b", value="x"), Event("c", value="y"), Event("d"))
    world.apply()
    assert letters_of(world.store).fates(1, 4) == {("duplicate", ""): 1, ("rejected", "meter_event_invalid_value"): 2}
    assert letters_of(world.store).fates(5, 9) == {}


def test_a_letter_is_not_closed_by_an_identifier_of_the_same_hash(world: World) -> None:
    one, other = colliding_pair(TENANT)
    world.add_meter()
    world.add_customer()
    world.accept(Event(one, value="x"))
    world.accept(Event(other))
    world.apply()
    assert found(world) == [one]
    assert found(world, LetterFilter(identifier=other)) == []
