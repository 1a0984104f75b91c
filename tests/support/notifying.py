"""The stores of notifications, destinations, deliveries and marks, of every adapter, on one control store each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakKeyDictionary, proxy

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.destinations import MemoryDestinations
from streamgauge.adapters.memory.marks import MemoryMarks
from streamgauge.adapters.memory.notifications import MemoryNotifications
from streamgauge.adapters.memory.outbox import MemoryOutbox
from streamgauge.adapters.relational.destinations import RelationalDestinations
from streamgauge.adapters.relational.marks import RelationalMarks
from streamgauge.adapters.relational.notifications import RelationalNotifications
from streamgauge.adapters.relational.outbox import RelationalOutbox
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.engine.notifications import Notifications
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.destinations import DestinationStore
from streamgauge.engine.ports.marks import Marks
from streamgauge.engine.ports.notifications import NotificationStore
from streamgauge.engine.ports.outbox import Outbox
from tests.support.control_stores import control_store


@dataclass(frozen=True, slots=True)
class Stores:
    control: ControlStore
    notifications: NotificationStore
    destinations: DestinationStore
    outbox: Outbox
    marks: Marks


_in_memory: WeakKeyDictionary[ControlStore, Stores] = WeakKeyDictionary()


def on(control: ControlStore) -> Stores:
    """The stores beside `control`, of its technology. Beside one in memory they are always the same."""
    if isinstance(control, RelationalControlStore):
        return Stores(
            control,
            RelationalNotifications(control),
            RelationalDestinations(control),
            RelationalOutbox(control),
            RelationalMarks(control),
        )
    if control not in _in_memory:
        assert isinstance(control, MemoryControlStore)
        outbox = MemoryOutbox(control)
        notifications, destinations = MemoryNotifications(control, outbox), MemoryDestinations(control, outbox)
        _in_memory[control] = Stores(proxy(control), notifications, destinations, outbox, MemoryMarks(control))
    return replace(_in_memory[control], control=control)


def notifications_on(control: ControlStore, clock: Clock, entropy: Entropy) -> Notifications:
    stores = on(control)
    return Notifications(control, stores.notifications, stores.destinations, stores.outbox, clock, entropy)


@contextmanager
def opened_stores(adapter: str, folder: Path) -> Iterator[Stores]:
    """One of `control_stores.ADAPTERS`, with the accounts `acct_1` and `acct_2`."""
    with control_store(adapter, folder) as control:
        yield on(control)
