"""Error reports of the installed program: every rejected event in exactly one, also when the server is killed."""

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import stripe
from stripe.events import (
    V1BillingMeterErrorReportTriggeredEvent,
    V1BillingMeterErrorReportTriggeredEventNotification,
    V1BillingMeterNoMeterFoundEvent,
    V1BillingMeterNoMeterFoundEventNotification,
)

from streamgauge.domain.fate import RejectionCode
from tests.e2e.test_delivery import destination
from tests.support.faults import FaultyServer, Point, Shim
from tests.support.receiver import Receiver
from tests.support.server import SECRET_KEY, Client, Server

REPORT, NO_METER = "v1.billing.meter.error_report_triggered", "v1.billing.meter.no_meter_found"
WINDOW_SECONDS = 10
# Of the transaction that writes reports and what is to be delivered: before its first page, and after its commit.
REPORT_POINTS = (Point("write", "control.db-wal", 1, "before"), Point("sync", "control.db-wal", 1, "after"))
DAY_S = 86_400

# What is sent for each code: event name, payload, seconds from now to its timestamp.
NOBODY = {"stripe_customer_id": "cus_stranger", "value": "1"}
FAULTS: dict[str, tuple[str, dict[str, str], int]] = {
    "no_meter": ("unknown", NOBODY, 0),
    "archived_meter": ("archived", NOBODY, 0),
    "timestamp_too_far_in_past": ("calls", NOBODY, -36 * DAY_S),
    "timestamp_in_future": ("calls", NOBODY, 600),
    "meter_event_no_customer_defined": ("calls", {"value": "1"}, 0),
    "meter_event_customer_not_found": ("calls", NOBODY, 0),
    "meter_event_value_not_found": ("calls", {"stripe_customer_id": "{customer}"}, 0),
    "meter_event_invalid_value": ("calls", {"stripe_customer_id": "{customer}", "value": "1e5"}, 0),
    "meter_event_value_too_many_digits": ("calls", {"stripe_customer_id": "{customer}", "value": "1" * 16}, 0),
}


def faulty(code: str, identifier: str, customer: str = "") -> dict[str, Any]:
    name, payload, seconds = FAULTS[code]
    return {
        "event_name": name,
        "identifier": identifier,
        "timestamp": int(time.time()) + seconds,
        "payload": {key: value.format(customer=customer) for key, value in payload.items()},
    }


def reports(client: Client) -> list[dict[str, Any]]:
    """Every report there is, with its data."""
    found: list[dict[str, Any]] = []
    url: str | None = f"/v2/core/events?limit=100&types[0]={REPORT}&types[1]={NO_METER}"
    while url is not None:
        page = client.get(urlsplit(url).path, 200, **dict(parse_qsl(urlsplit(url).query)))
        found += page["data"]
        url = page["next_page_url"]
    return found


def counted(found: list[dict[str, Any]]) -> Counter[tuple[str | None, str]]:
    """How many events were reported, by meter and code."""
    counts: Counter[tuple[str | None, str]] = Counter()
    for report in found:
        reason = report["data"]["reason"]
        assert reason["error_count"] == sum(each["error_count"] for each in reason["error_types"])
        for each in reason["error_types"]:
            counts[report.get("related_object", {}).get("id"), each["code"]] += each["error_count"]
    return counts


def until(client: Client, holds: Callable[[list[dict[str, Any]]], bool], seconds: float = 40) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while not holds(found := reports(client)):
        assert time.monotonic() < deadline, counted(found)
        time.sleep(0.1)
    return found


