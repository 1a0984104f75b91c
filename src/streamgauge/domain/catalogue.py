"""Meters and customers with the history of their validity: what an event found when it was received."""

from collections.abc import Iterator

from streamgauge.domain.account import Tenant
from streamgauge.domain.counting_rules import RulesHistory
from streamgauge.domain.customer import Customer
from streamgauge.domain.meter import Meter
from streamgauge.domain.span import Span

NEVER_ENDS_MS = 2**62
NEVER_BEGINS = (NEVER_ENDS_MS, NEVER_ENDS_MS)


class Catalogue:
    """Look-ups by what an event carries. Entries are only added or given an end, so reading needs no lock.

    `rules` say when every customer id was valid, known or not.
    """

    def __init__(self, rules: RulesHistory) -> None:
        self.rules = rules
        self._meters: dict[tuple[Tenant, str], tuple[Meter, ...]] = {}
        self._customers: dict[Tenant, dict[str, tuple[int, int]]] = {}

    def put_meter(self, meter: Meter) -> None:
        """Add a meter, or replace it by its later self."""
        key = (meter.tenant, meter.event_name)
        others = tuple(known for known in self._meters.get(key, ()) if known.id != meter.id)
        self._meters[key] = tuple(sorted((*others, meter), key=lambda each: (each.created_ms, each.id)))

    def put_customer(self, customer: Customer) -> None:
        """Add a customer, or replace it by its later self."""
        self._customers.setdefault(customer.tenant, {})[customer.id] = _bounds(customer.validity)

    def meters_named(self, tenant: Tenant, event_name: str) -> tuple[Meter, ...]:
        """Every meter that ever had this event name, oldest first."""
        return self._meters.get((tenant, event_name), ())

    def meters(self) -> Iterator[Meter]:
        """Every meter there ever was."""
        for named in self._meters.values():
            yield from named

    def customer_bounds(self, tenant: Tenant, customer_ids: list[str]) -> list[tuple[int, int]]:
        """For each id the half-open interval of `received_at` (ms) in which it exists; an empty one when unknown."""
        known = self._customers.get(tenant, {})
        return [known.get(customer_id, NEVER_BEGINS) for customer_id in customer_ids]


def _bounds(span: Span) -> tuple[int, int]:
    return span.start_ms, NEVER_ENDS_MS if span.end_ms is None else span.end_ms
