"""Redriving by itself: when a customer or meter is created, what was rejected because it was missing is judged anew.

What was created is noted after its transaction has committed, and found again in the control store after a crash: a
mark says up to which moment everything was redriven. To do it twice changes nothing.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.customer import Customer
from streamgauge.domain.fate import RejectionCode
from streamgauge.domain.meter import Meter
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.dead_letters import LetterFilter
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.marks import Marks
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.redrive import Redrives, all_of
from streamgauge.engine.worker import Worker

logger = logging.getLogger(__name__)

MARK: Final = "redriven_automatically"
_NAMES_MAX: Final = 1_000
_PAUSE_SECONDS: Final = 0.1
_NO_METER: Final = frozenset({RejectionCode.NO_METER.value, RejectionCode.ARCHIVED_METER.value})
_NO_CUSTOMER: Final = frozenset({RejectionCode.CUSTOMER_NOT_FOUND.value})


@dataclass
class _Created:
    """Names of one tenant."""

    customers: set[str] = field(default_factory=set)
    event_names: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Creation:
    at_ms: int
    tenant: Tenant
    customer: str | None = None
    event_name: str | None = None


class AutomaticRedrive:
    """`run_once` is for one thread; `created` is called from any."""

    def __init__(
        self, control: ControlStore, marks: Marks, log: EventLog, progress: Progress, redrives: Redrives
    ) -> None:
        self._marks = marks
        self._log = log
        self._progress = progress
        self._redrives = redrives
        self._lock = threading.Lock()
        self._waiting: list[_Creation] = []
        self.something_waits = threading.Event()
        mark = marks.get(MARK)
        if mark is None:
            # Switched on just now: what was created before is left to whoever redrives it.
            marks.put(MARK, log.next_stamp_ms())
        else:
            self.created(control.all_meters(), control.all_customers(), mark)

    def created(self, meters: Iterable[Meter], customers: Iterable[Customer], since_ms: int) -> None:
        """Meters and customers that were changed: those that became valid at `since_ms` or later are noted."""
        found = [
            _Creation(meter.active_spans[-1].start_ms, meter.tenant, event_name=meter.event_name)
            for meter in meters
            if meter.is_active
        ] + [_Creation(each.created_ms, each.tenant, customer=each.id) for each in customers if each.deleted_ms is None]
        found = sorted((each for each in found if each.at_ms >= since_ms), key=lambda each: each.at_ms)
        if found:
            with self._lock:
                self._waiting += found
            self.something_waits.set()

    def run_once(self) -> bool:
        """Redrive for what was created; False while that, or what was received before it, waits.

        Raises Overloaded or Unavailable: the same is done again.
        """
        with self._lock:
            taken = self._waiting[:_NAMES_MAX]
            if not taken:
                self.something_waits.clear()
                return False
        last_ms = max(each.at_ms for each in taken)
        checkpoint = self._progress.checkpoint()
        if checkpoint.received_at_ms < last_ms and checkpoint.next_offset < self._log.end_offset():
            return False
        names: defaultdict[Tenant, _Created] = defaultdict(_Created)
        for each in taken:
            if each.customer is not None:
                names[each.tenant].customers.add(each.customer)
            if each.event_name is not None:
                names[each.tenant].event_names.add(each.event_name)
        for tenant, created in names.items():
            if created.event_names:
                self._redrive(tenant, LetterFilter(codes=_NO_METER, event_names=frozenset(created.event_names)))
            if created.customers:
                self._redrive(tenant, LetterFilter(codes=_NO_CUSTOMER, customers=frozenset(created.customers)))
        with self._lock:
            del self._waiting[: len(taken)]
        self._marks.put(MARK, max(last_ms, self._marks.get(MARK) or 0))
        return True

    def _redrive(self, tenant: Tenant, wanted: LetterFilter) -> None:
        for portion in all_of(self._redrives, tenant, wanted):
            if portion.selected:
                logger.info("redriven by itself counted=%d of=%d", portion.counted, portion.selected)


class RedrivingAutomatically(Worker):
    """Sleeps until something waits."""

    def __init__(self, automatic: AutomaticRedrive, *, on_fatal: Callable[[BaseException], None]) -> None:
        super().__init__("redrive", on_fatal)
        self._automatic = automatic

    def stop(self) -> None:
        self._stopping.set()
        self._automatic.something_waits.set()
        super().stop()

    def step(self) -> float:
        self._automatic.something_waits.wait()
        if not self._stopping.is_set():
            self._automatic.run_once()
        return _PAUSE_SECONDS
