"""The contract of `RetainedEvents`, run on every adapter."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from streamgauge.adapters.clickhouse.retention import ClickHouseRetention
from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_audit import MemoryUsageAudit
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.meter import Formula
from streamgauge.engine.ports.retained_events import RetainedEvents
from streamgauge.engine.ports.usage_audit import UsageAudit
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.settled import Settled, hash_of, settled
from tests.support.usage import HOUR, cancellation_of, claims_of, hashes, meter_of, totals
from tests.support.world import DAY_MS, START_MS, TENANT

Opened = tuple[UsageStore, RetainedEvents, UsageAudit]
FIRST_DAY_MS = START_MS // DAY_MS * DAY_MS
DAYS = 5
METERS = (meter_of(Formula.SUM, None, "mtr_sum"), meter_of(Formula.LAST, None, "mtr_last"))


@pytest.fixture
def engine(new_clickhouse_store: Callable[[], ClickHouseStore]) -> Callable[[], Opened]:
    def opened() -> Opened:
        store = new_clickhouse_store()
        return store, ClickHouseRetention(store._reader, store._database), store.audit

    return opened


@pytest.fixture(params=["memory", "clickhouse"])
def opened(request: pytest.FixtureRequest) -> Opened:
    if request.param == "memory":
        store = MemoryUsageStore()
        return store, store, MemoryUsageAudit(store)
    made: Callable[[], Opened] = request.getfixturevalue("engine")
    return made()


def event(day: int, at: int) -> Settled:
    meter = METERS[at % 2]
    return Settled(
        identifier=f"e{day}_{at}",
        offset=10 * day + at,
        value=10**day,
        meter=meter.id,
        keeps_latest=meter.keeps_latest,
        received_at_ms=FIRST_DAY_MS + day * DAY_MS + (0, DAY_MS - 1)[at // 2],
        timestamp_ms=FIRST_DAY_MS + day * DAY_MS,
    )


def fill(store: UsageStore) -> None:
    """Four events a day: of two meters, at the first and the last moment of the day. One of `last` is cancelled."""
    for day in range(DAYS):
        store.insert(settled([event(day, at) for at in range(4)]), step=10 * day)
        store.cancel([cancellation_of(event(day, 3), offset=10 * day + 5)], step=10 * day)


def known_days(store: UsageStore) -> list[int]:
    """Those with events that a look-up of their identifiers finds, all of them or none of a day."""
    found = []
    for day in range(DAYS):
        names = [event(day, at).identifier for at in range(4)]
        receipts = [len(store.events_of(TENANT, name, hash_of(name))) for name in names]
        claims = claims_of(store, hashes(*map(hash_of, names)), since_ms=0, below_offset=1_000)
        assert receipts in ([0] * 4, [1] * 4)
        assert len(claims) == sum(receipts)
        found += [day] if receipts[0] else []
    assert store.count_events() == store.count_claimed(since_ms=0) == 4 * len(found)
    return found


def all_totals(store: UsageStore) -> list[list[tuple[int, Decimal]]]:
    return [totals(store, meter, grouping=HOUR, end_s=FIRST_DAY_MS // 1000 + 86_400 * DAYS) for meter in METERS]


@pytest.mark.parametrize(
    ("before_ms", "kept"),
    [
        (0, [0, 1, 2, 3, 4]),
        (FIRST_DAY_MS, [0, 1, 2, 3, 4]),
        (FIRST_DAY_MS + DAY_MS - 1, [0, 1, 2, 3, 4]),
        (FIRST_DAY_MS + DAY_MS, [1, 2, 3, 4]),
        (FIRST_DAY_MS + 3 * DAY_MS + 5, [3, 4]),
        (FIRST_DAY_MS + 4 * DAY_MS, [4]),
        (FIRST_DAY_MS + 400 * DAY_MS, [4]),  # the newest day stays
    ],
)
def test_whole_days_are_dropped_and_totals_stay(opened: Opened, before_ms: int, kept: list[int]) -> None:
    store, retained, audit = opened
    fill(store)
    before = all_totals(store)
    assert retained.drop(before_ms) == DAYS - len(kept)
    assert known_days(store) == kept
    assert all_totals(store) == before
    assert audit.unnamed(10) == []
    assert retained.drop(before_ms) == 0
    store.insert(settled([event(DAYS, at) for at in range(4)]), step=10 * DAYS)
    assert len(store.events_of(TENANT, f"e{DAYS}_0", hash_of(f"e{DAYS}_0"))) == 1


def test_of_an_empty_store_nothing_is_dropped(opened: Opened) -> None:
    _, retained, _ = opened
    assert retained.drop(2**42) == 0


def test_what_was_cut_short_is_completed(engine: Callable[[], Opened], monkeypatch: pytest.MonkeyPatch) -> None:
    store, retained, audit = engine()
    fill(store)
    assert isinstance(retained, ClickHouseRetention)
    client = retained._client
    command, left = client.command, 3

    class Cut(Exception):
        """The crash."""

    def cut(sql: str) -> object:
        nonlocal left
        if not left:
            raise Cut
        left -= 1
        return command(sql)

    with monkeypatch.context() as failing:
        failing.setattr(client, "command", cut)
        with pytest.raises(Cut):
            retained.drop(FIRST_DAY_MS + 2 * DAY_MS)
    # Two days of events, one of identifiers: what no look-up finds would be a fault, a hash that leads nowhere is none.
    assert audit.unnamed(10) == []
    assert claims_of(store, hashes(hash_of("e1_0")), since_ms=0, below_offset=1_000) == []
    assert retained.drop(FIRST_DAY_MS + 2 * DAY_MS) == 1
    assert known_days(store) == [2, 3, 4]
