"""Verify and rebuild beside a server that goes on: under load, with damage to find and repair, and killed."""

import random
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.domain.errors import StartRefused
from tests.support.asked_rebuild import ask_for_a_rebuild
from tests.support.faults import wait_until
from tests.support.in_store import ONE_MORE, in_store
from tests.support.ledger import Ledger, Load, cancel, differences, send, send_again
from tests.support.program import Ended, run
from tests.support.server import Client, Server


def command(name: str, folder: Path) -> Ended:
    return run(name, "--data-dir", str(folder), seconds=300)


def filled(server: Server, seed: int, rng: random.Random) -> Ledger:
    with Client(server.url) as client:
        ledger = Ledger.opened(client, seed)
        load = Load(server.url, ledger, rng)
        while len(ledger.answered) < 2_000:
            time.sleep(0.01)
        load.end()
        client.wait_until_applied()
    return ledger


def send_slowly(url: str, ledger: Ledger, rng: random.Random, ending: threading.Event) -> None:
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as http:
        while not ending.wait(0.02):
            assert send(http, ledger, ledger.fresh_batch(10))
            event = ledger.one_to_cancel(rng)
            assert event is None or cancel(http, ledger, event["identifier"])


@pytest.mark.timeout(300)
def test_both_agree_while_events_and_cancellations_come_in(tmp_path: Path) -> None:
    rng = random.Random(1)
    with Server(tmp_path / "data") as server:
        ledger = filled(server, 1, rng)
        ending = threading.Event()
        sending = threading.Thread(target=send_slowly, args=(server.url, ledger, rng, ending))
        sending.start()
        try:
            for name in ("verify", "rebuild", "verify"):
                before = len(ledger.answered)
                done = command(name, server.data_dir)
                assert (done.code, done.err) == (0, ""), done
                assert done.out.startswith("all agree: " if name == "verify" else "rebuilt up to offset ")
                assert len(ledger.answered) > before
        finally:
            ending.set()
            sending.join()
        send_again(server.url, ledger, rng)
        with Client(server.url) as client:
            assert differences(client, ledger, rng) == []
        wait_until(lambda: not list((server.data_dir / "tmp").glob("snapshot-*")), "the snapshots are gone")
        assert server.said().count("rebuild beside serving complete") == 1


@pytest.mark.timeout(300)
def test_damage_of_a_rollup_is_found_and_repaired_beside_the_server(tmp_path: Path) -> None:
    rng = random.Random(2)
    with Server(tmp_path / "data") as server:
        ledger = filled(server, 2, rng)
    in_store(server.data_dir, ONE_MORE)
    with Server(tmp_path / "data") as server, Client(server.url) as client:
        send_again(server.url, ledger, rng)
        assert differences(client, ledger, rng) != []
        found = command("verify", server.data_dir)
        assert found.code == 1 and "total is " in found.err and "by the log and the raw events" in found.err
        assert command("rebuild", server.data_dir).code == 0
        assert differences(client, ledger, rng) == []
        assert command("verify", server.data_dir).code == 0


@pytest.mark.timeout(300)
def test_damage_of_the_log_is_named_beside_the_server(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        filled(server, 3, random.Random(3))
        with closing(sqlite3.connect(server.data_dir / "log.db", isolation_level=None)) as log:
            log.execute("UPDATE records SET block = zeroblob(10) WHERE first_offset = 0")
        done = command("verify", server.data_dir)
        assert (done.code, done.err) == (1, "event log, offset 0: the record does not match its checksum\n")


@pytest.mark.timeout(300)
def test_a_server_killed_while_it_rebuilds_serves_the_same_after_its_start(tmp_path: Path) -> None:
    rng = random.Random(4)
    server = Server(tmp_path / "data").start()
    ledger = filled(server, 4, rng)
    cut_short = 0
    for delay in (0.0, 0.1):
        told: list[object] = []
        asking = threading.Thread(target=ask_for_a_rebuild, args=(server.data_dir, told))
        asking.start()
        time.sleep(delay)
        server.kill()
        asking.join()
        cut_short += isinstance(told[0], StartRefused)
        server.start()
        send_again(server.url, ledger, rng)
        with Client(server.url) as client:
            assert differences(client, ledger, rng) == []
    assert cut_short
    assert command("verify", server.data_dir).code == 0
    socket = Path(DataFolder(server.data_dir).upkeep_socket)
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert server.stop() == 0
    assert not socket.exists()
