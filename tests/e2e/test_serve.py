"""`streamgauge serve`: how it starts, refuses to start, survives the loss of a process, and ends."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.adapters.system.clock import SystemClock
from streamgauge.adapters.system.data_folder import FORMAT, DataFolder
from tests.support.program import Ended, children_of, files_in, is_running, run, still_there
from tests.support.server import SECRET_KEY, Client, Server

WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def used_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a server has left in order."""
    with Server(tmp_path_factory.mktemp("used") / "data") as server, Client(server.url) as client:
        meter, customer = client.meter("calls"), client.customer(name="A")
        client.stream(client.session(), [event("used", customer)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 1
    return server.data_dir


def event(identifier: str, customer: str, value: str = "1") -> dict[str, Any]:
    return {
        "event_name": "calls",
        "identifier": identifier,
        "payload": {"stripe_customer_id": customer, "value": value},
    }


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def serve(folder: Path, *arguments: str) -> Ended:
    """A server that is expected to refuse."""
    return run("serve", "--data-dir", str(folder), "--port", "0", *arguments, secret_key=SECRET_KEY)


def assert_refused(ended: Ended, says: str) -> None:
    """Exit status 2, and one line that says why."""
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert len(ended.errors) == 1, ended.err
    assert re.search(says, ended.err), ended.err
    assert ended.err.startswith("streamgauge: ")


# --- starting


def test_one_line_with_the_url_says_that_events_are_accepted(server: Server) -> None:
    assert re.fullmatch(r"Streamgauge \S+ is ready at http://127\.0\.0\.1:\d+\n", server.printed)
    assert is_ready(server.url)
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200


def test_everything_is_for_the_owner_alone(server: Server) -> None:
    with Client(server.url) as client:
        client.meter("modes")
        client.stream(client.session(), [event("modes", "cus_stranger")])
        client.wait_until_applied()
    modes = set(still_there(files_in(server.data_dir), lambda path: path.stat().st_mode))
    assert modes == {stat.S_IFDIR | 0o700, stat.S_IFREG | 0o600}
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.data_dir / "engine.sock").stat().st_mode) == 0o600


def test_its_processes_do_not_load_what_they_do_not_need(server: Server) -> None:
    """PyArrow would import pandas with the first events, which takes longer than to apply them."""
    with Client(server.url) as client:
        name = f"lean_{time.time_ns()}"
        meter, customer = client.meter(name), client.customer(name="A")
        client.stream(client.session(), [event(name, customer) | {"event_name": name}])
        client.wait_until_applied()
        assert client.total(meter, customer) == 1
    for pid in (server.process.pid, *children_of(server.process.pid)):
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "pyarrow" in mapped and "pandas" not in mapped


def test_a_second_server_on_the_folder_refuses_and_names_the_holder(server: Server) -> None:
    assert_refused(serve(server.data_dir), f"in use by process {server.process.pid} on ")
    assert is_ready(server.url)


