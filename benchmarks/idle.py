"""A single event on an idle server: how long until it is acknowledged, and until a summary shows it."""

import json
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from benchmarks import filled_server, load, report
from benchmarks.control import Control
from benchmarks.failure import BenchmarkFailed
from benchmarks.load import percentile
from benchmarks.report import Figure
from benchmarks.request_file import API_VERSION, USER_AGENT
from benchmarks.server import Server
from benchmarks.workload import Meter

STREAM_PATH = "/v2/billing/meter_event_stream"
CUSTOMERS = 10
WARM_EVENTS = 5
PAUSE_SECONDS = (0.1, 0.4)  # at random, so that events do not keep step with anything the server does by the clock
POLL_SECONDS = 0.002
VISIBLE_WAIT_SECONDS_MAX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleRun:
    """`ack`: from handing the request to the socket to its complete answer. `visible`: from that answer to the first
    summary of the event's customer that has it in its total; `summary_ms_p50` is what one such question took.
    """

    events: int
    ack_ms_p50: float
    ack_ms_p99: float
    ack_ms_max: float
    visible_ms_p50: float
    visible_ms_p99: float
    visible_ms_max: float
    summary_ms_p50: float


def run(events: int, seed: int, data_dir: Path, note: Callable[[str], None]) -> IdleRun:
    """Send the events one by one to a fresh server, each after a pause. Raises BenchmarkFailed when one is refused, is
    not seen in time, or a total shows more than was sent.
    """
    rng = random.Random(seed)
    acks: list[float] = []
    visibles: list[float] = []
    summaries: list[float] = []
    with Server(data_dir) as server:
        server.wait_until_ready()
        server.wait_until_announced()
        with (
            closing(Control(server.port)) as control,
            closing(HTTPConnection(load.HOST, server.port, timeout=60)) as stream,
        ):
            subjects = filled_server.create_subjects(control, CUSTOMERS)
            token = control.open_session()
            note(f"{events:,} events, one by one")
            start = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=2)
            for number in range(WARM_EVENTS + events):
                time.sleep(rng.uniform(*PAUSE_SECONDS))
                customer = subjects.customers[number % CUSTOMERS]
                sent_at = time.perf_counter()
                _send(stream, token, customer)
                acknowledged_at = time.perf_counter()
                due = Decimal(number // CUSTOMERS + 1)
                visible_at, summary_seconds = _wait(control, subjects.meters[Meter.SUM], customer, start, due)
                if number >= WARM_EVENTS:
                    acks.append((acknowledged_at - sent_at) * 1e3)
                    visibles.append((visible_at - acknowledged_at) * 1e3)
                    summaries.append(summary_seconds * 1e3)
        server.stop()
    for values in (acks, visibles, summaries):
        values.sort()
    return IdleRun(
        events=events,
        ack_ms_p50=percentile(acks, 50),
        ack_ms_p99=percentile(acks, 99),
        ack_ms_max=acks[-1],
        visible_ms_p50=percentile(visibles, 50),
        visible_ms_p99=percentile(visibles, 99),
        visible_ms_max=visibles[-1],
        summary_ms_p50=percentile(summaries, 50),
    )


def figures(runs: Sequence[IdleRun]) -> list[Figure]:
    """The figures of at least one run."""
    return report.present(
        report.figure("acknowledgement p50", "ms", runs, lambda run: run.ack_ms_p50),
        report.figure("acknowledgement p99", "ms", runs, lambda run: run.ack_ms_p99),
        report.figure("acknowledgement, slowest", "ms", runs, lambda run: run.ack_ms_max),
        report.figure("acknowledged → visible p50", "ms", runs, lambda run: run.visible_ms_p50),
        report.figure("acknowledged → visible p99", "ms", runs, lambda run: run.visible_ms_p99),
        report.figure("acknowledged → visible, slowest", "ms", runs, lambda run: run.visible_ms_max),
        report.figure("one summary, p50", "ms", runs, lambda run: run.summary_ms_p50),
    )


def _send(stream: HTTPConnection, token: str, customer: str) -> None:
    event = {
        "event_name": Meter.SUM.event_name,
        "identifier": str(uuid.uuid4()),
        "payload": {"stripe_customer_id": customer, "value": "1"},
    }
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
        "Stripe-Version": API_VERSION,
        "User-Agent": USER_AGENT,
    }
    try:
        stream.request("POST", STREAM_PATH, json.dumps({"events": [event]}).encode(), headers)
        answer = stream.getresponse()
        text = answer.read()
    except (OSError, HTTPException) as error:
        raise BenchmarkFailed(f"an event got no answer: {error!r}") from error
    if answer.status != 200:
        raise BenchmarkFailed(f"an event was answered {answer.status}: {text.decode(errors='replace')}")


def _wait(control: Control, meter_id: str, customer: str, start: datetime, due: Decimal) -> tuple[float, float]:
    """Ask for the customer's total until it is `due`; when that was, and what the last question took, in seconds."""
    deadline = time.perf_counter() + VISIBLE_WAIT_SECONDS_MAX
    while True:
        end_s = int(time.time()) // 60 * 60 + 120
        asked_at = time.perf_counter()
        total = control.total(meter_id, customer, (int(start.timestamp()), end_s))
        answered_at = time.perf_counter()
        if total == due:
            return answered_at, answered_at - asked_at
        if total > due:
            raise BenchmarkFailed(f"{due} events of a customer were sent, and its total is {total}")
        if answered_at > deadline:
            raise BenchmarkFailed(f"an event was not visible after {VISIBLE_WAIT_SECONDS_MAX} s")
        time.sleep(POLL_SECONDS)
