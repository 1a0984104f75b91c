"""The catalogue as the applier sees it: in memory, changed together with the control store."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from streamgauge.domain.catalogue import Catalogue
from streamgauge.domain.counting_rules import RulesHistory
from streamgauge.domain.customer import Customer
from streamgauge.domain.meter import Meter
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.event_log import EventLog

Changed: TypeAlias = Callable[[Sequence[Meter], Sequence[Customer], int], None]


class CatalogueChange:
    """One change under way. `at_ms` is what it is valid from; what is put here is seen once the change is complete."""

    def __init__(self) -> None:
        self.at_ms = 0
        self.meters: list[Meter] = []
        self.customers: list[Customer] = []
        self.is_complete = False

    def put_meter(self, meter: Meter) -> None:
        self.meters.append(meter)

    def put_customer(self, customer: Customer) -> None:
        self.customers.append(customer)


class CatalogueKeeper:
    """Keeps the order between changes of the catalogue and records of the log.

    A change is stamped by the log and committed under one lock, which is held until the transaction has ended that
    the change is part of. The applier passes through the same lock after it
    has read its records: whatever is valid from before those records is then in memory, and whatever comes later is
    stamped later. So what an event finds depends on its `received_at` alone, and a rebuild finds the same.
    """

    def __init__(self, store: ControlStore, log: EventLog, clock: Clock, rules: RulesHistory) -> None:
        self._store = store
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._told: list[Changed] = []
        self._catalogue = Catalogue(rules)
        for meter in store.all_meters():
            self._catalogue.put_meter(meter)
        for customer in store.all_customers():
            self._catalogue.put_customer(customer)

    def when_changed(self, callback: "Changed") -> None:
        """Call it with the meters and customers of each change that was committed, and its stamp; in their order, in
        the thread that made it. It must not block."""
        self._told.append(callback)

    @contextmanager
    def change(self) -> Iterator[CatalogueChange]:
        """Write to the control store inside the block; leaving it by an exception changes nothing in memory."""
        # The transaction first: two changes that take the store's lock and this one in different order would wait
        # for each other.
        with self._store.transaction() as transaction:
            self._lock.acquire()
            change = CatalogueChange()
            transaction.when_ended(partial(self._end, change))
            change.at_ms = self._log.stamp(self._clock.now_ms())
            yield change
            change.is_complete = True

    def _end(self, change: CatalogueChange, committed: bool) -> None:
        try:
            if committed and change.is_complete:
                for meter in change.meters:
                    self._catalogue.put_meter(meter)
                for customer in change.customers:
                    self._catalogue.put_customer(customer)
                for callback in self._told:
                    callback(change.meters, change.customers, change.at_ms)
        finally:
            self._lock.release()

    def settled(self) -> Catalogue:
        """The catalogue, with every change in it that was stamped before now."""
        with self._lock:
            return self._catalogue
