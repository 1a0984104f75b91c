"""A disk without room, on a file system of its own: everything that writes is refused by name, everything that reads
goes on, and when there is room again all goes on by itself."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.faults import FaultyServer, SmallDisk, event, small_disk, wait_until
from tests.support.program import run
from tests.support.server import SECRET_KEY, Client, Server

DISK_BYTES = 96 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, DISK_BYTES) as mounted:
        yield mounted


@dataclass(frozen=True)
class Made:
    """What is there before the disk is full. The `other` ones count nothing; an event, `lost`, waits for a redrive."""

    meter: str
    customer: str
    token: str
    other_meter: str
    other_customer: str

    @classmethod
    def by(cls, client: Client) -> "Made":
        made = cls(
            client.meter("calls"),
            client.customer(name="A"),
            client.session(),
            client.meter("other"),
            client.customer(name="B"),
        )
        client.stream(made.token, [event("lost", "cus_late")])
        client.wait_until_applied()
        client.post("/v1/customers", 200, id="cus_late")
        return made


def writes(client: Client, made: Made) -> dict[str, Callable[[], httpx.Response]]:
    """Every kind of call that stores something. None of them was made before."""
    key = {"Authorization": f"Bearer {client.key}"}
    cancel = {"event_name": "calls", "type": "cancel"}
    single: dict[str, Any] = {"event_name": "calls", "identifier": "v1"}
    token, meter, customer = made.token, made.meter, made.customer
    hook = "https://hook.example/"
    destination = {
        "name": "thin",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["*"],
        "webhook_endpoint": {"url": hook},
    }

    def post(path: str, **more: Any) -> Callable[[], httpx.Response]:
        return lambda: client.http.post(path, **{"headers": key, **more})

    return {
        "stream": post(
            "/v2/billing/meter_event_stream",
            json={"events": [event("stream", customer)]},
            headers={"Authorization": f"Bearer {token}"},
        ),
        "v2 event": post("/v2/billing/meter_events", json=event("v2", customer)),
        "v1 event": post(
            "/v1/billing/meter_events",
            data={**single, "payload[stripe_customer_id]": customer, "payload[value]": "1"},
        ),
        "v2 adjustment": post(
            "/v2/billing/meter_event_adjustments", json={**cancel, "cancel": {"identifier": "taken back 0"}}
        ),
        "v1 adjustment": post(
            "/v1/billing/meter_event_adjustments", data={**cancel, "cancel[identifier]": "taken back 1"}
        ),
        "meter": post(
            "/v1/billing/meters",
            data={"display_name": "m", "event_name": "new", "default_aggregation[formula]": "sum"},
        ),
        "meter under a request key": post(
            "/v1/billing/meters",
            data={"display_name": "m", "event_name": "keyed", "default_aggregation[formula]": "sum"},
            headers={**key, "Idempotency-Key": "one"},
        ),
        "meter's name": post(f"/v1/billing/meters/{meter}", data={"display_name": "renamed"}),
        "customer": post("/v1/customers", data={"name": "new"}),
        "customer's name": post(f"/v1/customers/{customer}", data={"name": "renamed"}),
        "session": post("/v2/billing/meter_event_session"),
        "meter's end": post(f"/v1/billing/meters/{made.other_meter}/deactivate"),
        "customer's end": lambda: client.http.delete(f"/v1/customers/{made.other_customer}", headers=key),
        "alert": post(
            "/v1/billing/alerts",
            data={
                "alert_type": "usage_threshold",
                "title": "Many calls",
                "usage_threshold[gte]": "1000",
                "usage_threshold[meter]": meter,
                "usage_threshold[recurrence]": "one_time",
            },
        ),
        "event destination": post(
            "/v2/core/event_destinations", json=destination, headers={**key, "Stripe-Version": "2026-09-30.endive"}
        ),
        "webhook endpoint": post("/v1/webhook_endpoints", data={"url": hook, "enabled_events[]": "*"}),
        "redrive": post("/streamgauge/dead_letters/redrive"),
    }


def stored(client: Client) -> list[Any]:
    """What a refused write must leave as it was: objects, dead letters, how many events were accepted."""
    lists = ("/v1/billing/meters", "/v1/customers", "/v1/billing/alerts", "/v1/webhook_endpoints")
    ours = ("/v2/core/event_destinations", "/streamgauge/dead_letters")
    status = client.get("/streamgauge/status")
    return [*(client.get(path)["data"] for path in (*lists, *ours)), status["accepted_events"]]


def test_a_full_disk_refuses_every_write_by_name_and_reads_go_on_and_room_cures_it(disk: SmallDisk) -> None:
    with FaultyServer(disk.data_dir) as server, Client(server.url) as client:
        made = Made.by(client)
        meter, customer = made.meter, made.customer
        client.stream(made.token, [event(f"taken back {number}", customer) for number in range(5)])
        client.wait_until_applied()
        before = stored(client)

        disk.fill()
        for name, write in writes(client, made).items():
            answer = write()
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage_full"), name
            assert answer.headers["stripe-should-retry"] == "true", name
            assert int(answer.headers["retry-after"]) >= 1, name
        assert stored(client) == before
        assert client.total(meter, customer) == 5
        assert client.receipt("taken back 0")["status"] == "counted"
        for refused in ("stream", "v1", "v2"):
            client.receipt(refused, expect=404)
        assert client.http.get("/healthz").status_code == 200
        assert client.http.get("/readyz").status_code == 503

        disk.free()
        assert client.http.get("/readyz").status_code == 200
        for name, write in writes(client, made).items():
            assert write().status_code == 200, name
        client.wait_until_applied()
        assert client.total(meter, customer) == 5 + 3 - 2
        assert client.total(meter, "cus_late") == 1
    assert server.process.returncode == 0
    assert server.said().count("requests are refused: ") == server.said().count("requests are accepted again") == 1


def test_what_was_acknowledged_before_the_disk_was_full_is_applied_exactly_when_there_is_room(disk: SmallDisk) -> None:
    """A step of applying needs room in several files. It is let run out of room a little later each time."""
    rooms = (0, 100, 160)
    # A step comes a while after the one before, so that events can be acknowledged and the disk filled before it.
    with FaultyServer(disk.data_dir, apply_interval_ms=800) as server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
        reasons = set[str]()
        sent = 0
        for room_kb in rooms:
            client.stream(token, [event(f"first {room_kb}", customer)])
            client.wait_until_applied()
            client.stream(token, [event(f"{room_kb} {number}", customer) for number in range(100)])
            sent += 101
            disk.fill()
            if room_kb:
                disk.leave(room_kb * 1_024)
            wait_until(partial(_stands_still_or_done, client, sent), "applying waits, or had room enough")
            status = client.get("/streamgauge/status")
            if status["backlog_events"]:
                assert client.receipt(f"{room_kb} 0")["status"] == "pending"
                assert client.total(meter, customer) == sent - 100
                reasons.add(str(status["failure"]))
            disk.free()
            client.wait_until_applied()
            assert client.total(meter, customer) == sent
            assert client.receipt(f"{room_kb} 99")["status"] == "counted"
        assert all(reason.endswith("the disk is full") for reason in reasons), reasons
        assert len(reasons) > 1, f"only one place ran out of room: {reasons}"
    assert server.process.returncode == 0


def _stands_still_or_done(client: Client, sent: int) -> bool:
    status = client.get("/streamgauge/status")
    return bool(status.get("failure")) or status["applied_events"] == sent


def test_a_start_without_room_is_refused_in_one_line_and_takes_the_folder_once_there_is_room(disk: SmallDisk) -> None:
    """The same folder, whatever the refused starts left in it."""
    disk.fill()
    room_kb = 0
    for needed_kb in (0, 8, 12, 192, 320, 432, 448):
        # What the former start took is free again only as far as it was undone, so this is a little less each time.
        if needed_kb:
            disk.leave((needed_kb - room_kb) * 1_024)
        room_kb = needed_kb
        ended = run("serve", "--data-dir", str(disk.data_dir), "--port", "0", secret_key=SECRET_KEY)
        assert (ended.code, ended.out) == (2, ""), (needed_kb, ended.err)
        said = [line for line in ended.errors if not re.match(r"\d{4}-", line)]
        assert len(said) == 1, ended.err
        assert re.search("No space left on device|the disk is full|has no room", said[0]), said
    disk.free()
    with FaultyServer(disk.data_dir) as server, Client(server.url) as client:
        meter, customer = client.meter("calls"), client.customer(name="A")
        client.stream(client.session(), [event("a", customer)])
        client.wait_until_applied()
        assert client.total(meter, customer) == 1
    assert server.process.returncode == 0


def test_on_a_full_disk_a_killed_server_starts_to_be_read_and_an_ended_one_is_refused(disk: SmallDisk) -> None:
    """What a kill leaves behind has room of its own; what an end in order leaves behind has given it back."""
    server = FaultyServer(disk.data_dir, apply_interval_ms=10_000, shutdown_grace_seconds=1)
    with server, Client(server.url) as client:
        meter, customer, token = client.meter("calls"), client.customer(name="A"), client.session()
    disk.fill()
    ended = run("serve", "--data-dir", str(disk.data_dir), "--port", "0", secret_key=SECRET_KEY)
    assert (ended.code, ended.out, len(ended.errors)) == (2, "", 1), ended.err

    disk.free()
    with server, Client(server.url) as client:
        client.stream(token, [event("applied", customer)])
        client.wait_until_applied()
        client.stream(token, [event("waits", customer)])
        server.kill()
    disk.fill()
    with server, Client(server.url) as client:
        assert client.total(meter, customer) == 1
        assert client.receipt("waits")["status"] == "pending"
        assert client.http.get("/readyz").status_code == 503
        assert server.stop() == 0  # it does not wait for room longer than it was told to

    disk.free()
    with server, Client(server.url) as client:
        client.wait_until_applied()
        assert client.total(meter, customer) == 2


def test_a_backup_without_room_for_one_of_its_files_says_which_and_is_none(disk: SmallDisk, tmp_path: Path) -> None:
    folder, copy = tmp_path / "lived", disk.root / "copy"
    with Server(folder) as server, Client(server.url) as client:
        client.meter("calls")
        client.stream(client.session(), [event(f"e{number}", "cus_stranger") for number in range(100)])
        client.wait_until_applied()
    disk.fill()
    refused: list[str] = []
    for _ in range(20):
        shutil.rmtree(copy, ignore_errors=True)
        done = run("backup", str(copy), "--with-store", "--data-dir", str(folder))
        if done.code == 0:
            break
        assert done.code == 2 and not (copy / "backup.json").exists(), done
        refused.append(done.err)
        disk.leave(60 * 2**10)
    assert (copy / "backup.json").exists()
    for said in ("could not back up log.db: the disk is full", "could not back up store.tar: No space left on device"):
        assert any(said in each for each in refused), refused
