"""What the demo does, over HTTP alone: create, stream, stream again, wait, compare."""

import importlib.util
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from streamgauge.demo import trace
from streamgauge.demo.comparison import Comparison, customer_name
from streamgauge.demo.pinned import session_trusting
from streamgauge.demo.trace import CONTEXT_TOKENS, CUSTOMERS, GENERATED_TOKENS, LLM_CALLS, Call, UsageKey
from streamgauge.demo.usage_stream import EVENTS_PER_REQUEST_MAX, UsageStream, connect
from streamgauge.domain.errors import StartRefused, StreamgaugeError, Unavailable

if TYPE_CHECKING:
    import stripe
    from stripe.params.v2.billing import MeterEventStreamCreateParamsEvent

VISIBLE_WAIT_SECONDS_MAX = 60.0
POLL_SECONDS = 0.05
MINUTE_MS = 60_000

FORMULAS = {CONTEXT_TOKENS: "sum", GENERATED_TOKENS: "sum", LLM_CALLS: "count"}


def run(base_url: str, secret_key: str, console: Console, certificate: Path | None = None) -> bool:
    """Stream the trace twice into the server at `base_url` and compare its summaries with the file.

    `certificate` is that of a server that speaks HTTPS; nobody else is then trusted.

    Returns True when every total was equal.
    Raises StartRefused when the official client is missing or a meter of an older run does not fit; Unavailable when
    the server does not answer or events do not become visible in time; StreamgaugeError when it refuses a request.
    """
    if importlib.util.find_spec("stripe") is None:
        raise StartRefused("the demo streams with the official client: pip install 'streamgauge[demo]'")
    import stripe

    base_url = base_url.rstrip("/")
    calls = trace.read()
    console.print(
        f"{len(calls):,} calls of a production LLM service (Azure, 2023; licence in LICENSE.data). The trace names no"
        f" customers and is too old to meter: customers are derived from row numbers (row mod {CUSTOMERS}) and all"
        " timestamps were shifted by one constant, so that the last call lies 5 minutes back.",
        highlight=False,
    )
    try:
        return _run_once(base_url, secret_key, calls, console, certificate)
    except stripe.APIConnectionError as error:
        # Its text blames the real service and gives that one's support address.
        raise Unavailable(f"no answer from {base_url}: is the server running?") from error
    except stripe.StripeError as error:
        raise StreamgaugeError(f"the server at {base_url} refused a request of the demo: {error}") from error


@dataclass(frozen=True, slots=True)
class Subjects:
    """What the events of one run are about: meter ids by event name, customer ids by customer index."""

    meters: dict[str, str]
    customers: tuple[str, ...]


def _run_once(
    base_url: str, secret_key: str, recorded: Sequence[Call], console: Console, certificate: Path | None
) -> bool:
    import stripe

    calls = trace.shifted(recorded, int(time.time() * 1000))
    session = None if certificate is None else session_trusting(certificate)
    with closing(stripe.RequestsClient(session=session)) as http_client:
        client = connect(secret_key, base_url, http_client)
        subjects = Subjects(_meters(client), _customers(client))
        events = _events(calls, subjects, run_id=uuid.uuid4().hex)
        stream = UsageStream(client, base_url, http_client)
        with _progress(console) as progress:
            first_rate = _send_all("stream", events, stream, progress)
            # The answer to a lost connection is to send again; here everything is sent again, to show that it is safe.
            second_rate = _send_all("resend", events, stream, progress)
        _wait_until_visible(client)
        comparison = Comparison(_summaries(client, calls, subjects), trace.expected_totals(calls))
    console.print(comparison.table())
    verdict = "[bold green]All totals are equal[/]" if comparison.all_equal else "[bold red]Totals differ[/]"
    console.print(
        f"{verdict}: {len(events):,} events streamed at {first_rate:,.0f} events/s,"
        f" then all sent again with the same identifiers at {second_rate:,.0f} events/s.",
        highlight=False,
    )
    return comparison.all_equal


def _meters(client: "stripe.StripeClient") -> dict[str, str]:
    """Meter ids by event name. An event name has one active meter, so those of an earlier run are used again."""
    found: dict[str, str] = {}
    for meter in client.v1.billing.meters.list({"status": "active", "limit": 100}).auto_paging_iter():
        formula = FORMULAS.get(meter.event_name)
        if formula is None:
            continue
        if meter.default_aggregation.formula != formula:
            raise StartRefused(
                f"meter {meter.id} takes {meter.event_name!r} events with the formula"
                f" {meter.default_aggregation.formula!r}, the demo needs {formula!r}: deactivate it first"
            )
        found[meter.event_name] = meter.id
    for event_name, formula in FORMULAS.items():
        if event_name not in found:
            created = client.v1.billing.meters.create(
                {
                    "event_name": event_name,
                    "display_name": event_name.replace("_", " ").capitalize(),
                    "default_aggregation": {"formula": formula},
                }
            )
            found[event_name] = created.id
    return found


