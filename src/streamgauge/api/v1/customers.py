"""Customers: /v1/customers. Usage is counted for them; what else is told of them is kept, shown, and does nothing."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import msgspec

from streamgauge.api.exact import unix_seconds
from streamgauge.api.operation import Call, operation
from streamgauge.api.parameters import Parameters, Text
from streamgauge.api.services import Services
from streamgauge.api.v1.lists import ListObject, ListParameters, listed
from streamgauge.domain.customer import Customer
from streamgauge.domain.permission import CUSTOMERS_READ, CUSTOMERS_WRITE

URL = "/v1/customers"

METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 40
METADATA_VALUE_LENGTH_MAX = 500

# Documented parameters of the original API that concern payments, taxes and invoices.
_PAYMENTS_AND_INVOICES = frozenset(
    {
        "cash_balance",
        "invoice_settings",
        "next_invoice_sequence",
        "payment_method",
        "source",
        "tax",
        "tax_id_data",
        "test_clock",
        "validate",
    }
)

CustomerId = Annotated[str, msgspec.Meta(pattern=r"^[!-.0-~]{1,255}\Z")]
Email = Annotated[str, msgspec.Meta(max_length=512)]
LegalName = Annotated[str, msgspec.Meta(max_length=150)]
InvoicePrefix = Annotated[str, msgspec.Meta(pattern=r"^[0-9A-Z]{1,12}\Z")]
MetadataKey = Annotated[str, msgspec.Meta(max_length=METADATA_KEY_LENGTH_MAX)]
MetadataValue = Annotated[str, msgspec.Meta(max_length=METADATA_VALUE_LENGTH_MAX)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], msgspec.Meta(max_length=METADATA_KEYS_MAX)]
Unset: TypeAlias = msgspec.UnsetType


class TaxExempt(StrEnum):
    EXEMPT = "exempt"
    NONE = "none"
    REVERSE = "reverse"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Taken and shown alike: what is not known is null."""

    city: Text | None = None
    country: Text | None = None
    line1: Text | None = None
    line2: Text | None = None
    postal_code: Text | None = None
    state: Text | None = None


class Shipping(msgspec.Struct, frozen=True, kw_only=True):
    address: Address
    name: Text
    phone: Text | None = None


