"""Status: how far events have come, and whether the service is well."""

from collections.abc import Mapping
from dataclasses import dataclass

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import StreamgaugeError
from streamgauge.domain.tally import NOTHING, Tally
from streamgauge.engine.applying import Applying
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.delivery import DeliveryCounts
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """`backlog_events` are acknowledged and not yet visible, cancellations included. Every event received until
    `refreshed_at_ms` is visible.

    `failure` says why applying stands still, if it does.
    """

    accepted_events: int
    applied_events: int
    backlog_events: int
    refreshed_at_ms: int
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """What an operator watches, over all accounts. Times are milliseconds since the epoch, sizes bytes."""

    accepted_events: int
    applied_events: int
    backlog_events: int
    refreshed_at_ms: int
    lag_ms: int
    apply_failed: bool
    filter_hashes: int
    filter_bytes: int
    dropped_entries: int
    delivery_attempts: int
    delivery_failures: int
    deliveries_running: int


@dataclass(slots=True)
class Edges:
    """How many edge processes take requests, of how many. Whoever keeps them says so."""

    wanted: int = 1
    ready: int = 1


class Status:
    def __init__(
        self,
        log: EventLog,
        progress: Progress,
        backlog: Backlog,
        applying: Applying,
        deduplication: Deduplication,
        clock: Clock,
        delivery_counts: DeliveryCounts | None = None,
        edges: Edges | None = None,
    ) -> None:
        self._edges = edges or Edges()
        self._delivery_counts = delivery_counts or DeliveryCounts()
        self._log = log
        self._progress = progress
        self._backlog = backlog
        self._applying = applying
        self._deduplication = deduplication
        self._clock = clock

    def of(self, tenant: Tenant) -> StatusReport:
        # In this order: an event that is acknowledged meanwhile must not make the backlog look empty.
        refreshed_at_ms = self._refreshed_at_ms(self._clock.now_ms())
        applied = self._progress.applied().get(tenant, NOTHING)
        accepted = self._log.accepted().get(tenant, NOTHING)
        failure = self._applying.failure
        return StatusReport(
            accepted_events=accepted.events,
            applied_events=applied.events,
            backlog_events=(accepted - applied).entries,
            refreshed_at_ms=refreshed_at_ms,
            failure=None if failure is None else failure.message,
        )

    def gauges(self) -> Gauges:
        now_ms = self._clock.now_ms()
        refreshed_at_ms = self._refreshed_at_ms(now_ms)
        applied = _all(self._progress.applied())
        accepted = _all(self._log.accepted())
        return Gauges(
            accepted_events=accepted.events,
            applied_events=applied.events,
            backlog_events=(accepted - applied).entries,
            refreshed_at_ms=refreshed_at_ms,
            lag_ms=max(now_ms - refreshed_at_ms, 0),
            apply_failed=self._applying.failure is not None,
            filter_hashes=self._deduplication.filter_count,
            filter_bytes=self._deduplication.filter_bytes,
            dropped_entries=self._log.beginning().offset,
            delivery_attempts=self._delivery_counts.attempts,
            delivery_failures=self._delivery_counts.failures,
            deliveries_running=self._delivery_counts.running,
        )

    def ready(self) -> str | None:
        """None when events would be accepted now; else the reason why not. Writes to the log's disk to find out."""
        if self._edges.ready < self._edges.wanted:
            return f"{self._edges.ready} of {self._edges.wanted} edge processes take requests"
        try:
            self._backlog.check()
            self._log.stamp(self._clock.now_ms())
        except StreamgaugeError as error:
            return error.message
        return None

    def _refreshed_at_ms(self, now_ms: int) -> int:
        checkpoint = self._progress.checkpoint()
        if checkpoint.next_offset == self._log.end_offset():
            return max(now_ms, checkpoint.received_at_ms)
        return checkpoint.received_at_ms


def _all(tallies: Mapping[Tenant, Tally]) -> Tally:
    return sum(tallies.values(), NOTHING)
