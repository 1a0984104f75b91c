"""Meters: one active per event name, and a history that is stamped by the log."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.api.v1.meters import meter_snapshot
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import InvalidRequest, NotFound, StorageFull
from streamgauge.domain.meter import EventTimeWindow, Formula, Found, Meter, resolve
from streamgauge.domain.span import Span
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.meters import MeterDraft, Meters
from streamgauge.engine.ports.control_store import Page
from tests.support.control import NOW_MS, CountingEntropy, SettableClock, keeper, store_with_accounts
from tests.support.notifying import notifications_on

TEST = Tenant("acct_1", False)
LIVE = Tenant("acct_1", True)
OTHER = Tenant("acct_2", False)
DRAFT = MeterDraft(
    display_name="Tokens",
    event_name="tokens",
    formula=Formula.SUM,
    event_time_window=EventTimeWindow.DAY,
    customer_key="customer",
    value_key="tokens",
)


@pytest.fixture
def store() -> MemoryControlStore:
    return store_with_accounts("acct_1", "acct_2")


@pytest.fixture
def catalogue(store: MemoryControlStore) -> CatalogueKeeper:
    return keeper(store)


@pytest.fixture
def meters(store: MemoryControlStore, catalogue: CatalogueKeeper) -> Meters:
    return Meters(
        store, catalogue, CountingEntropy(), notifications_on(store, SettableClock(), CountingEntropy()), meter_snapshot
    )


def known(catalogue: CatalogueKeeper) -> tuple[Meter, ...]:
    return catalogue.settled().meters_named(TEST, "tokens")


def test_a_created_meter_is_what_was_asked_for_and_counts_from_its_stamp_on(
    meters: Meters, catalogue: CatalogueKeeper
) -> None:
    meter = meters.create(TEST, DRAFT)
    assert meter == Meter(
        id=meter.id,
        tenant=TEST,
        display_name="Tokens",
        event_name="tokens",
        formula=Formula.SUM,
        event_time_window=EventTimeWindow.DAY,
        customer_key="customer",
        value_key="tokens",
        created_ms=NOW_MS,
        updated_ms=NOW_MS,
        active_spans=(Span(NOW_MS),),
    )
    assert meters.get(TEST, meter.id) == meter
    assert known(catalogue) == (meter,)


@pytest.mark.parametrize(("tenant", "prefix"), [(TEST, "mtr_test_"), (LIVE, "mtr_")])
def test_the_id_of_a_meter_tells_its_mode(meters: Meters, tenant: Tenant, prefix: str) -> None:
    meter = meters.create(tenant, DRAFT)
    assert meter.id.startswith(prefix) and len(meter.id) == len(prefix) + 24


def test_an_event_name_belongs_to_one_active_meter(meters: Meters, catalogue: CatalogueKeeper) -> None:
    first = meters.create(TEST, DRAFT)
    with pytest.raises(InvalidRequest) as refused:
        meters.create(TEST, replace(DRAFT, display_name="Second"))
    assert refused.value.message == f"An active meter with event_name tokens already exists: {first.id}."
    assert refused.value.param == "event_name"
    assert known(catalogue) == meters.list(TEST, Page()).items == (first,)


def test_other_tenants_and_other_event_names_are_free(meters: Meters) -> None:
    meters.create(TEST, DRAFT)
    meters.create(LIVE, DRAFT)
    meters.create(OTHER, DRAFT)
    meters.create(TEST, replace(DRAFT, event_name="requests"))


def test_the_event_name_of_an_inactive_meter_may_be_taken(meters: Meters, catalogue: CatalogueKeeper) -> None:
    first = meters.deactivate(TEST, meters.create(TEST, DRAFT).id)
    second = meters.create(TEST, DRAFT)
    assert known(catalogue) == (first, second)


def test_of_many_racing_creates_of_one_name_exactly_one_wins(meters: Meters, store: MemoryControlStore) -> None:
    def create(_: int) -> bool:
        try:
            meters.create(TEST, DRAFT)
        except InvalidRequest:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(create, range(64))) == 1
    assert len(store.meters_named(TEST, "tokens")) == 1


def test_an_unknown_meter_or_a_strangers_is_not_found(meters: Meters) -> None:
    meter = meters.create(TEST, DRAFT)
    for tenant, meter_id in ((TEST, "x"), (LIVE, meter.id), (OTHER, meter.id)):
        for act in (meters.get, meters.deactivate, meters.reactivate):
            with pytest.raises(NotFound) as refused:
                act(tenant, meter_id)
            assert refused.value.message == f"No such billing meter: '{meter_id}'"
            assert refused.value.param == "id"
        with pytest.raises(NotFound):
            meters.rename(tenant, meter_id, "Stolen")
    assert meters.get(TEST, meter.id) == meter


def test_renaming_shows_in_the_store_and_in_the_catalogue(meters: Meters, catalogue: CatalogueKeeper) -> None:
    meter = meters.create(TEST, DRAFT)
    renamed = meters.rename(TEST, meter.id, "New name")
    assert renamed == replace(meter, display_name="New name", updated_ms=NOW_MS + 1)
    assert meters.get(TEST, meter.id) == renamed
    assert known(catalogue) == (renamed,)


def test_the_history_of_a_meter_decides_what_was_found_at_every_moment(
    meters: Meters, catalogue: CatalogueKeeper
) -> None:
    meter_id = meters.create(TEST, DRAFT).id
    meters.deactivate(TEST, meter_id)
    meter = meters.reactivate(TEST, meter_id)
    assert meter.active_spans == (Span(NOW_MS, NOW_MS + 1), Span(NOW_MS + 2))
    found = [resolve(known(catalogue), NOW_MS + offset_ms) for offset_ms in (-1, 0, 1, 2)]
    assert found == [Found(None), Found(meter), Found(meter, archived=True), Found(meter)]


def test_deactivating_an_inactive_or_reactivating_an_active_meter_is_refused(meters: Meters) -> None:
    meter = meters.create(TEST, DRAFT)
    with pytest.raises(InvalidRequest, match="already active"):
        meters.reactivate(TEST, meter.id)
    inactive = meters.deactivate(TEST, meter.id)
    with pytest.raises(InvalidRequest, match="already inactive"):
        meters.deactivate(TEST, meter.id)
    assert meters.get(TEST, meter.id) == inactive


def test_a_meter_is_not_reactivated_beside_another_active_one_of_its_name(meters: Meters) -> None:
    first = meters.deactivate(TEST, meters.create(TEST, DRAFT).id)
    second = meters.create(TEST, DRAFT)
    with pytest.raises(InvalidRequest, match=f"already exists: {second.id}"):
        meters.reactivate(TEST, first.id)
    meters.deactivate(TEST, second.id)
    assert meters.reactivate(TEST, first.id).is_active


def test_meters_are_listed_by_whether_they_are_active(meters: Meters) -> None:
    inactive = meters.deactivate(TEST, meters.create(TEST, DRAFT).id)
    active = meters.create(TEST, DRAFT)
    assert meters.list(TEST, Page()).items == (active, inactive)
    assert meters.list(TEST, Page(), active=True).items == (active,)
    assert meters.list(TEST, Page(), active=False).items == (inactive,)


def test_of_a_rename_and_a_deactivation_at_once_none_is_lost(meters: Meters) -> None:
    ids = [meters.create(TEST, replace(DRAFT, event_name=f"event {number}")).id for number in range(32)]
    with ThreadPoolExecutor(8) as threads:
        for meter_id in ids:
            threads.submit(meters.rename, TEST, meter_id, "New name")
            threads.submit(meters.deactivate, TEST, meter_id)
    for meter_id in ids:
        meter = meters.get(TEST, meter_id)
        assert (meter.display_name, meter.is_active) == ("New name", False)


def test_a_change_that_is_not_stored_is_not_seen_either(
    meters: Meters, catalogue: CatalogueKeeper, store: MemoryControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = meters.create(TEST, DRAFT)

    def full(_: Meter) -> None:
        raise StorageFull("no room")

    monkeypatch.setattr(store, "save_meter", full)
    with pytest.raises(StorageFull):
        meters.deactivate(TEST, meter.id)
    assert known(catalogue) == (meter,)


def test_a_restart_finds_the_same_catalogue(
    meters: Meters, catalogue: CatalogueKeeper, store: MemoryControlStore
) -> None:
    meters.deactivate(TEST, meters.create(TEST, DRAFT).id)
    meters.create(TEST, DRAFT)
    assert known(keeper(store)) == known(catalogue)