def _customers(client: "stripe.StripeClient") -> tuple[str, ...]:
    """Ids of new customers: an earlier run on the same server must not show up in this run's totals."""
    return tuple(client.v1.customers.create({"name": customer_name(index)}).id for index in range(CUSTOMERS))


def _events(calls: Sequence[Call], subjects: Subjects, run_id: str) -> "list[MeterEventStreamCreateParamsEvent]":
    """Three events per call, one per meter. An identifier is made of run, row and meter, so a resend repeats it."""
    events: list[MeterEventStreamCreateParamsEvent] = []
    for call in calls:
        timestamp = _rfc3339(call.timestamp_ms)
        customer = subjects.customers[call.customer_index]
        # A count meter needs no value.
        for event_name, value in (
            (LLM_CALLS, {}),
            (CONTEXT_TOKENS, {"value": str(call.context_tokens)}),
            (GENERATED_TOKENS, {"value": str(call.generated_tokens)}),
        ):
            events.append(
                {
                    "event_name": event_name,
                    "identifier": f"{run_id}-{call.row}-{event_name}",
                    # As text: the client would turn a datetime into whole seconds.
                    "timestamp": timestamp,
                    "payload": {"stripe_customer_id": customer, **value},
                }
            )
    return events


def _send_all(
    title: str, events: "Sequence[MeterEventStreamCreateParamsEvent]", stream: UsageStream, progress: Progress
) -> float:
    """Send every event in order and return the rate, in acknowledged events per second."""
    task = progress.add_task(title, total=len(events))
    started = time.perf_counter()
    for start in range(0, len(events), EVENTS_PER_REQUEST_MAX):
        batch = events[start : start + EVENTS_PER_REQUEST_MAX]
        stream.send(batch)
        progress.advance(task, len(batch))
    return len(events) / (time.perf_counter() - started)


def _wait_until_visible(client: "stripe.StripeClient") -> None:
    """Return once every acknowledged event is in the summaries. Raises Unavailable after VISIBLE_WAIT_SECONDS_MAX."""
    deadline = time.monotonic() + VISIBLE_WAIT_SECONDS_MAX
    while backlog_events := _backlog_events(client):
        if time.monotonic() >= deadline:
            raise Unavailable(
                f"after {VISIBLE_WAIT_SECONDS_MAX:.0f} s, {backlog_events:,} acknowledged events are still not in the"
                " summaries; they are not lost: look at GET /streamgauge/status and at the server's log"
            )
        time.sleep(POLL_SECONDS)


def _backlog_events(client: "stripe.StripeClient") -> int:
    status = client.raw_request("get", "/streamgauge/status").data
    if not isinstance(status, dict) or not isinstance(status.get("backlog_events"), int):
        raise StreamgaugeError(f"GET /streamgauge/status has no backlog_events: {status!r}")
    return int(status["backlog_events"])


def _summaries(client: "stripe.StripeClient", calls: Sequence[Call], subjects: Subjects) -> dict[UsageKey, Decimal]:
    """The summary of each meter and customer over the minutes that cover the trace; no summary means 0."""
    first_ms = min(call.timestamp_ms for call in calls)
    last_ms = max(call.timestamp_ms for call in calls)
    start_time = first_ms // MINUTE_MS * 60
    end_time = (last_ms // MINUTE_MS + 1) * 60
    totals: dict[UsageKey, Decimal] = {}
    for event_name, meter in subjects.meters.items():
        for customer_index, customer in enumerate(subjects.customers):
            summaries = client.v1.billing.meters.event_summaries.list(
                meter, {"customer": customer, "start_time": start_time, "end_time": end_time}
            )
            # Through text: Decimal(float) would show the float's binary fraction.
            values = [Decimal(str(summary.aggregated_value)) for summary in summaries.data]
            totals[UsageKey(event_name, customer_index)] = sum(values, start=Decimal(0))
    return totals


def _rfc3339(timestamp_ms: int) -> str:
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z"


class _EventsPerSecond(ProgressColumn):
    """The rate of the bar's task, in acknowledged events per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} events/s")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _EventsPerSecond(),
        TimeElapsedColumn(),
        console=console,
    )
