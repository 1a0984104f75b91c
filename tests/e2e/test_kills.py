"""SIGKILL at random moments under load: nothing acknowledged is lost, nothing is counted twice.

Goal:   promise 1 and 2 of DESIGN.md, on the installed program with its real disk, processes and engine.
Method: clients stream numbered events, report single ones under request keys, take some back, and keep a ledger of
        what they were told. At random moments the whole process group is killed, started again, and everything that
        was not answered is sent again, shuffled into other batches, with some that was answered mixed in. At the end
        every total of every formula must be the ledger's.
"""

import json
import os
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import SECRET_KEY, Client, Server

KILLS = 20
SENDERS = 3
CUSTOMERS = 7


@dataclass
class Ledger:
    """What the client knows: every event it ever sent, and which of them were acknowledged."""

    seed: int
    customers: list[str]
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    cancelled: dict[str, bool] = field(default_factory=dict)  # identifier: whether that was answered
    singles: dict[str, tuple[int, bool]] = field(default_factory=dict)  # request key: value, whether answered
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fresh_batch(self, size: int) -> list[dict[str, Any]]:
        with self.lock:
            now_s = int(time.time())
            batch = []
            for _ in range(size):
                number = len(self.sent)
                event: dict[str, Any] = {
                    "event_name": ("kill_sum", "kill_count", "kill_last")[number % 3],
                    "identifier": f"evt-{self.seed}-{number}",
                    # All distinct, so that `last` has one answer in whatever order they arrive.
                    "timestamp": now_s - 400_000 + number,
                    "payload": {
                        "stripe_customer_id": self.customers[number % CUSTOMERS],
                        "value": str(Decimal(number % 1000) / 8),
                    },
                }
                self.sent[event["identifier"]] = event
                batch.append(event)
            return batch

    def acknowledge(self, batch: Sequence[dict[str, Any]]) -> None:
        with self.lock:
            self.answered.update(event["identifier"] for event in batch)

    def batches_to_resend(self, rng: random.Random) -> list[list[dict[str, Any]]]:
        """Everything unanswered and a part of what was answered, in new batches."""
        again = [event for name, event in self.sent.items() if name not in self.answered or rng.random() < 0.05]
        rng.shuffle(again)
        return [again[start : start + 100] for start in range(0, len(again), 100)]

    def one_to_cancel(self, rng: random.Random) -> dict[str, Any] | None:
        """An event that was acknowledged and not taken back yet; from now on it is meant to be."""
        with self.lock:
            known = sorted(self.answered - set(self.cancelled))
            if not known:
                return None
            event = self.sent[rng.choice(known)]
            self.cancelled[event["identifier"]] = False
            return event

    def expected(self, event_name: str, customer: str) -> Decimal:
        own = [
            event
            for event in self.sent.values()
            if event["event_name"] == event_name
            and event["payload"]["stripe_customer_id"] == customer
            and event["identifier"] not in self.cancelled
        ]
        if event_name == "kill_count":
            return Decimal(len(own))
        if event_name == "kill_sum":
            return sum((Decimal(event["payload"]["value"]) for event in own), Decimal(0))
        return Decimal(max(own, key=lambda event: event["timestamp"])["payload"]["value"])


def _send_until(stop: threading.Event, url: str, token: str, ledger: Ledger, rng: random.Random) -> None:
    """Stream fresh batches until told to stop or until the server is gone."""
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
        while not stop.is_set():
            batch = ledger.fresh_batch(rng.randint(1, 100))
            if not _post(http, token, batch):
                return
            ledger.acknowledge(batch)


def _cancel_until(stop: threading.Event, url: str, ledger: Ledger, rng: random.Random) -> None:
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
        while not stop.is_set():
            event = ledger.one_to_cancel(rng)
            if event is None:
                time.sleep(0.01)
            elif not _cancel(http, event, ledger):
                return


def _cancel(http: httpx.Client, event: dict[str, Any], ledger: Ledger) -> bool:
    body = {
        "event_name": event["event_name"],
        "type": "cancel",
        "cancel": {"identifier": event["identifier"]},
    }
    if _call(http, "/v2/billing/meter_event_adjustments", body, {}) is None:
        return False
    ledger.cancelled[event["identifier"]] = True
    return True


