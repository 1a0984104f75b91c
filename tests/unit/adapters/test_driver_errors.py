"""What becomes of a database's errors: each in the words of the service, with the driver's error as its cause."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.driver_errors import translation
from streamgauge.adapters.relational.migrations import migrate
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import Corrupt, DurabilityLost, StorageFull, StreamgaugeError, Unavailable

TENANT = Tenant("acct_1", False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.db"


@pytest.fixture
def store(path: Path) -> Iterator[RelationalControlStore]:
    opened = RelationalControlStore(sqlite_url(path))
    migrate(opened.engine)
    opened.add_account(Account(id="acct_1", name="First", created_ms=1))
    yield opened
    opened.close()


def on_connect(store: RelationalControlStore, pragma: str) -> None:
    """Have every connection from now on run it."""
    store.engine.dispose()
    event.listen(store.engine, "connect", lambda connection, _: connection.execute(pragma).close())


def customer(number: int) -> Customer:
    return Customer(id=f"cus_{number}", tenant=TENANT, created_ms=number, attributes={"name": "n" * 2_000})


def driver(kind: type[sqlite3.Error], code: int | None) -> sqlite3.Error:
    error = kind("what the driver says")
    if code is not None:
        error.sqlite_errorcode = code
    return error


CASES = [
    (OperationalError("", {}, driver(sqlite3.OperationalError, sqlite3.SQLITE_FULL)), StorageFull),
    (OperationalError("", {}, driver(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_SHMSIZE)), StorageFull),
    (OperationalError("", {}, driver(sqlite3.OperationalError, sqlite3.SQLITE_IOERR)), DurabilityLost),
    (OperationalError("", {}, driver(sqlite3.OperationalError, sqlite3.SQLITE_IOERR_FSYNC)), DurabilityLost),
    (OperationalError("", {}, driver(sqlite3.OperationalError, sqlite3.SQLITE_BUSY)), Unavailable),
    (OperationalError("", {}, driver(sqlite3.OperationalError, sqlite3.SQLITE_BUSY_SNAPSHOT)), Unavailable),
    (OperationalError("", {}, driver(sqlite3.OperationalError, sqlite3.SQLITE_LOCKED)), Unavailable),
    (OperationalError("", {}, driver(sqlite3.OperationalError, None)), Unavailable),
    (DatabaseError("", {}, driver(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT)), Corrupt),
    (DatabaseError("", {}, driver(sqlite3.DatabaseError, sqlite3.SQLITE_NOTADB)), Corrupt),
    (IntegrityError("", {}, driver(sqlite3.IntegrityError, sqlite3.SQLITE_CONSTRAINT)), StreamgaugeError),
    (NoFreeConnection("no free connection"), Unavailable),
]


@pytest.mark.parametrize(("error", "expected"), CASES)
def test_each_driver_error_has_one_meaning_and_names_the_database(
    error: SQLAlchemyError, expected: type[StreamgaugeError]
) -> None:
    translated = translation(error, "/data/control.db")
    assert type(translated) is expected
    assert "/data/control.db" in translated.message


def test_a_full_disk_refuses_the_write_keeps_reads_going_and_passes(store: RelationalControlStore) -> None:
    on_connect(store, "PRAGMA max_page_count = 40")
    stored = 0
    with pytest.raises(StorageFull) as refused:
        for stored in range(1_000):
            store.add_customer(customer(stored))
    assert isinstance(refused.value.__cause__, SQLAlchemyError)
    assert stored > 0 and store.get_customer(TENANT, f"cus_{stored}") is None
    assert store.get_customer(TENANT, f"cus_{stored - 1}") == customer(stored - 1)
    on_connect(store, "PRAGMA max_page_count = 4000")
    store.add_customer(customer(stored))


def test_a_write_behind_another_process_that_keeps_the_lock_is_unavailable(
    store: RelationalControlStore, path: Path
) -> None:
    on_connect(store, "PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            store.add_customer(customer(1))
        assert store.first_account() is not None, "reads go on beside a writer"
        other.execute("ROLLBACK")
    store.add_customer(customer(1))


def test_what_one_process_commits_another_sees_at_once(store: RelationalControlStore, path: Path) -> None:
    edge = RelationalControlStore(sqlite_url(path))
    assert edge.get_customer(TENANT, "cus_1") is None
    store.add_customer(customer(1))
    assert edge.get_customer(TENANT, "cus_1") == customer(1)
    edge.close()


def test_no_error_shows_what_was_to_be_written(store: RelationalControlStore) -> None:
    store.add_customer(customer(1))
    with pytest.raises(StreamgaugeError) as refused:
        store.add_customer(Customer(id="cus_1", tenant=TENANT, created_ms=1, attributes={"email": "a@example.com"}))
    assert "a@example.com" not in f"{refused.value} {refused.value.__cause__}"


def test_every_connection_syncs_each_commit_and_keeps_the_references(store: RelationalControlStore) -> None:
    with store.engine.connect() as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        assert [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas] == ["wal", 2, 1, 5_000]
