"""What clients were told, and the load that fills it: for tests that break a server and ask what it still knows."""

import json
import random
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx

from tests.support.server import SECRET_KEY, Client

CUSTOMERS: Final = 7
SENDERS: Final = 3
METERS: Final = ("kill_sum", "kill_count", "kill_last")
SINGLE_METER: Final = "kill_single"
# One of so many is sent again although it was answered, always the same: so the loss of any other stays to be seen.
_RESENT_ONE_OF: Final = 20


@dataclass
class Ledger:
    """What the client knows: every event it ever sent, and which of them were acknowledged."""

    seed: int
    customers: list[str]
    meters: dict[str, str]  # event name: id
    token: str
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    cancelled: dict[str, bool] = field(default_factory=dict)  # identifier: whether that was answered
    singles: dict[str, tuple[int, bool]] = field(default_factory=dict)  # request key: value, whether answered
    made: dict[str, tuple[str, str]] = field(default_factory=dict)  # request key: path and id, when answered
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def opened(cls, client: Client, seed: int) -> "Ledger":
        """On a server that knows nothing of it yet: makes its meters, customers and session."""
        names = (*METERS, SINGLE_METER)
        meters = {name: client.meter(name, name.removeprefix("kill_").replace("single", "sum")) for name in names}
        customers = [client.customer(name=f"c{number}") for number in range(CUSTOMERS)]
        return cls(seed, customers, meters, client.session())

    def fresh_batch(self, size: int) -> list[dict[str, Any]]:
        with self.lock:
            now_s = int(time.time())
            batch = []
            for _ in range(size):
                number = len(self.sent)
                event: dict[str, Any] = {
                    "event_name": METERS[number % 3],
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
        again = [event for name, event in self.sent.items() if name not in self.answered or _is_resent(name)]
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

    def expected(self) -> dict[tuple[str, str], Decimal | None]:
        """By event name and customer, the total of everything that was sent; None where nothing was."""
        own: dict[tuple[str, str], list[dict[str, Any]]] = {
            (name, customer): [] for name in METERS for customer in self.customers
        }
        for event in self.sent.values():
            if event["identifier"] not in self.cancelled:
                own[event["event_name"], event["payload"]["stripe_customer_id"]].append(event)
        totals = {key: _total(key[0], events) for key, events in own.items()}
        values = [Decimal(value) for value, _ in self.singles.values()]
        return totals | {(SINGLE_METER, self.customers[0]): sum(values, Decimal(0)) if values else None}


def _is_resent(name: str) -> bool:
    return zlib.crc32(name.encode()) % _RESENT_ONE_OF == 0


def _total(event_name: str, events: Sequence[Mapping[str, Any]]) -> Decimal | None:
    if not events:
        return None
    if event_name == "kill_count":
        return Decimal(len(events))
    if event_name == "kill_sum":
        return sum((Decimal(event["payload"]["value"]) for event in events), Decimal(0))
    return Decimal(max(events, key=lambda event: event["timestamp"])["payload"]["value"])


class Load:
    """Threads that send, cancel, report and make things until they are told to end or the server is gone."""

    def __init__(self, url: str, ledger: Ledger, rng: random.Random) -> None:
        self._url = url
        self._ledger = ledger
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        parts = [self._send] * SENDERS + [self._cancel, self._report, self._make]
        self._threads = [threading.Thread(target=self._run, args=(part, rng.random())) for part in parts]
        for each in self._threads:
            each.start()

    def end(self) -> None:
        """Wait for all of them. Raises what one of them found wrong."""
        self._stop.set()
        for each in self._threads:
            each.join()
        for error in self._errors:
            raise error

    def _run(self, part: Callable[[httpx.Client, random.Random], bool], seed: float) -> None:
        rng = random.Random(seed)
        try:
            with httpx.Client(base_url=self._url, timeout=10, trust_env=False) as http:
                while not self._stop.is_set() and part(http, rng):
                    pass
        except AssertionError as error:
            self._errors.append(error)

    def _send(self, http: httpx.Client, rng: random.Random) -> bool:
        return send(http, self._ledger, self._ledger.fresh_batch(rng.randint(1, 100)))

    def _cancel(self, http: httpx.Client, rng: random.Random) -> bool:
        event = self._ledger.one_to_cancel(rng)
        if event is None:
            time.sleep(0.01)
            return True
        return cancel(http, self._ledger, event["identifier"])

    def _report(self, http: httpx.Client, rng: random.Random) -> bool:
        key = f"key-{self._ledger.seed}-{len(self._ledger.singles)}"
        self._ledger.singles[key] = (len(self._ledger.singles) % 50, False)
        return report(http, self._ledger, key)

    def _make(self, http: httpx.Client, rng: random.Random) -> bool:
        """A meter or a customer now and then."""
        key = f"made-{self._ledger.seed}-{len(self._ledger.made)}"
        path = rng.choice(("/v1/customers", "/v1/billing/meters"))
        self._ledger.made[key] = (path, "")
        self._stop.wait(0.05)
        return make(http, self._ledger, key)


def send(http: httpx.Client, ledger: Ledger, batch: Sequence[dict[str, Any]]) -> bool:
    content = json.dumps({"events": batch})
    if _call(http, "/v2/billing/meter_event_stream", ledger.token, {}, content=content) is None:
        return False
    ledger.acknowledge(batch)
    return True


def cancel(http: httpx.Client, ledger: Ledger, identifier: str) -> bool:
    event_name = ledger.sent[identifier]["event_name"]
    body = {"event_name": event_name, "type": "cancel", "cancel": {"identifier": identifier}}
    if _call(http, "/v2/billing/meter_event_adjustments", SECRET_KEY, {}, json=body) is None:
        return False
    ledger.cancelled[identifier] = True
    return True


def report(http: httpx.Client, ledger: Ledger, key: str) -> bool:
    """One event without an identifier: only its request key makes it one event however often it is sent."""
    value, _ = ledger.singles[key]
    payload = {"stripe_customer_id": ledger.customers[0], "value": str(value)}
    body = {"event_name": SINGLE_METER, "payload": payload}
    if _call(http, "/v2/billing/meter_events", SECRET_KEY, {"Idempotency-Key": key}, json=body) is None:
        return False
    ledger.singles[key] = (value, True)
    return True


def make(http: httpx.Client, ledger: Ledger, key: str) -> bool:
    """A customer or meter; asked for again under its request key it must be the one that was answered."""
    path, known = ledger.made[key]
    meter = {"display_name": key, "event_name": key, "default_aggregation[formula]": "sum"}
    form = meter if path.endswith("meters") else {"name": key}
    answer = _call(http, path, SECRET_KEY, {"Idempotency-Key": key}, data=form)
    if answer is None:
        return False
    made = str(answer.json()["id"])
    assert known in ("", made), f"{key} was {known} and is {made}"
    ledger.made[key] = (path, made)
    return True


def _call(http: httpx.Client, path: str, secret: str, headers: dict[str, str], **body: Any) -> httpx.Response | None:
    """The 200, or None: the server was killed, or says that it is going; then it may have happened or not."""
    try:
        answer = http.post(path, headers={"Authorization": f"Bearer {secret}", **headers}, **body)
    except httpx.TransportError:
        return None
    assert answer.status_code in (200, 503), answer.text
    return answer if answer.status_code == 200 else None


def send_again(url: str, ledger: Ledger, rng: random.Random) -> None:
    """Whatever was not answered, and some of what was."""
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        for batch in ledger.batches_to_resend(rng):
            assert send(http, ledger, batch)
        for identifier, done in list(ledger.cancelled.items()):
            if not done or _is_resent(identifier):
                assert cancel(http, ledger, identifier)
        for key, (_, done) in list(ledger.singles.items()):
            if not done or _is_resent(key):
                assert report(http, ledger, key)
        for key, (_, known) in list(ledger.made.items()):
            if not known or _is_resent(key):
                assert make(http, ledger, key)


def differences(client: Client, ledger: Ledger, rng: random.Random, *, receipts: int = 20) -> list[str]:
    """Where the server, to which everything was sent, does not say what the ledger says; so many receipts are read."""
    client.wait_until_applied()
    found = []
    for (name, customer), expected in ledger.expected().items():
        total = client.total(ledger.meters[name], customer)
        if (None if total is None else Decimal(total)) != expected:
            found.append(f"{name} of {customer} is {total} and should be {expected}")
    for identifier in rng.sample(sorted(ledger.sent), min(receipts, len(ledger.sent))):
        expected_status = "cancelled" if identifier in ledger.cancelled else "counted"
        status = client.receipt(identifier)["status"]
        if status != expected_status:
            found.append(f"{identifier} is {status} and should be {expected_status}")
    for path, made in ledger.made.values():
        if client.get(f"{path}/{made}")["id"] != made:
            found.append(f"{path}/{made} is gone")
    return found
