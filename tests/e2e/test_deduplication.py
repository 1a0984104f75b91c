"""Resending changes no total: inside a batch, across batches, across restarts, and however the server ended."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.support.server import Client, Server

EVENTS = 2_000
CUSTOMERS = 4


@dataclass
class Usage:
    """A server, and the events that every test sends to it again."""

    server: Server
    meters: dict[str, str]
    customers: list[str]
    token: str
    events: list[dict[str, Any]]

    def send(self, events: Sequence[dict[str, Any]]) -> None:
        with Client(self.server.url) as client:
            for start in range(0, len(events), 100):
                client.stream(self.token, events[start : start + 100])
            client.wait_until_applied()

    def totals(self) -> dict[tuple[str, str], Decimal]:
        with Client(self.server.url) as client:
            return {
                (name, customer): Decimal(client.total(meter, customer))
                for name, meter in self.meters.items()
                for customer in self.customers
            }

    def expected(self) -> dict[tuple[str, str], Decimal]:
        totals: dict[tuple[str, str], Decimal] = {}
        for event in self.events:
            key = (event["event_name"], event["payload"]["stripe_customer_id"])
            value = Decimal(event["payload"]["value"]) if event["event_name"] == "sum" else Decimal(1)
            totals[key] = totals.get(key, Decimal(0)) + value
        return totals


@pytest.fixture(scope="module")
def usage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Usage]:
    with Server(tmp_path_factory.mktemp("deduplication") / "data", apply_events_max=500) as server:
        with Client(server.url) as client:
            customers = [client.customer(name=f"c{number}") for number in range(CUSTOMERS)]
            made = Usage(
                server, {name: client.meter(name, name) for name in ("sum", "count")}, customers, client.session(), []
            )
        made.events = [
            {
                "event_name": ("sum", "count")[number % 2],
                "identifier": f"evt {number}",
                "payload": {
                    "stripe_customer_id": customers[number // 2 % CUSTOMERS],
                    "value": str(Decimal(number) / 10),
                },
            }
            for number in range(EVENTS)
        ]
        made.send(made.events)
        assert made.totals() == made.expected()
        yield made


def test_the_same_batches_again_change_nothing(usage: Usage) -> None:
    usage.send(usage.events)
    assert usage.totals() == usage.expected()


def test_other_batches_of_the_same_events_with_repeats_inside_change_nothing(usage: Usage) -> None:
    rng = random.Random(7)
    again = usage.events + rng.sample(usage.events, EVENTS // 2)
    rng.shuffle(again)
    usage.send(again)
    usage.send([event for event in usage.events[:100] for _ in range(7)])
    assert usage.totals() == usage.expected()


def test_a_new_event_repeated_inside_its_first_batch_counts_once(usage: Usage) -> None:
    fresh = {**usage.events[0], "identifier": "fresh"}
    usage.events.append(fresh)
    usage.send([fresh] * 100)
    assert usage.totals() == usage.expected()
    with Client(usage.server.url) as client:
        receipt = client.receipt("fresh")
    assert (receipt["status"], receipt["repeats"], receipt["conflicting_repeats"]) == ("counted", 99, 0)


def test_a_repeat_with_other_content_changes_nothing_and_is_flagged(usage: Usage) -> None:
    changed = {**usage.events[10], "payload": {**usage.events[10]["payload"], "value": "999"}}
    with Client(usage.server.url) as client:
        before = client.receipt(changed["identifier"])["conflicting_repeats"]
        usage.send([changed])
        assert client.receipt(changed["identifier"])["conflicting_repeats"] == before + 1
    assert usage.totals() == usage.expected()


@pytest.mark.parametrize("ended_by", ["SIGTERM", "SIGKILL"])
def test_a_restart_whose_filter_is_read_from_the_store_changes_nothing(usage: Usage, ended_by: str) -> None:
    if ended_by == "SIGTERM":
        assert usage.server.stop() == 0
    else:
        usage.server.kill()
    usage.server.start()
    assert usage.totals() == usage.expected()
    usage.send(list(reversed(usage.events)))
    assert usage.totals() == usage.expected()


def test_a_corrected_resend_of_a_rejected_event_counts_once(usage: Usage) -> None:
    wrong = {**usage.events[0], "identifier": "corrected", "payload": {**usage.events[0]["payload"], "value": "x"}}
    right = {**wrong, "payload": {**wrong["payload"], "value": "5"}}
    usage.send([wrong])
    with Client(usage.server.url) as client:
        assert client.receipt("corrected")["code"] == "meter_event_invalid_value"
    usage.send([right])
    usage.send([wrong, right, wrong])
    usage.events.append(right)
    assert usage.totals() == usage.expected()
    with Client(usage.server.url) as client:
        assert client.receipt("corrected")["status"] == "counted"
