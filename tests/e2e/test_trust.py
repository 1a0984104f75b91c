"""Commands of trust on real folders: verify, rebuild, backup, restore; also killed, and under load.

One folder is lived in by a server once; each test works on a copy of it.
"""

import json
import os
import pty
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import wait_until
from tests.support.in_store import ONE_MORE, in_store
from tests.support.program import Ended, files_in, run
from tests.support.server import Client, Server

EVENTS = 3_000
DAY_S = 86_400
NAMES = {"trust_sum": "sum", "trust_count": "count", "trust_last": "last"}


def event(number: int, customers: list[str], now_s: int) -> dict[str, Any]:
    return {
        "event_name": [*NAMES, "trust_unknown"][0 if number % 101 else 3] if number % 3 == 0 else [*NAMES][number % 3],
        "identifier": f"trust-{number}",
        "timestamp": now_s - 37 * number,
        "payload": {"stripe_customer_id": customers[number // 3 % len(customers)], "value": f"{number % 500}.25"},
    }


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("trust") / "data"
    now_s = int(time.time())
    with Server(folder) as server, Client(server.url) as client:
        for name, formula in NAMES.items():
            client.meter(name, formula)
        customers = [client.customer(name=f"c{number}") for number in range(3)]
        token = client.session()
        for start in [*range(0, EVENTS, 100), *range(0, EVENTS, 500)]:  # some of them twice
            client.stream(token, [event(number, customers, now_s) for number in range(start, start + 100)])
        client.wait_until_applied()
        for number in (1, 2, 3, 7, 8):
            form = {
                "event_name": event(number, customers, now_s)["event_name"],
                "type": "cancel",
                "cancel[identifier]": f"trust-{number}",
            }
            client.post("/v1/billing/meter_event_adjustments", 200, **form)
        client.wait_until_applied()
        # Receipts name the report, which comes when its window has ended: nothing changes by itself after that.
        wait_until(lambda: client.receipt("trust-0")["error_report"] is not None, "the rejected events are reported")
    yield folder


@pytest.fixture
def folder(lived: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(lived, copy, symlinks=True, ignore=shutil.ignore_patterns("engine.sock", "tmp"))
    return copy


def command(name: str, folder: Path, *arguments: str) -> Ended:
    return run(name, *arguments, "--data-dir", str(folder), seconds=120)


def summaries(client: Client) -> list[Any]:
    """By hour, of every meter and customer; and some receipts."""
    day = int(time.time()) // DAY_S * DAY_S
    meters = [each["id"] for each in client.get("/v1/billing/meters")["data"]]
    customers = [each["id"] for each in client.get("/v1/customers")["data"]]
    pages = [
        client.get(
            f"/v1/billing/meters/{meter}/event_summaries",
            customer=customer,
            start_time=day - 2 * DAY_S,
            end_time=day + 2 * DAY_S,
            value_grouping_window="hour",
            limit=100,
        )["data"]
        for meter in meters
        for customer in customers
    ]
    assert all(pages)
    return [*pages, *(client.receipt(f"trust-{number}") for number in range(0, EVENTS, 250))]


def assert_all_agree(folder: Path) -> str:
    done = command("verify", folder)
    assert (done.code, done.err) == (0, ""), done
    (line,) = done.out.splitlines()
    assert line.startswith("all agree: ")
    return line


@pytest.mark.parametrize(
    ("name", "arguments", "doing"),
    [
        ("verify", [], "counting again"),
        ("rebuild", [], "rebuilding"),
        ("rebuild", ["--all"], "rebuilding"),
        ("backup", ["{copy}"], "copying"),
    ],
)
def test_a_terminal_is_shown_how_far_a_command_has_come(
    folder: Path, tmp_path: Path, name: str, arguments: list[str], doing: str
) -> None:
    given = [each.format(copy=tmp_path / "copy") for each in arguments]
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "streamgauge", name, *given, "--data-dir", str(folder)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with closing(open(ours, "rb", buffering=0)) as terminal, suppress(OSError):  # EIO: the other side is gone
            while part := terminal.read(4_096):
                shown += part
    assert process.returncode == 0, shown
    # What it does, a bar, and how much of how much.
    assert re.search(rf"{doing}.*[━╸].*\d+(\.\d+)?/\d+".encode(), shown), shown


def test_settings_that_were_changed_need_not_be_told_to_any_command(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Server(folder, unknown_customers="accept") as server, Client(server.url) as client:
        client.meter("open", "count")
        client.stream(client.session(), [_of_nobody("accepted")])
        client.wait_until_applied()
    assert "counting rules changed" not in server.said()
    with Server(folder, dedup_window_hours=24) as server, Client(server.url) as client:
        client.stream(client.session(), [_of_nobody("refused")])
        client.wait_until_applied()
    assert "counting rules changed" in server.said()
    assert_all_agree(folder)
    assert command("rebuild", folder, "--all").code == 0
    assert_all_agree(folder)
    with Server(folder, dedup_window_hours=24) as server, Client(server.url) as client:
        assert [client.receipt(each)["status"] for each in ("accepted", "refused")] == ["counted", "rejected"]


def _of_nobody(identifier: str) -> dict[str, Any]:
    return {"event_name": "open", "identifier": identifier, "payload": {"stripe_customer_id": "cus_nobody"}}


# Verify


def test_a_folder_that_was_lived_in_agrees_with_its_log(folder: Path) -> None:
    assert assert_all_agree(folder).startswith("all agree: 3,600 events, 5 cancelled, ")


def test_a_row_slipped_into_a_rollup_is_found_with_its_place_and_both_values(folder: Path) -> None:
    in_store(folder, ONE_MORE)
    done = command("verify", folder)
    assert (done.code, done.out) == (1, "")
    assert any(
        "meter mtr_" in line
        and "customer cus_" in line
        and "total is " in line
        and "by the log and the raw events" in line
        for line in done.errors
    ), done.err


def test_a_record_of_the_log_that_was_changed_is_named_by_its_offset(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as log:
        log.execute("UPDATE records SET block = zeroblob(10) WHERE first_offset = 0")
    done = command("verify", folder)
    assert (done.code, done.err) == (1, "event log, offset 0: the record does not match its checksum\n")


def test_a_running_server_keeps_what_only_a_stopped_one_may_lose(folder: Path) -> None:
    with Server(folder):
        done = command("rebuild", folder, "--all")
        assert done.code == 2 and "is in use by process" in done.err


@pytest.mark.parametrize("name", ("verify", "rebuild", "backup"))
def test_a_folder_that_is_none_is_refused_and_not_made(name: str, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "copy")] if name == "backup" else []
    done = command(name, tmp_path / "nowhere", *arguments)
    assert done.code == 2 and "is not a Streamgauge data folder" in done.err
    assert list(tmp_path.iterdir()) == []


# Rebuild


@pytest.mark.parametrize("how", ((), ("--all",)), ids=("rollups", "all"))
def test_what_was_rebuilt_is_equal_and_repairs_the_rollups(folder: Path, how: tuple[str, ...]) -> None:
    with Server(folder) as server, Client(server.url) as client:
        before = summaries(client)
    in_store(folder, ONE_MORE)
    in_store(folder, "TRUNCATE TABLE streamgauge.latests")
    done = command("rebuild", folder, *how)
    assert done.code == 0 and done.out == "rebuilt up to offset 3,605 of the log\n", done
    assert_all_agree(folder)
    with Server(folder) as server, Client(server.url) as client:
        assert summaries(client) == before


@pytest.mark.parametrize("how", ((), ("--all",)), ids=("rollups", "all"))
def test_a_rebuild_killed_at_any_moment_is_completed_by_a_start_or_another_rebuild(
    folder: Path, how: tuple[str, ...]
) -> None:
    rng = random.Random(7)
    with Server(folder) as server, Client(server.url) as client:
        before = summaries(client)
    interrupted = 0
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "streamgauge", "rebuild", *how, "--data-dir", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (folder / "rebuild").exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
        interrupted += (folder / "rebuild").exists()
        if attempt == 1 and (folder / "rebuild").exists():
            done = command("verify", folder)
            assert done.code == 2 and "a rebuild was cut short" in done.err
        if attempt % 2:
            continue
        with Server(folder) as server, Client(server.url) as client:
            assert not (folder / "rebuild").exists()
            client.wait_until_applied()
            assert summaries(client) == before
    assert interrupted
    assert command("rebuild", folder).code == 0
    assert_all_agree(folder)


@pytest.mark.parametrize(
    "damage", ("DELETE FROM records WHERE first_offset >= 3000", "UPDATE records SET checksum = 1")
)
def test_what_only_a_whole_log_can_bring_back_is_not_deleted_when_it_is_damaged(folder: Path, damage: str) -> None:
    with closing(sqlite3.connect(folder / "log.db", isolation_level=None)) as log:
        log.execute(damage)
    before = sorted(each.name for each in folder.iterdir())
    done = command("rebuild", folder, "--all")
    assert done.code == 2 and "event log, offset " in done.err
    assert (folder / "store" / "data").is_dir() and "rebuild" not in before
    assert not (folder / "rebuild").exists()


# Backup and restore


with_and_without_store = pytest.mark.parametrize("how", ((), ("--with-store",)), ids=("log", "log and store"))


@with_and_without_store
def test_a_backup_under_load_holds_everything_that_was_acknowledged_before_it_began(
    folder: Path, tmp_path: Path, how: tuple[str, ...]
) -> None:
    """One sender, so what the backup holds of it is a beginning of what was acknowledged, and its total is known."""
    ending = threading.Event()
    acknowledged: list[int] = []

    def send(url: str, first: str) -> None:
        with Client(url) as client:
            token = client.session()
            customer = client.customer(name="c0")
            while not ending.is_set():
                batch = range(len(acknowledged), len(acknowledged) + 100)
                client.stream(
                    token,
                    [
                        {
                            "event_name": "trust_load",
                            "identifier": f"load-{number}",
                            "payload": {"stripe_customer_id": (first, customer)[number % 2], "value": f"{number}.5"},
                        }
                        for number in batch
                    ],
                )
                acknowledged.extend(batch)
                # The catalogue changes all the time, and the next events need what is new.
                customer = client.customer(name=f"c{len(acknowledged)}")

    with Server(folder) as server, Client(server.url) as client:
        meter, first = client.meter("trust_load"), client.customer(name="first")
        sender = threading.Thread(target=send, args=(server.url, first))
        sender.start()
        try:
            while len(acknowledged) < 1_000:
                assert sender.is_alive()
                time.sleep(0.01)
            before = len(acknowledged)
            done = command("backup", folder, str(tmp_path / "copy"), *how)
            assert done.code == 0, done
            assert sender.is_alive()
            # Deleted when the server has noticed that the command hung up.
            wait_until(lambda: not list((folder / "tmp").glob("snapshot-*")), "the snapshot is gone")
        finally:
            ending.set()
            sender.join()

    restored = tmp_path / "restored"
    done = run("restore", str(tmp_path / "copy"), "--data-dir", str(restored), seconds=120)
    assert done.code == 0, done
    assert_all_agree(restored)
    with Server(restored) as server, Client(server.url) as client:
        held = client.get("/streamgauge/status")["applied_events"] - 3_600
        assert before <= held <= len(acknowledged)
        assert Decimal(client.total(meter, first)) == sum(Decimal(f"{number}.5") for number in range(0, held, 2))
        # Each batch's customer was made before it: a catalogue older than the log would have rejected the last ones.
        assert {client.receipt(f"load-{number}")["status"] for number in range(held - 300, held)} == {"counted"}
        client.receipt(f"load-{held}", expect=404)


@with_and_without_store
def test_a_restored_folder_shows_what_the_first_one_showed(folder: Path, tmp_path: Path, how: tuple[str, ...]) -> None:
    with Server(folder) as server, Client(server.url) as client:
        before = summaries(client)
    assert command("backup", folder, str(tmp_path / "copy"), *how).code == 0
    restored = tmp_path / "restored"
    done = run("restore", str(tmp_path / "copy"), "--data-dir", str(restored), seconds=120)
    assert (done.code, done.out) == (0, f"restored to {restored}, up to offset 3,605 of the log\n")
    for place in (tmp_path / "copy", restored):
        assert not [
            path for path in (place, *files_in(place)) if path.stat().st_mode & 0o077 and "store" not in path.parts
        ]
    # A store that was made anew has another name.
    identities = [(each / "store" / "identity").read_text() for each in (folder, restored)]
    assert (identities[0] == identities[1]) == bool(how)
    with Server(restored) as server, Client(server.url) as client:
        assert summaries(client) == before


def test_a_store_with_a_step_half_done_is_backed_up_with_it_and_the_step_is_completed(
    folder: Path, tmp_path: Path
) -> None:
    with Server(folder) as server, Client(server.url) as client:
        before = summaries(client)
    with closing(sqlite3.connect(folder / "progress.db", isolation_level=None)) as progress:
        # As a kill leaves it after the rows were written, and before the checkpoint says so.
        progress.execute("UPDATE checkpoint SET next_offset = (SELECT max(0, next_offset - 5) FROM checkpoint)")
        progress.execute("INSERT INTO intent SELECT next_offset, next_offset + 5 FROM checkpoint")
    copy, restored = tmp_path / "copy", tmp_path / "restored"
    assert command("backup", folder, str(copy), "--with-store").code == 0
    assert run("restore", str(copy), "--data-dir", str(restored), seconds=120).code == 0
    with Server(restored) as server, Client(server.url) as client:
        assert summaries(client) == before


def test_a_store_that_a_rebuild_has_not_completed_is_not_backed_up(folder: Path, tmp_path: Path) -> None:
    (folder / "rebuild").write_text("rollups\n")
    done = command("backup", folder, str(tmp_path / "copy"), "--with-store")
    assert done.code == 2 and "a rebuild was cut short" in done.err
    assert not (tmp_path / "copy").exists()


def test_a_backup_that_was_cut_short_is_refused(folder: Path, tmp_path: Path) -> None:
    for attempt in range(20):
        copy = tmp_path / f"copy{attempt}"
        process = subprocess.Popen(
            [sys.executable, "-m", "streamgauge", "backup", str(copy), "--data-dir", str(folder)],
            stdout=subprocess.DEVNULL,
        )
        while not copy.exists() and process.poll() is None:
            time.sleep(0.0005)
        process.kill()
        process.wait()
        if not (copy / "backup.json").exists():
            break
    else:
        pytest.fail("every backup was complete before it could be killed")
    restored = tmp_path / "restored"
    done = run("restore", str(copy), "--data-dir", str(restored))
    assert done.code == 2 and "has no backup.json: it is no backup, or one that was cut short" in done.err
    assert not restored.exists()
    # The folder it was made from is as good as before.
    assert_all_agree(folder)


@pytest.mark.parametrize(
    ("name", "at"), (("log.db", 20_000), ("store.tar", 20_000), ("store.tar", 3), ("progress.db", 1_000))
)
def test_a_damaged_backup_is_refused_and_makes_no_data_folder(folder: Path, tmp_path: Path, name: str, at: int) -> None:
    copy, restored = tmp_path / "copy", tmp_path / "restored"
    assert command("backup", folder, str(copy), "--with-store").code == 0
    with open(copy / name, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    done = run("restore", str(copy), "--data-dir", str(restored))
    assert done.code == 2 and "the backup is damaged" in done.err
    done = run("serve", "--data-dir", str(restored), "--port", "0")
    assert done.code == 2 and "is not empty and not a Streamgauge data folder" in done.err


def test_neither_backup_nor_restore_writes_into_a_folder_that_is_not_empty(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    assert command("backup", folder, str(copy)).code == 0
    told = json.loads((copy / "backup.json").read_text())
    done = command("backup", folder, str(copy))
    assert done.code == 2 and "is not empty" in done.err
    done = run("restore", str(copy), "--data-dir", str(folder))
    assert done.code == 2 and "is not empty" in done.err
    assert json.loads((copy / "backup.json").read_text()) == told
    assert_all_agree(folder)


def test_a_restore_killed_while_it_applies_is_completed_by_the_next_start(folder: Path, tmp_path: Path) -> None:
    copy, restored = tmp_path / "copy", tmp_path / "restored"
    assert command("backup", folder, str(copy)).code == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "streamgauge", "restore", str(copy), "--data-dir", str(restored)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (restored / "format.json").exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert (restored / "rebuild").exists()
    with Server(restored) as server, Client(server.url) as client:
        assert client.get("/streamgauge/status")["applied_events"] == 3_600
    assert_all_agree(restored)
