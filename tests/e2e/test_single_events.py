"""Single events and adjustments on the installed program: read your own writes, cancel for every formula, one request
key one effect."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import SECRET_KEY, Client, Server

FORMULAS = ("sum", "count", "last")
WINDOWS = (None, "hour", "day")


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.url) as opened:
        yield opened


def unique(name: str) -> str:
    return f"{name}-{time.time_ns()}"


def report(client: Client, event_name: str, customer: str, identifier: str, value: str = "1", **more: Any) -> Any:
    payload = {"payload[stripe_customer_id]": customer, "payload[value]": value}
    expect = more.pop("expect", 200)
    return client.post(
        "/v1/billing/meter_events", expect, event_name=event_name, identifier=identifier, **payload, **more
    )


def cancel(client: Client, event_name: str, identifier: str, expect: int = 200) -> Any:
    path = "/v1/billing/meter_event_adjustments"
    return client.post(path, expect, event_name=event_name, type="cancel", **{"cancel[identifier]": identifier})


def wait_for_total(client: Client, meter: str, customer: str, total: str | None) -> None:
    deadline = time.monotonic() + 30
    wanted = None if total is None else Decimal(total)
    while True:
        found = client.total(meter, customer)
        if (None if found is None else Decimal(found)) == wanted:
            return
        assert time.monotonic() < deadline, f"the total is {found}, expected {total}"
        time.sleep(0.02)


def test_a_single_event_and_its_cancellation_become_visible(client: Client) -> None:
    name = unique("own")
    meter, customer = client.meter(name), client.customer(name="A")
    report(client, name, customer, name, "2.5")
    wait_for_total(client, meter, customer, "2.5")
    assert cancel(client, name, name)["status"] in ("pending", "complete")
    wait_for_total(client, meter, customer, None)
    client.wait_until_applied()
    assert cancel(client, name, name)["status"] == "complete"
    assert client.receipt(name)["status"] == "cancelled"


def test_a_duplicate_is_told_at_once_when_the_stream_brought_the_first(client: Client) -> None:
    """All of them are sent before the applier could have come by: some of the firsts are not applied yet."""
    name = unique("at-once")
    meter, customer = client.meter(name), client.customer(name="A")
    token = client.session()
    for number in range(30):
        identifier = f"{name}-{number}"
        payload = {"stripe_customer_id": customer, "value": "1"}
        client.stream(token, [{"event_name": name, "identifier": identifier, "payload": payload}])
        error = report(client, name, customer, identifier, expect=400)["error"]
        assert error["message"] == f"An event already exists with identifier {identifier}."
    wait_for_total(client, meter, customer, "30")


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_cancelled_event_leaves_every_formula_as_if_it_had_never_been(
    client: Client, formula: str, window: str | None
) -> None:
    name = unique(f"cancel-{formula}-{window}")
    meter = client.meter(name, formula, **({} if window is None else {"event_time_window": window}))
    customer = client.customer(name="A")
    # All within one hour of a day, so that each event time window holds them all.
    hour = (int(time.time()) - 7_200) // 3_600 * 3_600
    for number, value in enumerate(("5", "7", "11")):
        report(client, name, customer, f"{name}-{number}", value, timestamp=hour + 60 * number)
    all_of_them = {"sum": "23", "count": "3", "last": "11"}
    without_last = {"sum": "12", "count": "2", "last": "7"}
    without_both = {"sum": "5", "count": "1", "last": "5"}
    if window is not None:  # only the event received last counts
        all_of_them, without_last, without_both = (
            {"sum": value, "count": "1", "last": value} for value in ("11", "7", "5")
        )
    wait_for_total(client, meter, customer, all_of_them[formula])
    cancel(client, name, f"{name}-2")
    wait_for_total(client, meter, customer, without_last[formula])
    cancel(client, name, f"{name}-1")
    wait_for_total(client, meter, customer, without_both[formula])
    # Late retries do not bring them back.
    report(client, name, customer, f"{name}-2", "11", expect=400)
    cancel(client, name, f"{name}-0")
    wait_for_total(client, meter, customer, None)


def test_one_request_key_has_one_effect_at_the_same_moment_and_over_a_crash(tmp_path: Path) -> None:
    def event(url: str, key: str) -> httpx.Response:
        return httpx.post(
            f"{url}/v2/billing/meter_events",
            json={"event_name": "keyed", "payload": {"stripe_customer_id": customer, "value": "1"}},
            headers={"Authorization": f"Bearer {SECRET_KEY}", "Idempotency-Key": key},
            trust_env=False,
        )

    def meter(url: str, key: str) -> httpx.Response:
        return httpx.post(
            f"{url}/v1/billing/meters",
            data={"event_name": key, "display_name": "K", "default_aggregation[formula]": "sum"},
            headers={"Authorization": f"Bearer {SECRET_KEY}", "Idempotency-Key": key},
            trust_env=False,
        )

    server = Server(tmp_path / "data").start()
    with Client(server.url) as client:
        counting, customer = client.meter("keyed"), client.customer(name="A")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: event(server.url, "one"), range(8)))
        meters = list(threads.map(lambda _: meter(server.url, "two"), range(8)))
    assert {each.status_code for each in (*answers, *meters)} == {200}
    assert len({each.content for each in answers}) == len({each.content for each in meters}) == 1
    replayed = [each.headers.get("idempotent-replayed") for each in answers]
    assert replayed.count("true") == 7
    server.kill()

    server.start()
    assert event(server.url, "one").content == answers[0].content
    assert meter(server.url, "two").content == meters[0].content
    with Client(server.url) as client:
        assert len(client.get("/v1/billing/meters")["data"]) == 2
        wait_for_total(client, counting, customer, "1")
    assert server.stop() == 0


def test_single_events_get_through_while_the_stream_is_busy(client: Client, server: Server) -> None:
    name = unique("busy")
    meter, customer = client.meter(name), client.customer(name="A")
    token = client.session()
    stop = threading.Event()

    def stream() -> None:
        payload = {"stripe_customer_id": customer, "value": "0"}
        with Client(server.url) as own:
            while not stop.is_set():
                own.stream(token, [{"event_name": name, "payload": payload}] * 100)

    with ThreadPoolExecutor(4) as threads:
        streams = [threads.submit(stream) for _ in range(4)]
        try:
            for number in range(20):
                report(client, name, customer, f"{name}-{number}", "1")
        finally:
            stop.set()
        for each in streams:
            each.result()
    wait_for_total(client, meter, customer, "20")
