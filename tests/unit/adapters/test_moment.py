"""One moment of log and control store, while both go on."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.migrations import migrate
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.sqlite.event_log import SqliteEventLog
from streamgauge.adapters.sqlite.moment import SqliteBackupSource
from streamgauge.adapters.system.backup_folder import LocalBackupFolder, bring_back
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.adapters.system.snapshot import Snapshot
from streamgauge.domain.account import Account
from streamgauge.domain.counting_rules import CountingRules, RulesHistory
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import StartRefused
from streamgauge.domain.event_block import block_of, encode
from streamgauge.engine.backup import back_up
from streamgauge.engine.catalogue import CatalogueKeeper
from tests.support.world import TENANT, Event, SettableClock, request


class Service:
    """A folder with a log and a control store that are in use."""

    def __init__(self, path: Path) -> None:
        self.folder = DataFolder(path)
        self.clock = SettableClock()
        self.control = RelationalControlStore(sqlite_url(self.folder.control))
        migrate(self.control.engine)
        self.control.add_account(Account(id=TENANT.account_id, name="", created_ms=0))
        self.log = SqliteEventLog(self.folder.log, self.clock)
        self.catalogue = CatalogueKeeper(self.control, self.log, self.clock, RulesHistory.of(CountingRules()))
        self.source = SqliteBackupSource(path, self.folder.control, self.folder.log)

    def accept(self, identifier: str) -> None:
        block = block_of([request([Event(identifier)])])
        self.log.append(encode(block), block.tallies)

    def add_customer(self, customer_id: str, under_way: threading.Event | None = None) -> None:
        with self.catalogue.change() as change:
            self.control.add_customer(Customer(id=customer_id, tenant=TENANT, created_ms=change.at_ms))
            if under_way is not None:
                under_way.set()
                # It was stamped; now records come that must find it.
                self.accept(f"{customer_id} used")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "data")
    yield made
    made.log.close()
    made.control.close()


def contents(folder: Path) -> tuple[int, list[str]]:
    """Entries of the log, and customers."""
    with closing(sqlite3.connect(folder / "log.db")) as log, closing(sqlite3.connect(folder / "control.db")) as control:
        for each in (log, control):
            assert each.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((end,),) = log.execute("SELECT next_offset FROM head")
        return end, [row[0] for row in control.execute("SELECT id FROM customers ORDER BY created_ms")]


def test_what_is_written_while_it_is_copied_is_not_in_it(service: Service, tmp_path: Path) -> None:
    service.add_customer("cus_1")
    for number in range(200):
        service.accept(f"before-{number}")
    told: list[tuple[int, int]] = []

    def meanwhile(done: int, total: int) -> None:
        told.append((done, total))
        service.accept(f"during-{len(told)}")
        service.add_customer(f"cus_during_{len(told)}")

    target = LocalBackupFolder(tmp_path / "copy")
    manifest = back_up(service.source, target, service.clock, meanwhile)
    assert manifest.next_offset == 200
    assert contents(tmp_path / "copy") == (200, ["cus_1"])
    assert service.log.end_offset() == 200 + len(told)
    assert told and all(done <= total for done, total in told)


def test_a_change_of_the_catalogue_that_is_under_way_is_waited_for(service: Service, tmp_path: Path) -> None:
    for number in range(20):
        under_way = threading.Event()
        writer = threading.Thread(target=service.add_customer, args=(f"cus_{number}", under_way))
        writer.start()
        under_way.wait(10)
        back_up(service.source, LocalBackupFolder(tmp_path / f"copy{number}"), service.clock)
        writer.join()
        end, customers = contents(tmp_path / f"copy{number}")
        assert (end, len(customers)) == (number + 1, number + 1)


def test_a_backup_is_complete_with_its_manifest_and_comes_back_as_a_data_folder(
    service: Service, tmp_path: Path
) -> None:
    service.accept("a")
    target = LocalBackupFolder(tmp_path / "copy")
    made = back_up(service.source, target, service.clock)
    assert target.manifest() == made
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "copy").iterdir()} == dict.fromkeys(
        ("backup.json", "control.db", "log.db", "format.json"), 0o600
    )
    marked: list[list[str]] = []
    restored = tmp_path / "restored"
    bring_back(
        target, restored, lambda: marked.append(sorted(each.name for each in restored.iterdir())), lambda *_: None
    )
    # `format.json` makes it a data folder, and is not there before the mark is.
    assert marked == [["control.db", "log.db"]]
    assert contents(restored) == (1, [])
    assert DataFolder(restored).log.exists()


def test_a_backup_that_lacks_what_retention_has_just_dropped_is_refused(service: Service, tmp_path: Path) -> None:
    for number in range(3):
        service.accept(f"event-{number}")
    service.log.drop(before_ms=2**62, below_offset=2)
    folder = tmp_path / "snapshot"
    (folder / "store").mkdir(parents=True)
    (folder / "progress.db").write_bytes(b"")
    for stored in (None, Snapshot(folder, next_offset=1)):
        with pytest.raises(StartRefused, match=r"begins at offset 2 by now, .* run it again"):
            back_up(service.source, LocalBackupFolder(tmp_path / "copy"), service.clock, stored=stored)
    assert not (tmp_path / "copy").exists()
    back_up(service.source, LocalBackupFolder(tmp_path / "copy"), service.clock, stored=Snapshot(folder, next_offset=2))


def test_a_backup_with_a_store_has_a_format_of_its_own_and_brings_folders_and_links_back(
    service: Service, tmp_path: Path
) -> None:
    store = tmp_path / "snapshot" / "store"
    (store / "parts" / "detached").mkdir(parents=True)
    (store / "parts" / "data.bin").write_bytes(bytes(100_000))
    (store / "link").symlink_to("parts", target_is_directory=True)
    (tmp_path / "snapshot" / "progress.db").write_bytes(b"progress")
    target, told = LocalBackupFolder(tmp_path / "copy"), list[tuple[int, int]]()
    back_up(
        service.source,
        target,
        service.clock,
        lambda *at: told.append(at),
        Snapshot(tmp_path / "snapshot", next_offset=0),
    )
    assert json.loads((tmp_path / "copy" / "backup.json").read_text())["format"] == 2
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "copy").iterdir())
    assert told == sorted(told) and told[-1][0] > 100_000
    bring_back(target, tmp_path / "restored", lambda: None, lambda *_: None)
    restored = tmp_path / "restored" / "store"
    assert {path.relative_to(restored) for path in restored.rglob("*")} == {
        path.relative_to(store) for path in store.rglob("*")
    }
    assert (restored / "link").readlink() == Path("parts")
    assert (restored / "parts" / "data.bin").read_bytes() == bytes(100_000)
    assert (tmp_path / "restored" / "progress.db").read_bytes() == b"progress"


@pytest.mark.parametrize("missing", ("backup.json", "log.db", "control.db", "format.json"))
def test_a_backup_without_one_of_its_files_is_refused_and_makes_no_data_folder(
    missing: str, service: Service, tmp_path: Path
) -> None:
    target = LocalBackupFolder(tmp_path / "copy")
    back_up(service.source, target, service.clock)
    target.path(missing).unlink()
    with pytest.raises(StartRefused):
        bring_back(target, tmp_path / "restored", lambda: None, lambda *_: None)
    assert not (tmp_path / "restored" / "format.json").exists()


@pytest.mark.parametrize(
    "text", ("", "[]", "{}", '{"format": 99}', '{"format": 1, "files": {"../x": {"bytes": 1, "sha256": ""}}}')
)
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "backup.json").write_text(text)
    with pytest.raises(StartRefused):
        LocalBackupFolder(tmp_path).manifest()


def test_a_folder_without_files_has_nothing_to_back_up_and_none_are_made(tmp_path: Path) -> None:
    source = SqliteBackupSource(tmp_path, tmp_path / "control.db", tmp_path / "log.db")
    with pytest.raises(StartRefused, match="nothing to back up"):
        back_up(source, LocalBackupFolder(tmp_path / "copy"), SettableClock())
    assert list(tmp_path.iterdir()) == []
