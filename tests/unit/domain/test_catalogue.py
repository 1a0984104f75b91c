"""The catalogue: meters and customers by what an event carries, each tenant for itself."""

from dataclasses import replace

from streamgauge.domain.account import Tenant
from streamgauge.domain.catalogue import NEVER_BEGINS, NEVER_ENDS_MS, Catalogue
from streamgauge.domain.counting_rules import CountingRules, RulesHistory
from streamgauge.domain.customer import Customer
from streamgauge.domain.meter import Formula, Meter
from streamgauge.domain.span import Span

TEST = Tenant("acct_1", livemode=False)
LIVE = Tenant("acct_1", livemode=True)
OTHER = Tenant("acct_2", livemode=False)
RULES = RulesHistory.of(CountingRules())
METER = Meter(
    id="mtr_1",
    tenant=TEST,
    display_name="Calls",
    event_name="calls",
    formula=Formula.SUM,
    created_ms=100,
    updated_ms=100,
    active_spans=(Span(100),),
)
CUSTOMER = Customer(id="cus_1", tenant=TEST, created_ms=100)


def test_an_empty_catalogue_knows_nobody() -> None:
    catalogue = Catalogue(RULES)
    assert catalogue.meters_named(TEST, "calls") == ()
    assert catalogue.customer_bounds(TEST, ["cus_1", ""]) == [NEVER_BEGINS, NEVER_BEGINS]
    assert catalogue.customer_bounds(TEST, []) == []


def test_meters_that_share_an_event_name_are_listed_oldest_first_whatever_order_they_came_in() -> None:
    catalogue = Catalogue(RULES)
    second = replace(METER, id="mtr_0", created_ms=200)
    third = replace(METER, id="mtr_00", created_ms=200)
    for meter in (third, METER, second):
        catalogue.put_meter(meter)
    assert catalogue.meters_named(TEST, "calls") == (METER, second, third)


def test_a_meter_is_replaced_by_its_later_self() -> None:
    catalogue = Catalogue(RULES)
    catalogue.put_meter(METER)
    catalogue.put_meter(METER.deactivated(200))
    assert catalogue.meters_named(TEST, "calls") == (METER.deactivated(200),)


def test_meters_and_customers_of_other_tenants_and_names_are_not_found() -> None:
    catalogue = Catalogue(RULES)
    catalogue.put_meter(METER)
    catalogue.put_customer(CUSTOMER)
    for tenant in (LIVE, OTHER):
        assert catalogue.meters_named(tenant, "calls") == ()
        assert catalogue.customer_bounds(tenant, ["cus_1"]) == [NEVER_BEGINS]
    assert catalogue.meters_named(TEST, "Calls") == ()


def test_a_customer_counts_from_its_creation_to_its_deletion() -> None:
    catalogue = Catalogue(RULES)
    catalogue.put_customer(CUSTOMER)
    catalogue.put_customer(replace(CUSTOMER, id="cus_2", deleted_ms=300))
    assert catalogue.customer_bounds(TEST, ["cus_2", "cus_x", "cus_1"]) == [
        (100, 300),
        NEVER_BEGINS,
        (100, NEVER_ENDS_MS),
    ]
    catalogue.put_customer(replace(CUSTOMER, deleted_ms=150))
    assert catalogue.customer_bounds(TEST, ["cus_1"]) == [(100, 150)]


def test_nothing_lies_in_the_bounds_of_an_unknown_customer() -> None:
    begin_ms, end_ms = NEVER_BEGINS
    assert not any(begin_ms <= at_ms < end_ms for at_ms in (0, 1, 10**13, NEVER_ENDS_MS))
