"""Customers: whom usage is counted for. Whether one exists when an event is received decides whether it counts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from streamgauge.domain.account import Tenant
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.ports.clock import Entropy
from streamgauge.engine.ports.control_store import ControlStore, Listed, Page

V = TypeVar("V")


class Customers:
    """Creating and deleting are changes of the catalogue, stamped by the log; so is when validity begins and ends."""

    def __init__(self, store: ControlStore, catalogue: CatalogueKeeper, entropy: Entropy) -> None:
        self._store = store
        self._catalogue = catalogue
        self._entropy = entropy

    def create(
        self,
        tenant: Tenant,
        attributes: Mapping[str, object],
        metadata: Mapping[str, str] | None = None,
        *,
        customer_id: str | None = None,
    ) -> Customer:
        """Attributes that are None or empty are left out, and so is empty metadata. Without an id one is made.

        Raises InvalidRequest when there is, or ever was, a customer with that id.
        """
        wanted_id, customer_id = customer_id, customer_id or "cus_" + self._entropy.token(14)
        with self._catalogue.change() as change:
            if wanted_id is not None and self._store.get_customer(tenant, wanted_id) is not None:
                raise InvalidRequest(
                    f"Customer already exists: '{wanted_id}'", param="id", reason="resource_already_exists"
                )
            customer = Customer(
                id=customer_id,
                tenant=tenant,
                created_ms=change.at_ms,
                attributes=_merged({}, attributes),
                metadata=_merged({}, metadata or {}),
            )
            self._store.add_customer(customer)
            change.put_customer(customer)
        return customer

    def get(self, tenant: Tenant, customer_id: str) -> Customer:
        """A deleted customer too, told by `deleted_ms`. Raises NotFound when there never was one."""
        customer = self._store.get_customer(tenant, customer_id)
        if customer is None:
            raise _no_such(customer_id)
        return customer

    def update(
        self,
        tenant: Tenant,
        customer_id: str,
        attributes: Mapping[str, object],
        metadata: Mapping[str, str] | None = None,
    ) -> Customer:
        """Merge key by key; None or an empty string removes a key, and `metadata` None leaves all of it.

        Raises NotFound also when the customer is deleted.
        """
        # Validity does not change, so nothing is put; the lock is what keeps one of two updates from losing the other.
        with self._catalogue.change():
            customer = self._existing(tenant, customer_id)
            changed = replace(
                customer,
                attributes=_merged(customer.attributes, attributes),
                metadata=_merged(customer.metadata, metadata or {}),
            )
            self._store.save_customer(changed)
        return changed

    def delete(self, tenant: Tenant, customer_id: str) -> Customer:
        """Usage received from now on does not count; what was counted stays. Raises NotFound when deleted before."""
        with self._catalogue.change() as change:
            customer = replace(self._existing(tenant, customer_id), deleted_ms=change.at_ms)
            self._store.save_customer(customer)
            change.put_customer(customer)
        return customer

    def list(self, tenant: Tenant, page: Page, email: str | None = None) -> Listed[Customer]:
        """Only customers that are not deleted; `email` is compared exactly."""
        return self._store.list_customers(tenant, page, email=email)

    def _existing(self, tenant: Tenant, customer_id: str) -> Customer:
        customer = self.get(tenant, customer_id)
        if customer.deleted_ms is not None:
            raise _no_such(customer_id)
        return customer


def _merged(known: Mapping[str, V], changes: Mapping[str, V]) -> dict[str, V]:
    """`known` with `changes` on top, less what a change empties. Nested values are replaced whole."""
    return {key: value for key, value in {**known, **changes}.items() if value is not None and value != ""}


def _no_such(customer_id: str) -> NotFound:
    return NotFound(f"No such customer: '{customer_id}'", param="customer")
