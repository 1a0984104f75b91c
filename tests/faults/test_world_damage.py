"""A byte on the disk that is no longer what was written: nothing is counted by guessing, and nothing is skipped."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import event, wait_until
from tests.support.in_store import in_store
from tests.support.program import run
from tests.support.server import SECRET_KEY, Client, Server

BATCHES, BATCH = 8, 100
DAMAGED = 5  # the batch that is damaged; those before it are to be applied
EXIT_DISK_FAILED = 3


@dataclass(frozen=True)
class Backlog:
    """A folder whose log holds one applied event and `BATCHES` records of `BATCH` events that wait."""

    data_dir: Path
    meter: str
    customer: str
    token: str

    @property
    def log(self) -> Path:
        return self.data_dir / "log.db"

    def event(self, number: int) -> dict[str, Any]:
        return event(f"waits {number}", self.customer)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Backlog:
    server = Server(tmp_path_factory.mktemp("made") / "data", apply_interval_ms=10_000)
    with server, Client(server.url) as client:
        backlog = Backlog(server.data_dir, client.meter("calls"), client.customer(name="A"), client.session())
        client.stream(backlog.token, [event("applied", backlog.customer)])
        client.wait_until_applied()
        for first in range(0, BATCHES * BATCH, BATCH):
            client.stream(backlog.token, [backlog.event(number) for number in range(first, first + BATCH)])
        server.kill()
    (server.data_dir / "engine.sock").unlink()
    shutil.rmtree(server.data_dir / "tmp")
    with closing(sqlite3.connect(backlog.log)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return backlog


@pytest.fixture
def backlog(made: Backlog, tmp_path: Path) -> Backlog:
    copy = tmp_path / "data"
    shutil.copytree(made.data_dir, copy, symlinks=True)
    return Backlog(copy, made.meter, made.customer, made.token)


def in_the_block(log: Path) -> int:
    (block,) = _damaged_row(log, "block")
    data = log.read_bytes()
    # Of a piece that no other record has.
    pieces = (block[start : start + 100] for start in range(0, len(block), 100))
    return data.index(next(piece for piece in pieces if data.count(piece) == 1)) + 50


def in_the_checksum(log: Path) -> int:
    (checksum,) = _damaged_row(log, "checksum")
    return log.read_bytes().index(checksum.to_bytes(4, "big")) + 3


def in_the_page(log: Path) -> int:
    """The first byte of the table's root page, which says what kind of page it is."""
    with closing(sqlite3.connect(log)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'records'").fetchone()
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
    return int((page - 1) * page_bytes)


def _damaged_row(log: Path, columns: str) -> Any:
    with closing(sqlite3.connect(log)) as database:
        return database.execute(
            f"SELECT {columns} FROM records WHERE first_offset = ?", (1 + DAMAGED * BATCH,)
        ).fetchone()


def put_back(log: Path, checksum_and_block: tuple[int, bytes]) -> None:
    """Wherever the record stands by now: later ones may have moved it to another page."""
    with closing(sqlite3.connect(log)) as database, database:
        database.execute(
            "UPDATE records SET checksum = ?, block = ? WHERE first_offset = ?",
            (*checksum_and_block, 1 + DAMAGED * BATCH),
        )


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


@pytest.mark.parametrize("place", [in_the_block, in_the_checksum])
def test_a_damaged_record_stops_applying_at_its_offset_and_mended_it_goes_on(
    backlog: Backlog, place: Callable[[Path], int]
) -> None:
    whole = _damaged_row(backlog.log, "checksum, block")
    flip(backlog.log, place(backlog.log))
    applied = 1 + DAMAGED * BATCH
    with Server(backlog.data_dir) as server, Client(server.url) as client:
        wait_until(lambda: "applying stopped: " in server.said(), "applying stopped")
        status = client.get("/streamgauge/status")
        assert f"event log, offset {applied}: " in status["failure"]
        assert f"applying stopped: event log, offset {applied}: " in server.said()
        assert "streamgauge_apply_failed 1.0" in client.http.get("/metrics").text
        # Whatever stands before it is applied, nothing behind it is, and more is accepted.
        assert status["applied_events"] == client.total(backlog.meter, backlog.customer) == applied
        client.stream(backlog.token, [event("accepted", backlog.customer)])
        client.receipt("accepted", expect=500)
        assert server.stop() == 0

    put_back(backlog.log, whole)
    with Server(backlog.data_dir) as server, Client(server.url) as client:
        client.wait_until_applied()
        assert client.total(backlog.meter, backlog.customer) == 1 + BATCHES * BATCH + 1


def test_a_damaged_page_of_the_log_accepts_nothing_ends_the_server_and_mended_it_goes_on(backlog: Backlog) -> None:
    at = in_the_page(backlog.log)
    flip(backlog.log, at)
    with Server(backlog.data_dir) as server, Client(server.url) as client:
        wait_until(lambda: "applying stopped: " in server.said(), "applying stopped")
        assert "event log, offset 1: " in client.get("/streamgauge/status")["failure"]
        assert client.total(backlog.meter, backlog.customer) == 1
        client.stream(backlog.token, [event("refused", backlog.customer)], expect=500)
        assert server.ended() == EXIT_DISK_FAILED

    flip(backlog.log, at)
    with Server(backlog.data_dir) as server, Client(server.url) as client:
        client.wait_until_applied()
        assert client.total(backlog.meter, backlog.customer) == 1 + BATCHES * BATCH
        client.receipt("refused", expect=404)


# --- the store


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Backlog:
    """A folder in order with everything applied: three parts in each table."""
    server = Server(tmp_path_factory.mktemp("counted") / "data")
    with server, Client(server.url) as client:
        found = Backlog(server.data_dir, client.meter("calls"), client.customer(name="A"), client.session())
        for number in range(3):
            client.stream(found.token, [found.event(number)])
            client.wait_until_applied()
    return found


def in_parts_of(data_dir: Path, table: str, file: str) -> list[Path]:
    folder = (data_dir / "store" / "data" / "streamgauge" / table).resolve()
    return [part / file for part in folder.iterdir() if (part / "checksums.txt").exists()]


@pytest.mark.parametrize("table", ["events", "sums"])
def test_a_part_of_the_store_that_cannot_be_loaded_refuses_the_start_and_is_not_left_out(
    counted: Backlog, table: str
) -> None:
    """Left out, totals would be too small, and repeats of what it held would count again."""
    file = max(in_parts_of(counted.data_dir, table, "columns.txt"))
    at = file.stat().st_size // 2
    flip(file, at)
    ended = run("serve", "--data-dir", str(counted.data_dir), "--port", "0", secret_key=SECRET_KEY)
    assert (ended.code, ended.out) == (2, ""), ended.err
    assert "the usage store cannot be opened" in ended.err
    flip(file, at)
    with Server(counted.data_dir) as server, Client(server.url) as client:
        client.stream(counted.token, [counted.event(number) for number in range(3)])
        client.wait_until_applied()
        assert client.total(counted.meter, counted.customer) == 3


def test_a_damaged_part_whose_rows_were_merged_into_another_does_not_keep_the_server_from_starting(
    counted: Backlog, tmp_path: Path
) -> None:
    """The engine keeps such parts for some minutes, and puts aside what it cannot read of them when it starts."""
    copy = tmp_path / "data"
    shutil.copytree(counted.data_dir, copy, symlinks=True)
    whole = in_parts_of(copy, "events", "columns.txt")
    in_store(copy, "OPTIMIZE TABLE streamgauge.events FINAL")
    for file in whole:
        flip(file, file.stat().st_size // 2)
    for _ in range(2):  # the first of them puts them aside, the second finds them there
        with Server(copy) as server, Client(server.url) as client:
            wait_until(lambda: any(aside_in(copy, "events")), "what cannot be read is put aside")
            client.stream(counted.token, [counted.event(number) for number in range(3)])
            client.wait_until_applied()
            assert client.total(counted.meter, counted.customer) == 3
    for file in in_parts_of(copy, "events", "columns.txt"):
        if not file.parent.name.endswith("_0"):  # the level of what was merged
            shutil.rmtree(file.parent)
    ended = run("serve", "--data-dir", str(copy), "--port", "0", secret_key=SECRET_KEY)
    lost = len(aside_in(copy, "events"))
    assert lost >= 3 and ended.code == 2 and f"the usage store lost {lost} damaged parts" in ended.err, ended.err


def aside_in(data_dir: Path, table: str) -> list[Path]:
    return list(((data_dir / "store" / "data" / "streamgauge" / table).resolve() / "detached").glob("broken*"))


def test_damaged_data_in_the_store_is_told_as_damage_and_applying_stops(counted: Backlog, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(counted.data_dir, copy, symlinks=True)
    for table in ("events", "sums"):
        for file in in_parts_of(copy, table, "data.bin"):
            flip(file, 0)  # in the column that every look-up reads
    with Server(copy) as server, Client(server.url) as client:
        day_s = int(time.time()) // 86_400 * 86_400
        path = f"/v1/billing/meters/{counted.meter}/event_summaries"
        span = {"customer": counted.customer, "start_time": day_s - 86_400, "end_time": day_s + 86_400}
        assert client.get(path, 500, **span)["error"]["code"] == "corrupt"
        client.receipt("waits 0", expect=500)
        client.stream(counted.token, [counted.event(number) for number in range(3)])  # accepted, and durable
        wait_until(lambda: "applying stopped: " in server.said(), "applying stopped")
        assert "the usage store is damaged" in client.get("/streamgauge/status")["failure"]
        assert server.stop() == 0
