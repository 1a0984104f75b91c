"""Parts of the server that are slow, stuck, or short of what the system gives them: it goes on or refuses by name."""

import json
import os
import resource
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.faults import FaultyServer, event, wait_until
from tests.support.program import children_of
from tests.support.server import Client, Server


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_while_the_engine_is_stuck_events_are_accepted_and_afterwards_all_are_counted(tmp_path: Path) -> None:
    """It is stopped again and again, wherever it is: also in the middle of an insert."""
    with Server(tmp_path / "data", apply_interval_ms=0) as server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        acknowledged = 0
        for turn in range(15):
            with stopped(server.process.pid):
                for number in range(turn):
                    client.stream(token, [event(f"{turn} {number} {at}", customer) for at in range(10)])
                    acknowledged += 10
            client.stream(token, [event(f"between {turn}", customer)])
            acknowledged += 1

        with stopped(server.process.pid):
            answers: list[Any] = []
            asking = threading.Thread(target=lambda: answers.append(client.get("/streamgauge/status")))
            asking.start()
            client.stream(token, [event("meanwhile", customer)])
            assert asking.is_alive()  # it waits, and the stream does not
        asking.join(30)
        assert answers and answers[0]["object"] == "streamgauge.status"
        client.wait_until_applied()
        assert client.total(meter, customer) == acknowledged + 1
    assert server.process.returncode == 0


def test_a_stuck_engine_does_not_make_the_backlog_endless(tmp_path: Path) -> None:
    with Server(tmp_path / "data", backlog_events_max=500, apply_interval_ms=0) as server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        accepted = 0
        with stopped(server.process.pid):
            refused: httpx.Response | None = None
            for turn in range(2_000):
                answer = _stream(client, token, [event(f"{turn} {at}", customer) for at in range(20)])
                if answer.status_code != 200:
                    refused = answer
                    break
                accepted += 20
            assert refused is not None and refused.status_code == 503
            assert refused.json()["error"]["code"] == "backlog_full"
            assert refused.headers["stripe-should-retry"] == "true"
        client.wait_until_applied()
        assert client.total(meter, customer) == accepted >= 500
        wait_until(lambda: _stream(client, token, [event("again", customer)]).status_code == 200, "accepted again")


def _stream(client: Client, token: str, events: list[dict[str, Any]]) -> httpx.Response:
    return client.http.post(
        "/v2/billing/meter_event_stream", json={"events": events}, headers={"Authorization": f"Bearer {token}"}
    )


# --- file descriptors and memory


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_without_descriptors_for_new_connections_the_open_ones_go_on_and_all_do_when_some_are_free(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "data") as server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        client.stream(token, [event("before", customer)])
        (edge,) = children_of(server.process.pid)
        soft, hard = resource.prlimit(edge, resource.RLIMIT_NOFILE)
        resource.prlimit(edge, resource.RLIMIT_NOFILE, (open_files(edge) + 5, hard))
        host, port = server.url.removeprefix("http://").split(":")
        with ExitStack() as idle:
            for _ in range(40):
                idle.enter_context(socket.create_connection((host, int(port)), timeout=10))
            for number in range(20):
                client.stream(token, [event(f"meanwhile {number}", customer)])
        # They have hung up: there is room for others.
        with Client(server.url) as other:
            wait_until(lambda: _is_answered(other), "a new connection is served")
            other.stream(token, [event("afterwards", customer)])
            other.wait_until_applied()
            assert other.total(meter, customer) == 22
        assert children_of(server.process.pid) == [edge]
        resource.prlimit(edge, resource.RLIMIT_NOFILE, (soft, hard))
    assert server.process.returncode == 0


def test_without_descriptors_for_the_store_applying_waits_and_loses_nothing(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        client.stream(token, [event("a", customer)])
        client.wait_until_applied()
        engine = server.process.pid
        soft, hard = resource.prlimit(engine, resource.RLIMIT_NOFILE)
        # Below what is open already: nothing new can be opened, what is open stays.
        resource.prlimit(engine, resource.RLIMIT_NOFILE, (10, hard))
        client.stream(token, [event(f"b {number}", customer) for number in range(100)])
        wait_until(lambda: "applying waits" in server.said(), "applying waits")
        client.stream(token, [event(f"c {number}", customer) for number in range(100)])
        resource.prlimit(engine, resource.RLIMIT_NOFILE, (soft, hard))
        client.wait_until_applied()
        assert client.total(meter, customer) == 201
    assert server.process.returncode == 0


def _is_answered(client: Client) -> bool:
    try:
        return client.http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("role", ["edge", "engine"])
def test_a_process_without_memory_refuses_or_ends_and_what_was_acknowledged_is_counted(
    tmp_path: Path, role: str
) -> None:
    server = Server(tmp_path / "data", apply_interval_ms=200)
    acknowledged: set[str] = set()
    with server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        pid = server.process.pid if role == "engine" else children_of(server.process.pid)[0]
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(pid, resource.RLIMIT_AS, (used + 2**20, used + 2**20))

        def send(sender: int) -> None:
            with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as http:
                for number in range(40):
                    names = [f"{sender} {number} {at}" for at in range(100)]
                    try:
                        answer = http.post(
                            "/v2/billing/meter_event_stream",
                            content=json.dumps({"events": [long_event(name, customer) for name in names]}),
                            headers={"Authorization": f"Bearer {token}"},
                        )
                    except httpx.TimeoutException:
                        return  # as its client would; so the end of the test does not depend on how often
                    except httpx.TransportError:
                        continue
                    if answer.status_code == 200:
                        acknowledged.update(names)

        senders = [threading.Thread(target=send, args=(number,)) for number in range(6)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        if server.process.poll() is None:
            server.kill()
    with server, Client(server.url) as client:
        client.wait_until_applied()
        # What was not answered may have been stored.
        assert len(acknowledged) <= (client.total(meter, customer) or 0) <= 6 * 40 * 100
        for first in range(6):
            missed = [name for name in acknowledged if name.startswith(f"{first} ")][:3]
            assert all(client.receipt(name)["status"] == "counted" for name in missed)


def long_event(name: str, customer: str) -> dict[str, Any]:
    payload = {"stripe_customer_id": customer, "value": "1", "note": "n" * 400}
    return {"event_name": "calls", "identifier": name, "payload": payload}


def test_rights_taken_away_make_applying_wait_and_given_back_let_it_go_on(tmp_path: Path) -> None:
    """Also for root, when it is started without the right to pass over permissions."""
    kept: tuple[str, ...] = ()
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("root passes over permissions, and setpriv is not installed to take that away")
        rights = "-dac_override,-dac_read_search"
        kept = ("setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}")
    with FaultyServer(tmp_path / "data", under=kept) as server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        client.stream(token, [event("a", customer)])
        client.wait_until_applied()
        events = (server.data_dir / "store" / "data" / "streamgauge" / "events").resolve()
        events.chmod(0o500)
        client.stream(token, [event("b", customer)])
        wait_until(lambda: "applying waits" in server.said(), "applying waits")
        assert client.total(meter, customer) == 1
        assert "Permission denied" in str(client.get("/streamgauge/status")["failure"])
        events.chmod(0o700)
        client.wait_until_applied()
        assert client.total(meter, customer) == 2
    assert server.process.returncode == 0