class Attributes(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a customer besides metadata, as it is kept: one member per attribute of `domain.Customer`."""

    address: Address | None = None
    balance: int | None = None
    business_name: str | None = None
    description: str | None = None
    email: str | None = None
    individual_name: str | None = None
    invoice_prefix: str | None = None
    name: str | None = None
    phone: str | None = None
    preferred_locales: tuple[str, ...] | None = None
    shipping: Shipping | None = None
    tax_exempt: TaxExempt | None = None


class CustomerParameters(Parameters, frozen=True, kw_only=True):
    """An empty text unsets; nested objects are replaced whole, metadata key by key."""

    UNSUPPORTED: ClassVar[frozenset[str]] = _PAYMENTS_AND_INVOICES

    address: Address | Unset | None = msgspec.UNSET
    balance: int | Unset = msgspec.UNSET
    business_name: LegalName | Unset | None = msgspec.UNSET
    description: Text | Unset | None = msgspec.UNSET
    email: Email | Unset | None = msgspec.UNSET
    individual_name: LegalName | Unset | None = msgspec.UNSET
    invoice_prefix: InvoicePrefix | Unset | None = msgspec.UNSET
    metadata: Metadata | Unset | None = msgspec.UNSET
    name: Text | Unset | None = msgspec.UNSET
    phone: Text | Unset | None = msgspec.UNSET
    preferred_locales: tuple[Text, ...] | Unset | None = msgspec.UNSET
    shipping: Shipping | Unset | None = msgspec.UNSET
    tax_exempt: TaxExempt | Unset | None = msgspec.UNSET

    def attributes(self) -> dict[str, object]:
        """The attributes that were given, as plain values; None for those to be unset."""
        given: dict[str, Any] = msgspec.to_builtins(self)
        return {name: given[name] for name in Attributes.__struct_fields__ if name in given}


class CreateParameters(CustomerParameters, frozen=True, kw_only=True):
    """`id` is ours: events name customers before anyone creates them, and those are then created by that name."""

    id: CustomerId | Unset = msgspec.UNSET


class UpdateParameters(CustomerParameters, frozen=True, kw_only=True):
    UNSUPPORTED: ClassVar[frozenset[str]] = _PAYMENTS_AND_INVOICES | {"default_source"}


class CustomerListParameters(ListParameters, frozen=True, kw_only=True):
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset({"created", "test_clock"})

    email: Email | Unset = msgspec.UNSET


class CustomerObject(msgspec.Struct, frozen=True, kw_only=True):
    """`customer`: the documented members that we keep, and as null the plain ones that no metering service has."""

    id: str
    object: Literal["customer"] = "customer"
    address: Address | None
    balance: int
    business_name: str | None
    created: int
    currency: None = None
    default_source: None = None
    delinquent: None = None
    description: str | None
    discount: None = None
    email: str | None
    individual_name: str | None
    invoice_prefix: str | None
    livemode: bool
    metadata: Mapping[str, str]
    name: str | None
    phone: str | None
    preferred_locales: tuple[str, ...]
    shipping: Shipping | None
    tax_exempt: TaxExempt
    test_clock: None = None


class DeletedCustomerObject(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a customer for ever after it was deleted."""

    id: str
    object: Literal["customer"] = "customer"
    deleted: Literal[True] = True


@operation(needs=CUSTOMERS_WRITE)
def create(services: Services, call: Call, given: CreateParameters) -> CustomerObject:
    """Create a customer."""
    return customer_object(
        services.customers.create(call.tenant, given.attributes(), given.metadata or {}, customer_id=given.id or None)
    )


@operation(needs=CUSTOMERS_READ)
def retrieve(services: Services, call: Call, given: Parameters) -> CustomerObject | DeletedCustomerObject:
    """Retrieve a customer, also one that was deleted."""
    customer = services.customers.get(call.tenant, call.object_id("customer"))
    return customer_object(customer) if customer.deleted_ms is None else DeletedCustomerObject(id=customer.id)


@operation(needs=CUSTOMERS_WRITE)
def update(services: Services, call: Call, given: UpdateParameters) -> CustomerObject:
    """Update a customer."""
    customer_id = call.object_id("customer")
    metadata: Mapping[str, str] | None = given.metadata or None
    if given.metadata is None:
        # `metadata=` empties it: the same as every key with an empty value.
        metadata = dict.fromkeys(services.customers.get(call.tenant, customer_id).metadata, "")
    return customer_object(services.customers.update(call.tenant, customer_id, given.attributes(), metadata))


@operation(needs=CUSTOMERS_WRITE)
def delete(services: Services, call: Call, given: Parameters) -> DeletedCustomerObject:
    """Delete a customer for good: events received from now on find none. What was counted stays."""
    return DeletedCustomerObject(id=services.customers.delete(call.tenant, call.object_id("customer")).id)


@operation(needs=CUSTOMERS_READ)
def list_page(services: Services, call: Call, given: CustomerListParameters) -> ListObject[CustomerObject]:
    """List customers that are not deleted, newest first."""
    page = services.customers.list(call.tenant, given.page(), email=given.email or None)
    return listed(page, customer_object, URL)


def customer_object(customer: Customer) -> CustomerObject:
    known = msgspec.convert(customer.attributes, Attributes)
    return CustomerObject(
        id=customer.id,
        address=known.address,
        balance=known.balance or 0,
        business_name=known.business_name,
        created=unix_seconds(customer.created_ms),
        description=known.description,
        email=known.email,
        individual_name=known.individual_name,
        invoice_prefix=known.invoice_prefix,
        livemode=customer.tenant.livemode,
        metadata=customer.metadata,
        name=known.name,
        phone=known.phone,
        preferred_locales=known.preferred_locales or (),
        shipping=known.shipping,
        tax_exempt=known.tax_exempt or TaxExempt.NONE,
    )