def test_a_port_in_use_is_refused_in_one_line(server: Server, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    assert_refused(
        serve(tmp_path / "data", "--port", port), f"cannot listen on 127.0.0.1:{port}: Address already in use"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "99999"], "STREAMGAUGE_PORT: 99999 is above 65535"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
        (["--host", "no such host"], "cannot listen on no such host"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path: Path, arguments: list[str], says: str) -> None:
    ended = serve(tmp_path / "data", *arguments)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert says in ended.err
    assert "Traceback" not in ended.err


def damaged(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        for suffix in ("-wal", "-shm"):
            (folder / (name + suffix)).unlink(missing_ok=True)
        (folder / name).write_bytes(b"this was a database once. " * 1_000)

    return damage


def newer_control(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "control.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")


def rewritten(name: str, text: str) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        (folder / name).write_text(text)

    return rewrite


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(rewritten("format.json", json.dumps({"format": FORMAT + 1})), "has format 2", id="newer folder"),
        pytest.param(rewritten("format.json", "{"), "format.json: is damaged", id="damaged format"),
        pytest.param(lambda folder: (folder / "format.json").unlink(), "not a Streamgauge data folder", id="foreign"),
        pytest.param(damaged("control.db"), "control.db", id="damaged control.db"),
        pytest.param(damaged("log.db"), "log.db", id="damaged log.db"),
        pytest.param(damaged("progress.db"), "progress.db", id="damaged progress.db"),
        pytest.param(newer_control, "control.db: its schema is revision 9999", id="newer control.db"),
    ],
)
def test_a_newer_foreign_or_damaged_folder_is_refused_in_one_line(
    used_folder: Path, tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    folder = tmp_path / "data"
    copy_folder(used_folder, folder)
    damage(folder)
    assert_refused(serve(folder), says)


def copy_folder(source: Path, target: Path) -> None:
    """Without the store: what is refused is refused before that is looked at."""
    target.mkdir(mode=0o700)
    for path in source.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("log.db", r"log\.db: ends at offset 0, and events up to 1 were applied"),
        ("progress.db", r"progress\.db: says that nothing was applied"),
        ("store", r"store: is empty, and events up to \d+ were applied"),
    ],
)
def test_a_folder_that_lost_a_file_is_refused_before_anything_counts_twice(
    used_folder: Path, tmp_path: Path, lost: str, says: str
) -> None:
    (used_folder / lost).rename(tmp_path / lost)
    try:
        assert_refused(serve(used_folder), says)
    finally:
        shutil.rmtree(used_folder / lost, ignore_errors=True)  # the store, which the refused start made anew
        (tmp_path / lost).replace(used_folder / lost)