def _report_until(stop: threading.Event, url: str, ledger: Ledger) -> None:
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as http:
        while not stop.is_set():
            key = f"key-{ledger.seed}-{len(ledger.singles)}"
            ledger.singles[key] = (len(ledger.singles) % 50, False)
            if not _report(http, key, ledger):
                return


def _report(http: httpx.Client, key: str, ledger: Ledger) -> bool:
    """One event without an identifier: only its request key makes it one event however often it is sent."""
    value, _ = ledger.singles[key]
    payload = {"stripe_customer_id": ledger.customers[0], "value": str(value)}
    body = {"event_name": "kill_single", "payload": payload}
    if _call(http, "/v2/billing/meter_events", body, {"Idempotency-Key": key}) is None:
        return False
    ledger.singles[key] = (value, True)
    return True


def _call(http: httpx.Client, path: str, body: object, headers: dict[str, str]) -> httpx.Response | None:
    """The 200, or None: the server was killed, or says that it is going; then it may have happened or not."""
    try:
        answer = http.post(path, json=body, headers={"Authorization": f"Bearer {SECRET_KEY}", **headers})
    except httpx.TransportError:
        return None
    assert answer.status_code in (200, 503), answer.text
    return answer if answer.status_code == 200 else None


def _post(http: httpx.Client, token: str, batch: Sequence[dict[str, Any]]) -> bool:
    try:
        answer = http.post(
            "/v2/billing/meter_event_stream",
            content=json.dumps({"events": batch}),
            headers={"Authorization": f"Bearer {token}"},
        )
    except httpx.TransportError:
        return False
    # A server that is being killed may still say that it is going; then nothing was stored.
    assert answer.status_code in (200, 503), answer.text
    return answer.status_code == 200


@pytest.mark.timeout(600)
def test_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(10**6)))
    rng = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    # Small steps, so that kills meet all stages: many intents, inserts and checkpoints.
    server = Server(tmp_path / "data", apply_events_max=2_000, apply_interval_ms=5).start()
    with Client(server.url) as client:
        meters = {
            name: client.meter(name, name.removeprefix("kill_")) for name in ("kill_sum", "kill_count", "kill_last")
        }
        single_meter = client.meter("kill_single")
        ledger = Ledger(seed, [client.customer(name=f"c{number}") for number in range(CUSTOMERS)])
        token = client.session()

    for _ in range(KILLS):
        stop = threading.Event()
        senders = [
            threading.Thread(target=_send_until, args=(stop, server.url, token, ledger, random.Random(rng.random())))
            for _ in range(SENDERS)
        ]
        senders.append(
            threading.Thread(target=_cancel_until, args=(stop, server.url, ledger, random.Random(rng.random())))
        )
        senders.append(threading.Thread(target=_report_until, args=(stop, server.url, ledger)))
        for sender in senders:
            sender.start()
        time.sleep(rng.uniform(0.02, 1.0))
        server.kill()
        stop.set()
        for sender in senders:
            sender.join()

        server.start()
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
            for batch in ledger.batches_to_resend(rng):
                assert _post(http, token, batch)
                ledger.acknowledge(batch)
            for name, done in list(ledger.cancelled.items()):
                if not done or rng.random() < 0.05:
                    assert _cancel(http, ledger.sent[name], ledger)
            for key, (_, done) in list(ledger.singles.items()):
                if not done or rng.random() < 0.05:
                    assert _report(http, key, ledger)

    with Client(server.url) as client:
        assert ledger.answered == set(ledger.sent)
        client.wait_until_applied()
        for name, meter in meters.items():
            for customer in ledger.customers:
                assert Decimal(client.total(meter, customer)) == ledger.expected(name, customer), (name, customer)
        assert Decimal(client.total(single_meter, ledger.customers[0])) == sum(
            value for value, _ in ledger.singles.values()
        )
        assert ledger.cancelled
        assert ledger.singles
        for identifier in rng.sample(sorted(ledger.sent), 50):
            expected = "cancelled" if identifier in ledger.cancelled else "counted"
            assert client.receipt(identifier)["status"] == expected
    assert server.stop() == 0