def listed(client: Client, url: str, limit: int = 100) -> list[dict[str, Any]]:
    """Every event of the list at a URL of a report."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = client.get(urlsplit(url).path, 200, limit=limit, **dict(parse_qsl(urlsplit(url).query)), **after)
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"starting_after": page["next_position"]}


def test_events_of_every_code_are_reported_once_with_exact_counts(tmp_path: Path) -> None:
    assert set(FAULTS) == set(RejectionCode)
    with (
        Server(tmp_path / "data", webhook_allow_private=True) as server,
        Client(server.url) as client,
        Receiver() as it,
    ):
        thin = destination(client, it.url)
        meter, archived = client.meter("calls"), client.meter("archived")
        customer = client.customer(name="A")
        client.post(f"/v1/billing/meters/{archived}/deactivate")
        token = client.session()
        sent: Counter[tuple[str | None, str]] = Counter()
        for number, code in enumerate(FAULTS, start=1):
            events = [faulty(code, f"{code}-{at}", customer) for at in range(number)]
            counts = {"event_name": "calls", "payload": {"stripe_customer_id": customer, "value": "1"}}
            client.stream(token, [*events, counts])
            sent[{"no_meter": None, "archived_meter": archived}.get(code, meter), code] = number
        found = until(client, lambda found: counted(found).total() >= sent.total())
        assert counted(found) == sent
        for report in found:
            check_report(client, report)

        official = stripe.StripeClient(SECRET_KEY, base_addresses={"api": server.url, "meter_events": server.url})
        secret = thin["webhook_endpoint"]["signing_secret"]
        ours = {each["id"] for each in found}
        it.wait_for_all(ours)
        seen = set()
        for posted in it.posted:
            if posted.event["id"] not in ours:
                continue
            notification = official.parse_event_notification(posted.body, posted.signature, secret)
            if isinstance(notification, V1BillingMeterErrorReportTriggeredEventNotification):
                assert notification.fetch_related_object().id == notification.related_object.id
                event = notification.fetch_event()
                assert isinstance(event, V1BillingMeterErrorReportTriggeredEvent)
                assert event.data.reason.error_types[0].sample_errors[0].request.identifier
            else:
                assert isinstance(notification, V1BillingMeterNoMeterFoundEventNotification)
                fetched = official.v2.core.events.retrieve(notification.id)
                assert isinstance(fetched, V1BillingMeterNoMeterFoundEvent)
                sample = fetched.data.reason.error_types[0].sample_errors[0]
                assert sample.error_message == "No meter was found matching event_name unknown."
            seen.add(notification.type)
        assert seen == {REPORT, NO_METER}

        (receipt,) = {each["error_report"] for each in [client.receipt("no_meter-0")]}
        assert receipt in ours


def check_report(client: Client, report: dict[str, Any]) -> None:
    """What is told of a report agrees with the list that it links to, and with the events' receipts."""
    data = report["data"]
    count = data["reason"]["error_count"]
    assert data["developer_message_summary"] == (
        "There is 1 invalid event" if count == 1 else f"There are {count} invalid events"
    )
    events = listed(client, data["meter_events_url"], limit=7)
    assert len(events) == count
    assert {each["status"] for each in events} == {"rejected"}
    assert Counter(each["code"] for each in events) == {
        each["code"]: each["error_count"] for each in data["reason"]["error_types"]
    }
    messages = {each["identifier"]: each["message"] for each in events}
    for kind in data["reason"]["error_types"]:
        for sample in kind["sample_errors"]:
            assert sample["error_message"] == messages[sample["request"]["identifier"]]
    for each in events[:3]:
        assert client.receipt(each["identifier"]) == each | {"error_report": report["id"]}


def send_until_a_window_is_about_to_end(client: Client, sent: list[str]) -> float:
    """Rejected events of two kinds, applied; when the window of the last of them ends. A machine that is too busy to
    have applied them by then sends on for another window."""
    token = client.session()
    while True:
        end = ((time.time() + 3) // WINDOW_SECONDS + 1) * WINDOW_SECONDS
        while time.time() < end - 1.5:
            names = [f"event-{len(sent) + at}" for at in range(20)]
            codes = ("no_meter", "meter_event_customer_not_found")
            client.stream(token, [faulty(codes[at % 2], name) for at, name in enumerate(names)])
            sent += names
            time.sleep(0.1)
        client.wait_until_applied()
        if time.time() < end - 0.5:
            return end


def events_in(folder: Path) -> int:
    """How many events of the API are written, whether or not a server has the folder."""
    with closing(sqlite3.connect(folder / "control.db")) as database:
        (count,) = database.execute("SELECT count(*) FROM notifications").fetchone()
    return int(count)


@pytest.mark.timeout(300)
def test_kills_around_a_report_neither_lose_nor_repeat_an_event_of_it(tmp_path: Path, shim: Shim) -> None:
    """Windows end at known moments, and a report follows at once: that is when the server is killed, at a random
    moment, before the report is written, and when it is written and not delivered. In the end each was delivered,
    under one id."""
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(10**6)))
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    rng = random.Random(seed)
    data_dir = tmp_path / "data"
    server = FaultyServer(
        data_dir,
        environment=shim.environment,
        apply_interval_ms=5,
        webhook_allow_private=True,
        webhook_retry_seconds=1,
    )
    with server, Receiver() as it:
        with Client(server.url) as client:
            meter = client.meter("calls")
            secret = destination(client, it.url)["webhook_endpoint"]["signing_secret"]
        sent: list[str] = []
        for point in (None, *REPORT_POINTS):
            with Client(server.url) as client:
                client.customer()  # the file of its writes is begun: what comes next is the report's own
                end = send_until_a_window_is_about_to_end(client, sent)
            if point is None:
                time.sleep(max(end + rng.uniform(0, 0.7) - time.time(), 0))
                server.kill()
            else:
                posted, before = len(it.posted), events_in(data_dir)
                shim.kill_at(point)
                server.ended()
                assert server.process.returncode == -signal.SIGKILL, server.said()[-4_000:]
                shim.heal()
                # Both, one of each kind, or none; and nothing has left the server.
                assert events_in(data_dir) - before == (2 if point.side == "after" else 0)
                assert len(it.posted) == posted
            server.start()
        with Client(server.url) as client:
            client.wait_until_applied()
            half = len(sent) // 2
            expected = Counter({(None, "no_meter"): half, (meter, "meter_event_customer_not_found"): half})
            found = until(client, lambda found: counted(found).total() >= len(sent))
            assert counted(found) == expected
            told = [
                each["identifier"] for report in found for each in listed(client, report["data"]["meter_events_url"])
            ]
            assert sorted(told) == sorted(sent)
            keys = [(each["type"], each["data"]["validation_start"]) for each in found]
            assert len(keys) == len(set(keys))
            ours = {each["id"] for each in found}
            it.wait_for_all(ours)
        official = stripe.StripeClient(SECRET_KEY)
        delivered = [
            official.parse_event_notification(each.body, each.signature, secret, tolerance=600).id for each in it.posted
        ]
        assert set(delivered) == ours