def test_a_store_that_cannot_be_opened_is_refused(used_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    copy_folder(used_folder, folder)
    (folder / "store").write_text("not a folder")
    ended = serve(folder)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert "store: the usage store cannot be opened" in ended.err
    assert "Traceback" not in ended.err


# --- secrets


def test_no_secret_is_ever_written_down(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, Client(server.url) as client:
        token = client.session()
        client.stream(token, [event("a", client.customer(name="A"))])
        client.stream(token, b"nonsense", expect=400)
        client.stream("mest_test_unknown", [event("b", "x")], expect=401)
        client.get("/v1/customers/none", expect=404)
        client.wait_until_applied()
        while_running = _everything_in(server.data_dir)
    after = _everything_in(server.data_dir)
    for secret in (SECRET_KEY, SECRET_KEY.removeprefix("sk_test_"), token, token[-20:]):
        assert secret not in server.printed + server.said()
        for data in (while_running, after):
            assert secret.encode() not in data


def _everything_in(folder: Path) -> bytes:
    return b"\n".join(still_there((path for path in files_in(folder) if path.is_file()), Path.read_bytes))


def test_without_a_key_given_one_is_made_and_shown_once(tmp_path: Path) -> None:
    with Server(tmp_path / "data", secret_key="") as server:
        shown = re.findall(r"sk_test_\w+", server.printed)
        assert len(shown) == 1 and len(server.printed.splitlines()) == 2
        with Client(server.url, shown[0]) as client:
            assert client.wait_until_applied()["accepted_events"] == 0
    assert shown[0] not in server.said()
    with Server(tmp_path / "data", secret_key="") as server:
        assert "sk_" not in server.printed
        with Client(server.url, shown[0]) as client:
            client.session()


# --- ending


class Sender(threading.Thread):
    """Streams batches one after the other until the server is gone; keeps what was acknowledged."""

    def __init__(self, url: str, token: str, customer: str, name: str) -> None:
        super().__init__()
        self.url, self.token, self.customer, self.title = url, token, customer, name
        self.acknowledged: list[str] = []
        self.began = threading.Event()
        self.unexpected: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as http:
            for number in range(100_000):
                names = [f"{self.title}-{number}-{at}" for at in range(50)]
                body = json.dumps({"events": [event(name, self.customer) for name in names]})
                try:
                    answer = http.post(
                        "/v2/billing/meter_event_stream",
                        content=body,
                        headers={"Authorization": f"Bearer {self.token}"},
                    )
                except httpx.TransportError:
                    return
                if answer.status_code != 200:
                    if answer.status_code != 503:
                        self.unexpected.append(answer.text)
                    return
                self.acknowledged += names
                self.began.set()


def test_sigterm_under_load_answers_what_is_in_flight_applies_everything_and_exits_zero(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", apply_interval_ms=2_000, shutdown_grace_seconds=20)
    with server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        senders = [Sender(server.url, token, customer, f"s{number}") for number in range(3)]
        for sender in senders:
            sender.start()
        for sender in senders:
            assert sender.began.wait(WAIT_SECONDS)

        # One request is half sent when the signal comes: it is in flight, and its answer is owed.
        body = json.dumps({"events": [event("in flight", customer)]}).encode()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=WAIT_SECONDS) as connection:
            head = f"POST /v2/billing/meter_event_stream HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body[:20])
            accepted_events = sum(len(sender.acknowledged) for sender in senders)
            wait_until(lambda: sum(len(sender.acknowledged) for sender in senders) > accepted_events)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            # The other clients are told at once that nobody listens any more, while this one is waited for.
            for sender in senders:
                sender.join(10)
                assert not sender.is_alive()
            assert server.process.poll() is None
            connection.sendall(body[20:])
            assert connection.recv(4_096).startswith(b"HTTP/1.1 200 ")
        assert server.ended() == 0
    assert time.monotonic() - began < 20
    assert [sender.unexpected for sender in senders] == [[], [], []]
    acknowledged = [name for sender in senders for name in sender.acknowledged]

    # What is on the disk is complete, before anybody repairs it.
    folder = DataFolder(server.data_dir)
    with (
        closing(SqliteEventLog(folder.log, SystemClock())) as log,
        closing(SqliteProgress(folder.progress)) as progress,
    ):
        assert progress.checkpoint().next_offset == log.end_offset() >= len(acknowledged) + 1
        assert progress.intent() is None
    with server, Client(server.url) as client:
        total = client.total(meter, customer)
        # A request that got no answer may have been stored as well: at most one of each sender.
        assert len(acknowledged) + 1 <= total <= len(acknowledged) + 1 + 3 * 50
        for name in ("in flight", acknowledged[0], acknowledged[-1]):
            assert client.receipt(name)["status"] == "counted"


def test_sigint_ends_it_in_order_too(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        os.killpg(server.process.pid, signal.SIGINT)  # Ctrl-C in a terminal reaches all processes
        assert server.ended() == 0
    assert "Traceback" not in server.said()


# --- losing a process


def test_when_only_the_edge_is_killed_it_comes_back_and_clients_go_on(server: Server) -> None:
    with Client(server.url) as client:
        meter, customer, token = client.meter("edge_killed"), client.customer(name="A"), client.session()
        before, after = ({**event(name, customer), "event_name": "edge_killed"} for name in ("before", "after"))
        client.stream(token, [before])
        (edge,) = children_of(server.process.pid)
        os.kill(edge, signal.SIGKILL)
        wait_until(lambda: not is_running(edge) and is_ready(server.url))
        # The same URL, the same session, and the same connection pool, which reconnects by itself.
        while not _streamed(client, token, [before, after]):
            pass
        client.wait_until_applied()
        assert client.total(meter, customer) == 2
    (again,) = children_of(server.process.pid)
    assert again != edge


def _streamed(client: Client, token: str, events: list[dict[str, Any]]) -> bool:
    try:
        client.stream(token, events)
    except httpx.TransportError:  # a connection to the edge that was killed
        return False
    return True


def test_when_only_the_engine_is_killed_the_edge_ends_too_and_the_folder_can_be_served_again(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", shutdown_grace_seconds=5)
    with server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        client.stream(token, [event("a", customer)])
        (edge,) = children_of(server.process.pid)
        os.kill(server.process.pid, signal.SIGKILL)
        server.ended()
        wait_until(lambda: not is_running(edge))
    with server, Client(server.url) as client:
        client.stream(token, [event("a", customer), event("b", customer)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 2
