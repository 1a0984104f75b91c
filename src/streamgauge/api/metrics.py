"""/metrics for Prometheus: how far events have come, over all accounts. Nothing here belongs to one of them, so no
credential is asked for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from streamgauge.api.operation import Endpoint
from streamgauge.api.services import Services
from streamgauge.engine.status import Gauges

MetricName: TypeAlias = Literal[
    # Counter, events: acknowledged, that is durable in the event log
    "streamgauge_accepted_events",
    # Counter, events: applied, that is with a fate and visible in summaries
    "streamgauge_applied_events",
    # Gauge, events and cancellations: acknowledged and not applied yet
    "streamgauge_backlog_events",
    # Gauge, seconds: age of what summaries show; 0 when everything acknowledged is visible
    "streamgauge_apply_lag_seconds",
    # Gauge, 0 or 1: applying stands still, and the log says why
    "streamgauge_apply_failed",
    # Gauge, identifiers: in the deduplication filter
    "streamgauge_dedup_filter_identifiers",
    # Gauge, bytes: memory of the deduplication filter
    "streamgauge_dedup_filter_bytes",
    # Counter, entries of the log: dropped because they were older than the retention
    "streamgauge_dropped_entries",
    # Counter, attempts: posts of notifications to destinations since the process started
    "streamgauge_delivery_attempts",
    # Counter, attempts: those of them that were not answered 2xx
    "streamgauge_delivery_failures",
    # Gauge, attempts: under way now
    "streamgauge_deliveries_running",
]


@dataclass(frozen=True, slots=True)
class _Definition:
    name: MetricName
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    help: str
    value: Callable[[Gauges], float]


DEFINITIONS: Final[tuple[_Definition, ...]] = (
    _Definition(
        "streamgauge_accepted_events",
        CounterMetricFamily,
        "Events acknowledged: durable in the event log.",
        lambda gauges: gauges.accepted_events,
    ),
    _Definition(
        "streamgauge_applied_events",
        CounterMetricFamily,
        "Events applied: with a fate, and visible in summaries if they counted.",
        lambda gauges: gauges.applied_events,
    ),
    _Definition(
        "streamgauge_backlog_events",
        GaugeMetricFamily,
        "Events acknowledged and not applied yet.",
        lambda gauges: gauges.backlog_events,
    ),
    _Definition(
        "streamgauge_apply_lag_seconds",
        GaugeMetricFamily,
        "Age of what summaries show; 0 when everything acknowledged is visible.",
        lambda gauges: gauges.lag_ms / 1000,
    ),
    _Definition(
        "streamgauge_apply_failed",
        GaugeMetricFamily,
        "1 while applying stands still; the log says why.",
        lambda gauges: gauges.apply_failed,
    ),
    _Definition(
        "streamgauge_dedup_filter_identifiers",
        GaugeMetricFamily,
        "Identifiers in the deduplication filter.",
        lambda gauges: gauges.filter_hashes,
    ),
    _Definition(
        "streamgauge_dedup_filter_bytes",
        GaugeMetricFamily,
        "Memory of the deduplication filter.",
        lambda gauges: gauges.filter_bytes,
    ),
    _Definition(
        "streamgauge_dropped_entries",
        CounterMetricFamily,
        "Entries of the event log dropped because they were older than the retention.",
        lambda gauges: gauges.dropped_entries,
    ),
    _Definition(
        "streamgauge_delivery_attempts",
        CounterMetricFamily,
        "Posts of notifications to destinations since the process started.",
        lambda gauges: gauges.delivery_attempts,
    ),
    _Definition(
        "streamgauge_delivery_failures",
        CounterMetricFamily,
        "Posts of notifications since the process started that were not answered 2xx.",
        lambda gauges: gauges.delivery_failures,
    ),
    _Definition(
        "streamgauge_deliveries_running",
        GaugeMetricFamily,
        "Posts of notifications under way.",
        lambda gauges: gauges.deliveries_running,
    ),
)


class _Snapshot(Collector):
    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        for each in DEFINITIONS:
            yield each.kind(each.name, each.help, value=each.value(self._gauges))


def exposition(services: Services) -> Endpoint:
    """All metrics in Prometheus' text format, read when they are asked for."""

    async def answer(request: Request) -> Response:
        gauges = await run_in_threadpool(services.status.gauges)
        registry = CollectorRegistry()
        registry.register(_Snapshot(gauges))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return answer
