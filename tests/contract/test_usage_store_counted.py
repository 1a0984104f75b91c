"""The contract of `UsageStore.counted`, and of what is told of events that were cancelled, run on every adapter."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.domain.cancellation import CountedEvent
from streamgauge.domain.fate import Fate
from streamgauge.domain.meter import Formula
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.settled import Settled, settled
from tests.support.usage import LIVE, cancel, cancellation_of, claims_of, hashes, meter_of, totals
from tests.support.world import DAY_MS, HOUR_MS, START_MS, TENANT

NEVER = 2**63


# --- what is told of the events


@pytest.mark.parametrize("keeps_latest", [False, True])
def test_a_cancelled_event_is_read_back_as_such_with_all_that_it_had(store: UsageStore, keeps_latest: bool) -> None:
    events = [
        Settled(identifier="a", offset=0, value=Decimal("2.5"), keeps_latest=keeps_latest, payload={"k": "v"}),
        Settled(identifier="a", offset=1, status=Fate.DUPLICATE, value=0),
        Settled(identifier="b", offset=2, keeps_latest=keeps_latest),
    ]
    store.insert(settled(events), step=0)
    (before, repeat) = store.events_of(TENANT, "a", events[0].hash)
    cancel(store, events[0])
    cancelled = replace(before, status=Fate.CANCELLED, cancelled_at_ms=START_MS)
    assert store.events_of(TENANT, "a", events[0].hash) == [cancelled, repeat]
    assert [event.status for event in store.events_of(TENANT, "b", events[2].hash)] == [Fate.COUNTED]


def test_of_two_events_that_counted_under_one_identifier_only_the_one_named_is_cancelled(store: UsageStore) -> None:
    """The second was received after the deduplication window of the first."""
    events = [Settled(identifier="a", offset=at, received_at_ms=START_MS + at * 40 * DAY_MS) for at in range(2)]
    for event in events:
        store.insert(settled([event]), step=event.offset)
    cancel(store, events[0])
    stored = store.events_of(TENANT, "a", events[0].hash)
    assert [event.status for event in stored] == [Fate.CANCELLED, Fate.COUNTED]
    found = store.counted(hashes(events[0].hash), since_ms=0, below_offset=NEVER)
    assert {event.offset: event.cancelled_at_ms for event in found} == {0: START_MS, 1: None}


def test_a_cancelled_event_keeps_its_claim(store: UsageStore) -> None:
    events = [Settled(identifier=f"e{at}", offset=at, keeps_latest=at % 2 == 0) for at in range(4)]
    store.insert(settled(events), step=0)
    asked = hashes(*(event.hash for event in events))

    def claimed() -> object:
        chunks = [(sorted(chunk.tolist()), last_ms) for chunk, last_ms in store.claimed_hashes(since_ms=0)]
        claims = sorted(claims_of(store, asked, since_ms=0, below_offset=9_999), key=lambda claim: claim.identifier)
        return claims, chunks, store.count_claimed(since_ms=0), store.count_events()

    before = claimed()
    cancel(store, *events)
    assert claimed() == before


# --- counted


def test_counted_tells_all_that_a_cancellation_must_know(store: UsageStore) -> None:
    event = Settled(
        identifier="a",
        offset=7,
        value=Decimal("-1.000000000000001"),
        timestamp_ms=START_MS - 123_456,
        received_at_ms=START_MS + 789,
        tenant=LIVE,
        event_name="tokens",
        meter="mtr_tokens",
        customer="cus_9",
        keeps_latest=True,
    )
    told = CountedEvent(
        tenant=LIVE,
        identifier_hash=event.hash,
        identifier="a",
        event_name="tokens",
        meter="mtr_tokens",
        customer="cus_9",
        value=Decimal("-1.000000000000001"),
        timestamp_ms=START_MS - 123_456,
        keeps_latest=True,
        received_at_ms=START_MS + 789,
        offset=7,
        cancelled_at_ms=None,
    )
    store.insert(settled([event]), step=0)
    assert list(store.counted(hashes(event.hash), since_ms=0, below_offset=8)) == [told]
    store.cancel([cancellation_of(event, offset=20, cancelled_at_ms=START_MS + 1_234)], step=20)
    again = list(store.counted(hashes(event.hash), since_ms=0, below_offset=21))
    assert again == [replace(told, cancelled_at_ms=START_MS + 1_234)]


def test_counted_sees_a_cancellation_only_below_the_offset(store: UsageStore) -> None:
    """A step that is redone finds what it found the first time."""
    events = [Settled(identifier=f"e{at}", offset=at, keeps_latest=at % 2 == 0) for at in range(2)]
    store.insert(settled(events), step=0)
    cancel(store, *events, offset=10)
    asked = hashes(*(event.hash for event in events))

    def cancelled(below_offset: int) -> dict[int, bool]:
        found = store.counted(asked, since_ms=0, below_offset=below_offset)
        return {event.offset: event.cancelled_at_ms is not None for event in found}

    assert cancelled(1) == {0: False}
    assert cancelled(10) == {0: False, 1: False}
    assert cancelled(11) == {0: True, 1: False}
    assert cancelled(12) == {0: True, 1: True}


def test_counted_finds_only_counted_events_received_since_a_moment(store: UsageStore) -> None:
    events = [
        Settled(identifier="old", offset=0, received_at_ms=START_MS - 1),
        Settled(identifier="new", offset=1, received_at_ms=START_MS),
        Settled(identifier="repeat", offset=2, status=Fate.DUPLICATE),
        Settled(identifier="refused", offset=3, status=Fate.REJECTED, code="no_meter"),
    ]
    store.insert(settled(events), step=0)
    asked = hashes(*(event.hash for event in events), 12345)
    assert [e.identifier for e in store.counted(asked, since_ms=START_MS, below_offset=NEVER)] == ["new"]
    assert {e.identifier for e in store.counted(asked, since_ms=-5, below_offset=NEVER)} == {"old", "new"}
    assert list(store.counted(hashes(), since_ms=0, below_offset=NEVER)) == []


def test_a_cancellation_is_not_taken_for_that_of_another_identifier_with_the_same_hash(store: UsageStore) -> None:
    one = Settled(identifier="a", offset=0, identifier_hash=2**64 - 1)
    others = [replace(one, identifier="b", offset=1), replace(one, offset=2, tenant=LIVE)]
    store.insert(settled([one, *others]), step=0)
    cancel(store, one)
    found = store.counted(hashes(2**64 - 1), since_ms=0, below_offset=NEVER)
    assert {event.offset: event.cancelled_at_ms for event in found} == {0: START_MS, 1: None, 2: None}
    assert [event.status for event in store.events_of(TENANT, "b", 2**64 - 1)] == [Fate.COUNTED]


def test_more_hashes_than_fit_into_one_query_are_all_looked_up_with_their_cancellations(store: UsageStore) -> None:
    events = [Settled(identifier=f"e{at}", offset=at, identifier_hash=2**64 - 1 - at * 7) for at in range(25_000)]
    store.insert(settled(events), step=0)
    cancel(store, *events[::2], offset=30_000)
    found = store.counted(hashes(*(event.hash for event in events)), since_ms=0, below_offset=NEVER)
    assert {event.offset for event in found if event.cancelled_at_ms is None} == set(range(1, 25_000, 2))
    assert len(found) == 25_000
    assert totals(store, meter_of()) == [(-24, Decimal(12_500))]


def test_counted_may_be_asked_from_many_threads_while_others_read_and_one_writes(store: UsageStore) -> None:
    event = Settled(identifier="a", offset=0, keeps_latest=True)
    store.insert(settled([event]), step=0)
    meter = meter_of(Formula.LAST)

    def read(_: int) -> tuple[int, object]:
        found = store.counted(hashes(event.hash), since_ms=0, below_offset=NEVER)
        return found[0].offset, totals(store, meter, end_s=START_MS // 1000 // 60 * 60 + 60)

    with ThreadPoolExecutor(4) as threads:
        answers = threads.map(read, range(24))
        for at in range(1, 5):
            later = replace(event, identifier=f"e{at}", offset=at, timestamp_ms=START_MS + at * HOUR_MS)
            store.insert(settled([later]), step=at)
            cancel(store, later, offset=1_000 + at)
        assert list(answers) == [(0, [(-24, Decimal(1))])] * 24


# --- where nothing was cancelled nobody looks for it


def test_a_store_that_is_opened_again_knows_of_its_cancellations(
    new_clickhouse_store: Callable[[], ClickHouseStore],
) -> None:
    store = new_clickhouse_store()
    events = [Settled(identifier=name, offset=at, value=at + 1, keeps_latest=True) for at, name in enumerate("ab")]
    store.insert(settled(events), step=0)
    cancel(store, events[1])
    again = ClickHouseStore(store._writer, store._reader, store._database)
    assert [each.status for each in again.events_of(TENANT, "b", events[1].hash)] == [Fate.CANCELLED]
    assert [each.cancelled_at_ms for each in again.counted(hashes(events[1].hash), since_ms=0, below_offset=NEVER)] == [
        START_MS
    ]
    latest = meter_of(Formula.LAST)
    assert totals(again, latest) == totals(store, latest) != []


def test_cancellations_are_asked_for_from_the_first_one_on(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_clickhouse_store()
    events = [Settled(identifier=name, offset=at, keeps_latest=True) for at, name in enumerate("ab")]
    store.insert(settled(events), step=0)
    asked: list[str] = []
    read = store._read

    def noting(doing: str, *given: Any) -> Any:
        asked.append(doing)
        return read(doing, *given)

    monkeypatch.setattr(store, "_read", noting)

    def ask() -> set[str]:
        asked.clear()
        store.events_of(TENANT, "a", events[0].hash)
        store.counted(hashes(events[0].hash), since_ms=0, below_offset=NEVER)
        totals(store, meter_of(Formula.LAST))
        return {doing for doing in asked if "cancellations" in doing}

    assert ask() == set()
    cancel(store, events[1])
    assert ask() == {"look up cancellations", "read cancellations"}


def test_a_minute_that_the_first_cancellation_empties_while_it_is_read_is_left_out(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_clickhouse_store()
    event = Settled(identifier="a", offset=0)
    store.insert(settled([event]), step=0)
    read = store._read

    def cancelled_before(doing: str, *given: Any) -> Any:
        monkeypatch.setattr(store, "_read", read)
        cancel(store, event)
        return read(doing, *given)

    monkeypatch.setattr(store, "_read", cancelled_before)
    assert totals(store, meter_of(Formula.SUM)) == []
