"""Connections to the control plane's database, and what SQLite needs to be told on each of them."""

import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.pool import QueuePool

CONNECTIONS_MAX = 8
CONNECTION_WAIT_SECONDS = 5
SQLITE_BUSY_TIMEOUT_MS = 5_000

_BEGIN = "sqlite_begin"


def sqlite_url(path: Path) -> str:
    """The URL of that file, whatever characters its path has."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def connect(url: str) -> Engine:
    """An engine for that SQLAlchemy URL. Nothing is opened before the first statement."""
    parsed = make_url(url)
    engine = create_engine(
        parsed,
        poolclass=QueuePool,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=CONNECTION_WAIT_SECONDS,
        # A server may have dropped an idle connection; a file cannot.
        pool_pre_ping=parsed.get_backend_name() != "sqlite",
        # Parameters are hashes of secrets and customers' addresses: they do not belong into an error's text.
        hide_parameters=True,
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def for_writing(engine: Engine) -> Engine:
    """The same connections, with transactions that on SQLite take the write lock when they begin.

    One that reads first and asks for the lock later fails at once, without waiting, if another process has
    written meanwhile.
    """
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def place(url: URL) -> str:
    """Where the database is, for people: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Python's driver would begin transactions by itself, but only before the first write: reads would see no snapshot.
    connection.isolation_level = None
    # The timeout comes first, since switching to WAL may have to wait for another process that does the same.
    connection.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))
