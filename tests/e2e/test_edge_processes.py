"""Several edge processes behind one port: what each of them takes adds up, and one that dies is missed by nobody."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.program import children_of, is_running, run
from tests.support.server import Client, Server

EDGES = 3
EVENTS_PER_SECOND = 2_000
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("edges") / "data"
    with Server(folder, edge_processes=EDGES, rate_limit_events_per_second=EVENTS_PER_SECOND) as server:
        yield server


def event(name: str, customer: str) -> dict[str, object]:
    return {"event_name": "calls", "identifier": name, "payload": {"stripe_customer_id": customer, "value": "1"}}


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_what_all_of_them_take_adds_up_also_when_one_is_killed(server: Server) -> None:
    edges = children_of(server.process.pid)
    assert len(edges) == EDGES
    assert is_ready(server.url)
    with Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        for number in range(40):
            with Client(server.url) as other:  # a connection of its own, wherever that leads
                other.stream(token, [event(f"e{number}", customer), event(f"e{number // 2}", customer)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 40
        assert "streamgauge_accepted_events_total 80.0" in client.http.get("/metrics").text
    os.kill(edges[1], signal.SIGKILL)
    deadline = time.monotonic() + WAIT_SECONDS
    while is_running(edges[1]) or len(children_of(server.process.pid)) < EDGES or not is_ready(server.url):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {edges[0], edges[2]} < set(children_of(server.process.pid))
    with Client(server.url) as client:
        client.stream(token, [event("after", customer), event("e0", customer)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 41


def test_a_limit_is_one_for_all_of_them(server: Server) -> None:
    body = [event(f"x{number}", "nobody") for number in range(100)]
    clients = [Client(server.url) for _ in range(8)]
    token = clients[0].session()
    taken, began = 0, time.monotonic()
    while (seconds := time.monotonic() - began) < 3:
        for client in clients:
            answer = client.http.post(
                "/v2/billing/meter_event_stream", json={"events": body}, headers={"Authorization": f"Bearer {token}"}
            )
            taken += 100 * (answer.status_code == 200)
    for client in clients:
        client.http.close()
    # A machine that is busy sends less than it might.
    assert taken <= EVENTS_PER_SECOND * seconds * 1.02 + EVENTS_PER_SECOND / 10 + 100


def test_all_of_them_end_with_the_server_and_the_port_is_refused_to_another(tmp_path: Path) -> None:
    with Server(tmp_path / "data", edge_processes=2) as server:
        edges = children_of(server.process.pid)
        port = server.url.rsplit(":", 1)[1]
        refused = run("serve", "--data-dir", str(tmp_path / "other"), "--port", port, "--edge-processes", "2")
        assert (refused.code, "Address already in use" in refused.err) == (2, True)
    assert server.process.returncode == 0
    assert not [each for each in edges if is_running(each)]
