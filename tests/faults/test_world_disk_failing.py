"""A disk that fails: what was answered 200 is there afterwards, and nothing is answered 200 after a failed sync."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.faults import FaultyServer, Shim, event
from tests.support.server import Client, Server

EXIT_DISK_FAILED = 3
LOST = "durability_lost"


def outcome(ask: Callable[[], httpx.Response]) -> str:
    """A code, `200`, or that there was no answer."""
    try:
        answer = ask()
    except httpx.TransportError:
        return "no answer"
    return "200" if answer.status_code == 200 else str(answer.json()["error"]["code"])


@pytest.mark.parametrize("call", ["sync", "write"])
def test_when_the_log_cannot_be_synced_nothing_more_is_accepted_and_what_was_is_kept(
    tmp_path: Path, shim: Shim, call: str
) -> None:
    """Only one call fails: whoever tried again would be told that all is well."""
    server = FaultyServer(tmp_path / "data", environment=shim.environment, apply_interval_ms=10_000)
    with server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        client.stream(token, [event("first", customer)])
        client.wait_until_applied()
        client.stream(token, [event(f"waits {number}", customer) for number in range(50)])

        def stream(number: int) -> httpx.Response:
            body = {"events": [event(f"late {number}", customer)]}
            return client.http.post(
                "/v2/billing/meter_event_stream", json=body, headers={"Authorization": f"Bearer {token}"}
            )

        shim.fail(call, "log.db-wal", number=1)
        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(lambda number: outcome(lambda: stream(number)), range(40)))
        assert LOST in outcomes
        assert set(outcomes) <= {LOST, "service_unavailable", "no answer"}
        assert server.ended() == EXIT_DISK_FAILED
        assert not shim.is_armed

    with Server(server.data_dir) as healthy, Client(healthy.url) as client:
        client.wait_until_applied()
        # A request that was not answered may have been stored; sent again, it counts once in any case.
        client.stream(token, [event(f"late {number}", customer) for number in range(40)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 1 + 50 + 40


@pytest.mark.parametrize("call", ["sync", "write"])
@pytest.mark.parametrize(
    ("file", "path", "body"),
    [
        pytest.param(
            "log.db-wal",
            "/v2/billing/meter_events",
            {"event_name": "calls", "payload": {"stripe_customer_id": "cus", "value": "1"}},
            id="single event",
        ),
        pytest.param("control.db-wal", "/v2/billing/meter_event_session", None, id="session"),
    ],
)
def test_after_a_failed_sync_the_engine_calls_nothing_durable_and_the_server_ends(
    tmp_path: Path, shim: Shim, call: str, file: str, path: str, body: Any
) -> None:
    server = FaultyServer(tmp_path / "data", environment=shim.environment, unknown_customers="accept")
    with server, Client(server.url) as client:
        client.meter("calls")

        def ask() -> httpx.Response:
            return client.http.post(path, json=body, headers={"Authorization": f"Bearer {client.key}"})

        assert outcome(ask) == "200"
        shim.fail(call, file, number=1)
        with ThreadPoolExecutor(8) as threads:
            outcomes = list(threads.map(lambda _: outcome(ask), range(40)))
        assert LOST in outcomes
        assert set(outcomes) <= {LOST, "service_unavailable", "no answer"}
        assert server.ended() == EXIT_DISK_FAILED


def test_when_the_checkpoint_cannot_be_written_the_server_ends_and_nothing_counts_twice(
    tmp_path: Path, shim: Shim
) -> None:
    """Each step syncs its intent and its checkpoint; another of them fails each time, on the same folder."""
    server = FaultyServer(tmp_path / "data", environment=shim.environment, unknown_customers="accept")
    with server, Client(server.url) as client:
        meter = client.meter("calls")
    sent = 0
    for number in (1, 2):
        with server, Client(server.url) as client:
            token = client.session()
            shim.fail("sync", "progress.db-wal", number=number)
            while shim.is_armed and outcome(partial(_one_more, client, token, "cus", sent)) == "200":
                sent += 1
            assert server.ended() == EXIT_DISK_FAILED
    with Server(server.data_dir, unknown_customers="accept") as healthy, Client(healthy.url) as client:
        # The last request may have got no answer.
        client.stream(client.session(), [event(f"event {sent}", "cus")])
        client.wait_until_applied()
        assert client.total(meter, "cus") == sent + 1


def _one_more(client: Client, token: str, customer: str, number: int) -> httpx.Response:
    return client.http.post(
        "/v2/billing/meter_event_stream",
        json={"events": [event(f"event {number}", customer)]},
        headers={"Authorization": f"Bearer {token}"},
    )


def test_while_the_log_cannot_be_read_nothing_it_holds_is_passed_over_or_lost(tmp_path: Path, shim: Shim) -> None:
    """A failed read, unlike a failed write, leaves nothing in doubt: the server stays, and takes what it can sync
    without reading. The engine takes a read that fails for damage: applying stops, and goes on when it can be read."""
    server = FaultyServer(tmp_path / "data", environment=shim.environment)
    with server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        client.stream(token, [event("event 0", customer)])
        client.wait_until_applied()
        shim.fail("read", "log.db")
        answered = [outcome(partial(_one_more, client, token, customer, at)) for at in range(1, 20)]
        shim.heal()
        assert set(answered) <= {"200", "corrupt"}
        assert client.http.get("/healthz").status_code == 200
        client.wait_until_applied()
        accepted = 1 + answered.count("200")
        assert accepted <= client.total(meter, customer) <= 20
        client.stream(client.session(), [event(f"event {at}", customer) for at in range(20)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 20


@pytest.mark.parametrize("call", ["write", "sync"])
def test_when_the_store_fails_applying_waits_or_ends_and_every_event_counts_once(
    tmp_path: Path, shim: Shim, call: str
) -> None:
    """An insert that failed left nothing half there, so it can be done again, by this process or the next."""
    server = FaultyServer(tmp_path / "data", environment=shim.environment, unknown_customers="accept")
    sent, met = 0, 0
    meter = ""
    for number in (1, 12):
        with server, Client(server.url) as client:
            meter = meter or client.meter("calls")
            token = client.session()
            shim.fail(call, "/store/store/", number=number)
            for _ in range(30):
                if outcome(partial(_one_more, client, token, "cus", sent)) != "200" or not shim.is_armed:
                    break
                sent += 1
                client.http.get("/streamgauge/status", headers={"Authorization": f"Bearer {client.key}"})
            met += not shim.is_armed
            shim.heal()
            if server.process.poll() is None:
                server.stop()
            else:
                assert server.ended() in (1, EXIT_DISK_FAILED)
    assert met
    with Server(server.data_dir, unknown_customers="accept") as healthy, Client(healthy.url) as client:
        client.stream(client.session(), [event(f"event {number}", "cus") for number in range(sent + 1)])
        client.wait_until_applied()
        assert client.total(meter, "cus") == sent + 1


def test_while_the_store_cannot_be_read_events_are_accepted_and_totals_are_an_error_until_it_can(
    tmp_path: Path, shim: Shim
) -> None:
    """Never the part of a total that could still be read."""
    server = FaultyServer(tmp_path / "data", environment=shim.environment, unknown_customers="accept")
    with server, Client(server.url) as client:
        meter, token = client.meter("calls"), client.session()
        client.stream(token, [event(f"event {number}", "cus") for number in range(10)])
        client.wait_until_applied()
    with server, Client(server.url) as client:  # anew, so that nothing was read before
        shim.fail("read", "/store/store/")
        for number in range(10, 20):
            assert outcome(partial(_one_more, client, token, "cus", number)) == "200"
            assert outcome(partial(_summaries, client, meter, "cus")) == "service_unavailable"
        shim.heal()
        client.wait_until_applied()
        assert client.total(meter, "cus") == 20
    assert server.process.returncode == 0


def _summaries(client: Client, meter: str, customer: str) -> httpx.Response:
    return client.http.get(
        f"/v1/billing/meters/{meter}/event_summaries",
        params={"customer": customer, "start_time": 0, "end_time": 4_102_444_800},
        headers={"Authorization": f"Bearer {client.key}"},
    )
