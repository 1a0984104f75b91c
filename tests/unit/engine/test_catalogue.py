"""Changes of the catalogue in larger transactions: seen when those are committed, and never when they are not.

What changes do is tested with meters and customers; the catalogue's questions are in the domain.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest

from streamgauge.api.v1.meters import meter_snapshot
from streamgauge.domain.account import Tenant
from streamgauge.domain.catalogue import Catalogue
from streamgauge.domain.counting_rules import CountingRules, RulesHistory
from streamgauge.domain.errors import InvalidRequest, Unavailable
from streamgauge.domain.meter import Formula, Meter
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.meters import MeterDraft, Meters
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.event_log import EventLog
from tests.support.control import CountingEntropy, SettableClock, StampingLog
from tests.support.control_stores import ADAPTERS, control_store
from tests.support.notifying import notifications_on

TENANT = Tenant("acct_1", False)


class Cancelled(Exception):
    """Of whoever began the transaction."""


class Bench:
    """Meters over a catalogue, and an applier of one thread that asks for it."""

    def __init__(self, store: ControlStore) -> None:
        self.store = store
        self.log = StampingLog()
        rules = RulesHistory.of(CountingRules())
        self.catalogue = CatalogueKeeper(store, cast(EventLog, self.log), SettableClock(), rules)
        self.meters = Meters(
            store,
            self.catalogue,
            CountingEntropy(),
            notifications_on(store, SettableClock(), CountingEntropy()),
            meter_snapshot,
        )
        self.applier = ThreadPoolExecutor(1)

    def create(self, event_name: str) -> Meter:
        return self.meters.create(
            TENANT,
            MeterDraft(
                display_name="Calls",
                event_name=event_name,
                formula=Formula.SUM,
                event_time_window=None,
                customer_key="customer",
                value_key="value",
            ),
        )

    def settled(self) -> "Future[Catalogue]":
        return self.applier.submit(self.catalogue.settled)

    def seen(self, event_name: str) -> tuple[Meter, ...]:
        return self.settled().result(10).meters_named(TENANT, event_name)


@pytest.fixture(params=ADAPTERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with control_store(request.param, tmp_path) as store:
        made = Bench(store)
        yield made
        made.applier.shutdown()


def test_a_change_in_a_larger_transaction_is_seen_when_that_is_committed(bench: Bench) -> None:
    with bench.store.transaction():
        meter = bench.create("calls")
        # What the applier judges by is not settled while a change is stamped but not yet committed: it waits.
        settled = bench.settled()
        with pytest.raises(TimeoutError):
            settled.result(0.2)
    assert settled.result(10).meters_named(TENANT, "calls") == (meter,)


def test_a_change_in_a_larger_transaction_that_is_undone_is_never_seen(bench: Bench) -> None:
    with pytest.raises(Cancelled), bench.store.transaction():
        bench.create("calls")
        raise Cancelled
    assert bench.seen("calls") == ()
    assert bench.create("calls").event_name == "calls"  # and does not stand in the way of another


def test_a_change_that_is_refused_is_not_seen_though_the_transaction_is_committed(bench: Bench) -> None:
    meter = bench.create("calls")
    with bench.store.transaction():
        with pytest.raises(InvalidRequest):
            bench.create("calls")
        bench.store.revoke_secret_key("key_none", 1)
    assert bench.seen("calls") == (meter,)


def test_whatever_fails_in_a_change_lets_the_applier_go_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: int) -> int:
        raise Unavailable("the log is away")

    with monkeypatch.context() as patch:
        patch.setattr(bench.log, "stamp", away)
        with pytest.raises(Unavailable):
            bench.create("calls")
        with pytest.raises(Unavailable), bench.store.transaction():
            bench.create("calls")
    assert bench.seen("calls") == ()
    bench.create("calls")


def test_changes_alone_and_in_larger_transactions_do_not_wait_for_each_other_for_ever(bench: Bench) -> None:
    def create(number: int) -> None:
        if number % 2:
            with bench.store.transaction():
                bench.store.list_secret_keys("acct_1")
                bench.create(f"meter {number}")
        else:
            bench.create(f"meter {number}")
        bench.catalogue.settled()

    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(create, number) for number in range(48)]:
            done.result(30)
    assert all(len(bench.seen(f"meter {number}")) == 1 for number in range(48))
