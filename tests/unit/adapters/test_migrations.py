"""The control plane's database at start: made, brought up to date, or refused in words the operator can act on."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from streamgauge.adapters.relational import alert_tables, notification_tables, tables
from streamgauge.adapters.relational.connection import connect, sqlite_url
from streamgauge.adapters.relational.migrations import migrate
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Account
from streamgauge.domain.errors import StartRefused, Unavailable

# Each module adds its tables to the one metadata.
MODULES = (tables, notification_tables, alert_tables)
metadata = tables.metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control 100%?.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    opened = connect(sqlite_url(path))
    yield opened
    opened.dispose()


def test_a_fresh_database_gets_the_tables_in_the_very_file_that_was_named(engine: Engine, path: Path) -> None:
    migrate(engine)
    assert path.exists()
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_the_migrated_schema_is_the_one_the_code_describes(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_constraints_have_the_names_the_code_gives_them(engine: Engine) -> None:
    migrate(engine)
    inspector = inspect(engine)
    for table in metadata.sorted_tables:
        assert inspector.get_pk_constraint(table.name)["name"] == table.primary_key.name
        named = {each["name"] for each in inspector.get_foreign_keys(table.name)}
        assert named == {each.name for each in table.foreign_key_constraints}


def test_migrating_again_keeps_what_is_stored(path: Path) -> None:
    account = Account(id="acct_1", name="First", created_ms=1)
    for _ in range(2):
        store = RelationalControlStore(sqlite_url(path))
        migrate(store.engine)
        if store.first_account() is None:
            store.add_account(account)
        assert store.first_account() == account
        store.close()


OLD_KEYS = [  # id, mode, hash, hint, created, revoked
    ("key_1", 0, "hash_1", "abcd", 10, None),
    ("key_2", 1, "hash_2", "", 20, 30),
]


def test_keys_from_before_permissions_may_still_do_everything(path: Path) -> None:
    """A database as the first release left it, with the keys, a session and a meter that were in it."""
    upgrade_to(path, "0001")
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO accounts VALUES ('acct_1', 'First', 1)")
        old.executemany("INSERT INTO secret_keys VALUES (?, 'acct_1', ?, ?, ?, ?, ?)", OLD_KEYS)
        old.execute("INSERT INTO meter_event_sessions VALUES ('mes_1', 'acct_1', 0, 'key_1', 'token', 11, 99)")
        old.execute("INSERT INTO customers VALUES ('acct_1', 0, 'cus_1', 12, NULL, NULL, '{\"name\": \"Ada\"}', '{}')")
    store = RelationalControlStore(sqlite_url(path))
    migrate(store.engine)
    keys = store.list_secret_keys("acct_1")
    assert [
        (key.id, int(key.tenant.livemode), key.secret_hash, key.hint, key.created_ms, key.revoked_ms) for key in keys
    ] == OLD_KEYS
    assert [key.permissions for key in keys] == [None, None]
    found = store.find_session("token")
    assert found is not None and found[1] == keys[0]
    customer = store.get_customer(keys[0].tenant, "cus_1")
    assert customer is not None and customer.attributes == {"name": "Ada"}
    assert store.find_answer(keys[0].tenant, "digest") is None
    with store.engine.connect() as connection:  # NULL, not the text null of JSON, which would be no permissions at all
        assert connection.execute(text("SELECT count(*) FROM secret_keys WHERE permissions IS NULL")).scalar() == 2
    store.close()


def upgrade_to(path: Path, revision: str) -> None:
    """Make the database as that release would have."""
    engine = connect(sqlite_url(path))
    config = Config()
    config.set_main_option("script_location", "streamgauge.adapters.relational:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def test_a_database_of_a_newer_release_is_refused_and_left_alone(engine: Engine, path: Path) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StartRefused, match="newer than this release") as refused:
        migrate(engine)
    assert str(path) in refused.value.message and "9999" in refused.value.message
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_file_that_is_no_database_is_refused_by_name(engine: Engine, path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at as if it were one\n" * 100)
    with pytest.raises(StartRefused) as refused:
        migrate(engine)
    assert str(path) in refused.value.message


def test_a_damaged_database_is_refused_by_name(engine: Engine, path: Path) -> None:
    migrate(engine)
    engine.dispose()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\xff" * 3996  # the schema's page, behind the header
    path.write_bytes(content)
    with pytest.raises(StartRefused) as refused:
        migrate(engine)
    assert str(path) in refused.value.message


def test_a_path_that_cannot_be_opened_is_refused_by_name(engine: Engine, path: Path) -> None:
    path.mkdir()
    with pytest.raises(StartRefused) as refused:
        migrate(engine)
    assert str(path) in refused.value.message


def test_another_programs_database_is_refused_and_left_alone(engine: Engine, path: Path) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE meters (id)")
    with pytest.raises(StartRefused):
        migrate(engine)
    # The revision is there whole or not at all: not even the tables before the one in the way were made.
    assert inspect(engine).get_table_names() == ["meters"]


def test_a_store_whose_database_was_not_migrated_is_unavailable(path: Path) -> None:
    store = RelationalControlStore(sqlite_url(path))
    with pytest.raises(Unavailable):
        store.first_account()
    store.close()


def test_migrating_leaves_logging_as_it_was(engine: Engine) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("alembic").level, logging.getLogger("x").disabled)
    migrate(engine)
    assert before == (
        root.level,
        list(root.handlers),
        logging.getLogger("alembic").level,
        logging.getLogger("x").disabled,
    )
