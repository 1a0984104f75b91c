"""Customers: merged key by key, kept when deleted, and valid from one stamp of the log to another."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.catalogue import NEVER_BEGINS, NEVER_ENDS_MS
from streamgauge.domain.errors import NotFound
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.customers import Customers
from streamgauge.engine.ports.control_store import Page
from tests.support.control import NOW_MS, CountingEntropy, keeper, store_with_accounts

TENANT = Tenant("acct_1", False)
STRANGERS = (Tenant("acct_1", True), Tenant("acct_2", False))


@pytest.fixture
def store() -> MemoryControlStore:
    return store_with_accounts("acct_1", "acct_2")


@pytest.fixture
def catalogue(store: MemoryControlStore) -> CatalogueKeeper:
    return keeper(store)


@pytest.fixture
def customers(store: MemoryControlStore, catalogue: CatalogueKeeper) -> Customers:
    return Customers(store, catalogue, CountingEntropy())


def bounds(catalogue: CatalogueKeeper, customer_id: str, tenant: Tenant = TENANT) -> tuple[int, int]:
    return catalogue.settled().customer_bounds(tenant, [customer_id])[0]


def test_a_created_customer_is_valid_from_its_stamp_on(customers: Customers, catalogue: CatalogueKeeper) -> None:
    customer = customers.create(TENANT, {"name": "Ada", "email": "", "phone": None}, {"plan": "pro", "gone": ""})
    assert customer.id.startswith("cus_") and len(customer.id) == len("cus_") + 14
    assert customer.created_ms == NOW_MS
    assert customer.attributes == {"name": "Ada"}
    assert customer.metadata == {"plan": "pro"}
    assert customers.get(TENANT, customer.id) == customer
    assert bounds(catalogue, customer.id) == (NOW_MS, NEVER_ENDS_MS)


def test_an_unknown_customer_or_a_strangers_is_not_found(customers: Customers, catalogue: CatalogueKeeper) -> None:
    customer = customers.create(TENANT, {})
    for tenant, customer_id in ((TENANT, "cus_x"), *((stranger, customer.id) for stranger in STRANGERS)):
        for act in (customers.get, customers.delete):
            with pytest.raises(NotFound) as refused:
                act(tenant, customer_id)
            assert refused.value.message == f"No such customer: '{customer_id}'"
            assert refused.value.param == "customer"
        with pytest.raises(NotFound):
            customers.update(tenant, customer_id, {"name": "Stolen"})
        assert bounds(catalogue, customer_id, tenant) == NEVER_BEGINS
    assert customers.get(TENANT, customer.id) == customer


def test_an_update_merges_attributes_and_metadata_key_by_key(customers: Customers) -> None:
    customer_id = customers.create(
        TENANT, {"name": "Ada", "phone": "1", "email": "a@example.com"}, {"plan": "pro", "team": "x"}
    ).id
    changes: dict[str, object] = {"phone": "", "email": None, "description": "Countess"}
    updated = customers.update(TENANT, customer_id, changes, {"plan": "", "seats": "3"})
    assert updated.attributes == {"name": "Ada", "description": "Countess"}
    assert updated.metadata == {"team": "x", "seats": "3"}
    assert customers.get(TENANT, customer_id) == updated


def test_an_update_without_metadata_leaves_it(customers: Customers) -> None:
    customer_id = customers.create(TENANT, {}, {"plan": "pro"}).id
    assert customers.update(TENANT, customer_id, {"name": "Ada"}, None).metadata == {"plan": "pro"}


def test_an_update_does_not_touch_validity(customers: Customers, catalogue: CatalogueKeeper) -> None:
    customer = customers.create(TENANT, {})
    assert customers.update(TENANT, customer.id, {"name": "Ada"}).validity == customer.validity
    assert bounds(catalogue, customer.id) == (NOW_MS, NEVER_ENDS_MS)


def test_of_many_updates_at_once_none_is_lost(customers: Customers) -> None:
    customer_id = customers.create(TENANT, {}).id
    with ThreadPoolExecutor(8) as threads:
        for number in range(64):
            threads.submit(customers.update, TENANT, customer_id, {f"a{number}": "x"}, {f"m{number}": "y"})
    customer = customers.get(TENANT, customer_id)
    assert customer.attributes == {f"a{number}": "x" for number in range(64)}
    assert customer.metadata == {f"m{number}": "y" for number in range(64)}


def test_a_deleted_customer_is_kept_and_its_validity_ends(customers: Customers, catalogue: CatalogueKeeper) -> None:
    customer_id = customers.create(TENANT, {"name": "Ada"}).id
    deleted = customers.delete(TENANT, customer_id)
    assert deleted.deleted_ms == NOW_MS + 1
    assert customers.get(TENANT, customer_id) == deleted
    assert bounds(catalogue, customer_id) == (NOW_MS, NOW_MS + 1)


def test_a_deleted_customer_can_be_neither_updated_nor_deleted(
    customers: Customers, catalogue: CatalogueKeeper
) -> None:
    customer_id = customers.create(TENANT, {}).id
    customers.delete(TENANT, customer_id)
    with pytest.raises(NotFound, match="No such customer"):
        customers.update(TENANT, customer_id, {"name": "Ada"})
    with pytest.raises(NotFound, match="No such customer"):
        customers.delete(TENANT, customer_id)
    assert bounds(catalogue, customer_id) == (NOW_MS, NOW_MS + 1)


def test_customers_are_listed_newest_first_without_deleted_ones(customers: Customers) -> None:
    first, second, third = (customers.create(TENANT, {"email": email}) for email in ("a@x.org", "b@x.org", "a@x.org"))
    customers.delete(TENANT, second.id)
    assert customers.list(TENANT, Page()).items == (third, first)
    assert customers.list(TENANT, Page(), email="a@x.org").items == (third, first)
    assert customers.list(TENANT, Page(), email="b@x.org").items == ()


def test_a_restart_finds_the_same_validity(
    customers: Customers, catalogue: CatalogueKeeper, store: MemoryControlStore
) -> None:
    ids = [customers.create(TENANT, {}).id for _ in range(2)]
    customers.delete(TENANT, ids[0])
    restarted = keeper(store)
    assert [bounds(restarted, each) for each in ids] == [bounds(catalogue, each) for each in ids]
