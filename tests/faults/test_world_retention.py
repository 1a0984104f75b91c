"""Retention on a real folder whose first days are two months old: killed while it drops them, and what is left then.

The clock is set back while the folder is lived in, and is right when the server is started with a retention.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.faults import FaultyServer, Point, Shim, event, start_until_killed, wait_until
from tests.support.program import files_in, run
from tests.support.server import Client, Server

DAY_S = 86_400
AGES_DAYS = (60, 59, 58, 57, 3, 1)
DAYS_KEPT = 40
OLD = [f"e{age}" for age in AGES_DAYS if age > DAYS_KEPT]


def drop_points() -> tuple[Point, ...]:
    """While the log is cut; while the oldest day leaves the store, before and after; and another one. In this order,
    since each kill leaves the rest to the next start."""
    oldest, next_one = (f"{datetime.now(UTC) - timedelta(days=age):%Y%m%d}_" for age in AGES_DAYS[:2])
    return (
        Point("write", "log.db-wal", 1, "before"),
        Point("sync", "log.db-wal", 1, "after"),
        Point("rename", oldest, 1, "before"),
        Point("rename", oldest, 1, "after"),
        Point("rename", next_one, 1, "after"),
    )


def live(folder: Path, shim: Shim) -> tuple[list[str], str]:
    """An event of each meter for each age; of `last` one more each day, which is cancelled."""
    with FaultyServer(folder, environment=shim.environment) as server, Client(server.url) as client:
        shim.shift_clock(-AGES_DAYS[0] * DAY_S)
        meters = [client.meter("calls"), client.meter("level", "last")]
        customer = client.customer(name="A")
        for age in AGES_DAYS:
            shim.shift_clock(-age * DAY_S)
            more = [event(f"l{age}", customer, str(age), "level"), event(f"x{age}", customer, "999", "level")]
            client.stream(client.session(), [event(f"e{age}", customer), event(f"s{age}", "cus_stranger"), *more])
            client.wait_until_applied()
            cancel = {"event_name": "level", "type": "cancel", "cancel[identifier]": f"x{age}"}
            client.post("/v1/billing/meter_event_adjustments", 200, **cancel)
            client.wait_until_applied()
    return meters, customer


def totals(client: Client, meters: list[str], customer: str) -> list[object]:
    now_s = int(time.time())
    return [client.total(meter, customer, now_s - days * DAY_S) for meter in meters for days in (57, 0)]


def dropped_entries(client: Client) -> float:
    lines = client.http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith("streamgauge_dropped_entries_total")).split()[1])


def assert_restored(copy: Path, folder: Path, meters: list[str], customer: str, expected: list[object]) -> None:
    """From a backup of what retention has left: the totals of all time, and receipts of what is left."""
    assert (copy / "store.tar").exists()
    done = run("restore", str(copy), "--data-dir", str(folder), seconds=120)
    assert done.code == 0, done
    done = run("verify", "--data-dir", str(folder), seconds=120)
    assert done.code == 0, done
    with Server(folder) as server, Client(server.url) as client:
        assert totals(client, meters, customer) == expected
        client.receipt("e60", expect=404)
        assert client.receipt("e3")["status"] == "counted"
        client.stream(client.session(), [event("e3", customer), event("after", customer)])
        client.wait_until_applied()
        assert (client.receipt("e3")["repeats"], client.receipt("after")["status"]) == (1, "counted")


def test_days_are_dropped_whole_over_kills_and_no_total_changes(tmp_path: Path, shim: Shim) -> None:
    folder = tmp_path / "data"
    meters, customer = live(folder, shim)
    with Server(folder) as server, Client(server.url) as client:
        before = totals(client, meters, customer)
        assert before == [4, 2, 57, 1]
        assert client.receipt("e60")["status"] == "counted"
    server = FaultyServer(folder, environment=shim.environment, retention_days=DAYS_KEPT)
    for point in drop_points():
        start_until_killed(server, shim, point)
    with Server(folder, retention_days=DAYS_KEPT) as server, Client(server.url) as client:
        # Two events and a rejected one and the cancelled one, and the cancellation.
        wait_until(lambda: dropped_entries(client) == 5 * len(OLD), "the log begins later")
        wait_until(
            lambda: client.http.get("/streamgauge/meter_events/e57", headers=_key(client)).status_code == 404, ""
        )
        for name in OLD:
            client.receipt(name, expect=404)
        listed = {each["identifier"] for each in client.get("/streamgauge/meter_events", limit=100)["data"]}
        assert listed == {f"{kind}{age}" for kind in "eslx" for age in (3, 1)}
        assert client.get("/streamgauge/dead_letters")["data"][0]["identifier"] in ("s1", "s3")
        assert totals(client, meters, customer) == before
        client.stream(client.session(), [event("e1", customer), event("new", customer)])
        client.wait_until_applied()
        assert (client.receipt("e1")["repeats"], client.receipt("new")["log_position"]) == (1, "0:31")
    done = run("verify", "--data-dir", str(folder), seconds=120)
    assert done.code == 0, done
    assert done.out.startswith("all agree: 10 events, 2 cancelled")
    assert "the log begins at offset 20" in done.out
    there = set(files_in(folder))
    for arguments in (("rebuild",), ("rebuild", "--all")):
        refused = run(*arguments, "--data-dir", str(folder), seconds=120)
        assert refused.code == 2, refused
        assert "begins at offset 20, since older records were dropped (retention_days)" in refused.err.replace(
            "\n", " "
        )
    assert set(files_in(folder)) == there
    done = run("backup", str(tmp_path / "copy"), "--data-dir", str(folder), seconds=120)
    assert done.code == 0, done
    assert set(files_in(folder)) == there
    assert (tmp_path / "copy" / "store.tar").exists()
    with Server(folder) as server, Client(server.url) as client:
        refused = run("rebuild", "--data-dir", str(folder), seconds=120)  # beside the server, which does it by itself
        assert refused.code == 2, refused
        assert "begins at offset 20" in refused.err.replace("\n", " ")
        assert totals(client, meters, customer) == [4, 3, 57, 1]
        done = run("backup", str(tmp_path / "beside"), "--data-dir", str(folder), seconds=120)
        assert done.code == 0, done
    assert_restored(tmp_path / "beside", tmp_path / ("restored" * 20), meters, customer, [4, 3, 57, 1])
    for path in folder.glob("progress.db*"):
        path.unlink()
    refused = run("serve", "--data-dir", str(folder), "--port", "0", seconds=120)
    assert refused.code == 2
    assert "their totals are not in the log any more" in refused.err


def _key(client: Client) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.key}"}
