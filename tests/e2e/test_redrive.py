"""Dead letters on the installed program: repaired, redriven once, over kills, by hand and by themselves."""

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import SECRET_KEY, Client, Server

URL = "/streamgauge/dead_letters"
EXAMPLE = Path(__file__).parents[2] / "examples" / "error_report_receiver.py"
WAIT_SECONDS = 60.0


def events(name: str, customer: str, count: int, first: int = 0) -> list[dict[str, Any]]:
    payload = {"stripe_customer_id": customer, "value": "1"}
    return [
        {"event_name": name, "identifier": f"{name}-{customer}-{at}", "payload": payload}
        for at in range(first, first + count)
    ]


def stream(client: Client, name: str, customer: str, count: int) -> None:
    token = client.session()
    for first in range(0, count, 100):
        client.stream(token, events(name, customer, min(100, count - first), first))
    client.wait_until_applied()


def redriven(client: Client, **given: object) -> dict[str, Any]:
    return dict(client.post(f"{URL}/redrive", 200, **given))


def command(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAMGAUGE_")}
    return subprocess.run(
        [sys.executable, "-m", "streamgauge", *words],
        env={**inherited, "COLUMNS": "120", **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


def test_what_was_rejected_for_a_missing_customer_is_redriven_once_it_is_there(server: Server) -> None:
    with Client(server.url) as client:
        name, customer = f"late-{time.time_ns()}", f"cus_{time.time_ns()}"
        meter = client.meter(name)
        stream(client, name, customer, 250)
        listed = client.get(URL, 200, customer=customer, limit=100)
        assert (len(listed["data"]), listed["has_more"]) == (100, True)
        assert {each["code"] for each in listed["data"]} == {"meter_event_customer_not_found"}
        accepted = client.get("/streamgauge/status")["accepted_events"]
        assert redriven(client, customer=customer, dry_run="true")["rejected"] == {
            "meter_event_customer_not_found": 250
        }

        client.customer(id=customer)
        assert redriven(client, customer=customer, dry_run="true")["counted"] == 250
        assert client.total(meter, customer) is None
        assert redriven(client, customer=customer)["counted"] == 250
        client.wait_until_applied()
        assert client.total(meter, customer) == 250
        assert redriven(client, customer=customer)["selected"] == 0
        client.wait_until_applied()
        assert client.total(meter, customer) == 250
        receipt = client.receipt(f"{name}-{customer}-7")
        assert (receipt["status"], receipt["repeats"]) == ("counted", 0)
        assert (receipt["code"], receipt["first_code"]) == (None, "meter_event_customer_not_found")
        letter = client.get(f"{URL}/{name}-{customer}-7", 200)
        assert (letter["status"], letter["received_at"]) == ("closed", receipt["received_at"])
        assert client.get("/streamgauge/status")["accepted_events"] == accepted


def test_the_command_tries_and_redrives(server: Server) -> None:
    with Client(server.url) as client:
        name, customer = f"by-command-{time.time_ns()}", f"cus_{time.time_ns()}"
        meter = client.meter(name)
        stream(client, name, customer, 3)
        client.customer(id=customer)
        there = ("--url", server.url, "--key", SECRET_KEY, "--event-name", name)
        tried = command("redrive", "--dry-run", *there)
        assert tried.returncode == 0, tried.stderr
        assert "would be" in tried.stdout
        assert next(line.split() for line in tried.stdout.splitlines() if "counted" in line)[1:4:2] == ["counted", "3"]
        assert client.total(meter, customer) is None
        done = command("redrive", *there)
        assert done.returncode == 0, done.stderr
        client.wait_until_applied()
        assert client.total(meter, customer) == 3
        refused = command("redrive", "--code", "nonsense", *there)
        assert (refused.returncode, "code" in refused.stderr) == (2, True)


@pytest.mark.timeout(300)
def test_kills_while_redriving_neither_lose_nor_double_and_everything_agrees(tmp_path: Path) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(10**6)))
    rng = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    server = Server(tmp_path / "data", apply_events_max=200, apply_interval_ms=5).start()
    count = 3_000
    with Client(server.url) as client:
        meter = client.meter("calls")
        last = client.meter("lasts", "last")
        stream(client, "calls", "cus_1", count)
        stream(client, "lasts", "cus_1", 40)
        client.customer(id="cus_1")
    for _ in range(4):
        with Client(server.url) as client:
            cursor: dict[str, Any] = {}
            for _ in range(rng.randrange(1, 6)):
                told = redriven(client, limit=rng.choice((100, 400)), **cursor)
                cursor = {"cursor": told["cursor"]} if told["has_more"] else {}
            time.sleep(rng.uniform(0, 0.2))
        server.kill()
        server.start()
    with Client(server.url) as client:
        for _ in range(2):
            while redriven(client, limit=1_000)["has_more"]:
                client.wait_until_applied()
            client.wait_until_applied()
        assert client.total(meter, "cus_1") == count
        assert client.total(last, "cus_1") == 1
        assert client.get(URL, 200)["data"] == []
        assert client.get("/streamgauge/status")["accepted_events"] == count + 40
    assert server.stop() == 0
    for words in (("verify",), ("rebuild", "--all"), ("verify",)):
        done = command(*words, "--data-dir", str(tmp_path / "data"))
        assert done.returncode == 0, done.stderr
    assert f"{count + 40:,} events" in done.stdout
    assert "redriven" in done.stdout


def test_missing_customers_and_meters_are_redriven_by_themselves_when_they_are_created(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", redrive_automatically="true").start()
    with Client(server.url) as client:
        stream(client, "calls", "cus_1", 150)
        client.customer(id="cus_1")
        meter = client.meter("calls")
        until(lambda: client.total(meter, "cus_1") == 150)
        stream(client, "calls", "cus_2", 5)
        client.customer(id="cus_2")
    # Killed at once: the next start finds what was created.
    server.kill()
    server.start()
    with Client(server.url) as client:
        until(lambda: client.total(meter, "cus_2") == 5)
        client.wait_until_applied()
        assert (client.total(meter, "cus_1"), client.total(meter, "cus_2")) == (150, 5)
    assert server.stop() == 0


@pytest.mark.timeout(180)
def test_the_example_repairs_what_an_error_report_tells_of(tmp_path: Path) -> None:
    with Server(tmp_path / "data", webhook_allow_private="true") as server, Client(server.url) as client:
        port = _free_port()
        given = {
            "name": "reports",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.billing.meter.error_report_triggered"],
            "webhook_endpoint": {"url": f"http://127.0.0.1:{port}/"},
            "include": ["webhook_endpoint.signing_secret"],
        }
        headers = {"Authorization": f"Bearer {SECRET_KEY}", "Stripe-Version": "2026-09-30.endive"}
        answer = client.http.post("/v2/core/event_destinations", json=given, headers=headers)
        assert answer.status_code == 200, answer.text
        settings = {
            "STREAMGAUGE_URL": server.url,
            "STREAMGAUGE_SECRET_KEY": SECRET_KEY,
            "WEBHOOK_SECRET": answer.json()["webhook_endpoint"]["signing_secret"],
            "PORT": str(port),
        }
        example = subprocess.Popen(
            [sys.executable, str(EXAMPLE)], env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True
        )
        try:
            assert example.stdout is not None
            assert example.stdout.readline() == f"listening on port {port}\n"
            assert client.http.post(f"http://127.0.0.1:{port}/", content=b"{}").status_code == 400  # not signed
            meter = client.meter("calls")
            stream(client, "calls", "cus_late", 120)
            until(lambda: client.total(meter, "cus_late") == 120)
            assert client.get("/v1/customers/cus_late")["id"] == "cus_late"
            assert "120 events count now" in example.stdout.readline()
        finally:
            example.terminate()
            example.wait(timeout=30)
            if example.stdout is not None:
                example.stdout.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
