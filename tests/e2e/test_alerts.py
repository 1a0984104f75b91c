"""Billing alerts on the installed program: told within a second of being visible, and once, whatever is killed."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import Client, Server

URL = "/v1/billing/alerts"


def alert(client: Client, meter: str, gte: int, recurrence: str = "one_time", **more: Any) -> Any:
    threshold = {
        "usage_threshold[gte]": gte,
        "usage_threshold[meter]": meter,
        "usage_threshold[recurrence]": recurrence,
    }
    return client.post(URL, 200, alert_type="usage_threshold", title="Many calls", **threshold, **more)


def told(client: Client, alert_id: str) -> list[dict[str, Any]]:
    """What was announced of this alert, oldest first, as the events API shows it."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = client.get("/v1/events", 200, type="billing.alert.triggered", limit=100, **after)
        found += [each["data"]["object"] for each in page["data"]]
        if not page["has_more"]:
            return [each for each in reversed(found) if each["alert"]["id"] == alert_id]
        after = {"starting_after": page["data"][-1]["id"]}


def wait_until_told(client: Client, alert_id: str, times: int, seconds: float = 30) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while len(found := told(client, alert_id)) < times:
        assert time.monotonic() < deadline, f"told {found} after {seconds} s"
        time.sleep(0.02)
    return found


def events(name: str, customer: str, count: int, first: int = 0, value: int = 1) -> list[dict[str, Any]]:
    payload = {"stripe_customer_id": customer, "value": str(value)}
    return [
        {"event_name": name, "identifier": f"{name}-{customer}-{at}", "payload": payload}
        for at in range(first, first + count)
    ]


def test_a_crossing_is_told_within_a_second_of_being_visible(server: Server) -> None:
    with Client(server.url) as client:
        name = f"alerted-{time.time_ns()}"
        meter, customer = client.meter(name), client.customer(name="A")
        one_time, daily = alert(client, meter, 100), alert(client, meter, 100, "daily")
        token = client.session()
        client.stream(token, events(name, customer, 99))
        client.wait_until_applied()
        client.stream(token, events(name, customer, 1, first=99))
        client.wait_until_applied()
        visible = time.monotonic()
        (object_,) = wait_until_told(client, one_time["id"], 1)
        assert time.monotonic() - visible < 1
        assert (object_["object"], object_["customer"], object_["value"]) == ("billing.alert_triggered", customer, 100)
        assert object_["alert"] == one_time
        (of_day,) = wait_until_told(client, daily["id"], 1)
        assert of_day["period_start"] % 86_400 == 0
        client.stream(token, events(name, customer, 100, first=100))
        client.wait_until_applied()
        every = alert(client, meter, 50, "every")  # what it is told of shows that the others were looked at too
        client.stream(token, events(name, customer, 1, first=200))
        (multiple,) = wait_until_told(client, every["id"], 1)
        assert multiple["value"] == 201
        assert len(told(client, one_time["id"])) == 1


def test_an_alert_is_looked_at_at_once_when_it_is_activated(server: Server) -> None:
    with Client(server.url) as client:
        name = f"activated-{time.time_ns()}"
        meter, customer = client.meter(name), client.customer(name="A")
        filters = {"usage_threshold[filters][0][type]": "customer", "usage_threshold[filters][0][customer]": customer}
        made = alert(client, meter, 5, **filters)
        client.post(f"{URL}/{made['id']}/deactivate")
        client.stream(client.session(), events(name, customer, 10))
        client.wait_until_applied()
        assert told(client, made["id"]) == []
        client.post(f"{URL}/{made['id']}/activate")
        (object_,) = wait_until_told(client, made["id"], 1)
        assert (object_["customer"], object_["value"]) == (customer, 10)


@pytest.mark.timeout(300)
def test_kills_at_any_moment_neither_miss_nor_double_what_is_told(tmp_path: Path) -> None:
    rng = random.Random()
    with Server(tmp_path / "data", apply_events_max=200, apply_interval_ms=5) as server:
        with Client(server.url) as client:
            meter, latest = client.meter("calls"), client.meter("level", "last")
            customers = [client.customer(name=str(number)) for number in range(6)]
            once, every = alert(client, meter, 100), alert(client, meter, 50, "every")
            last = alert(client, latest, 3)
        sent = 0
        for _ in range(6):
            with Client(server.url) as client:
                token = client.session()
                for customer in customers:
                    client.stream(token, events("calls", customer, 40, first=sent))
                    client.stream(token, events("level", customer, 1, first=sent, value=sent))
            sent += 40
            time.sleep(rng.uniform(0, 0.6))
            server.kill()
            server.start()
        with Client(server.url) as client:
            client.wait_until_applied()
            for made in (once, last):
                found = wait_until_told(client, made["id"], len(customers))
                assert sorted(each["customer"] for each in found) == sorted(customers), json.dumps(found)
            deadline = time.monotonic() + 30
            while True:
                found = told(client, every["id"])
                highest = {each["customer"]: each["value"] // 50 for each in found}
                if highest == dict.fromkeys(customers, sent // 50):
                    break
                assert time.monotonic() < deadline, highest
                time.sleep(0.05)
            steps = [(each["customer"], each["value"] // 50) for each in found]
            assert len(steps) == len(set(steps))
            assert len(told(client, once["id"])) == len(told(client, last["id"])) == len(customers)
