"""Brings the control plane's database to the schema this code knows. Revisions stand in `versions/`, oldest first.

A released revision is never edited: a change of `tables.py` comes with a new one, and a test compares the two.
"""

import sqlite3

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from streamgauge.adapters.relational.connection import for_writing, place
from streamgauge.adapters.relational.driver_errors import translation
from streamgauge.domain.errors import StartRefused, StreamgaugeError

# What passes or is the disk's own keeps its meaning; of all else the operator must hear before the service starts.
_NOT_THE_FILE = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


def migrate(engine: Engine) -> None:
    """Run every revision that the database lacks, all in one transaction. Does nothing when there is none.

    Raises StartRefused when the database is of a newer release, is no database, or is damaged or not accessible.
    Raises Unavailable, StorageFull or DurabilityLost like the store.
    """
    config = Config()
    # As a package, not as a path: a path with a % in it would be taken for a placeholder.
    config.set_main_option("script_location", __name__.replace(".migrations", ":migrations"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    try:
        with for_writing(engine).begin() as connection:
            present = set(MigrationContext.configure(connection).get_current_heads())
            unknown = present - {revision.revision for revision in script.walk_revisions()}
            if unknown:
                raise StartRefused(
                    f"control store {place(engine.url)}: its schema is revision {', '.join(sorted(unknown))}, "
                    f"newer than this release knows ({script.get_current_head()}): "
                    "start the release that wrote it, or a later one"
                )
            if present == set(script.get_heads()):
                return
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except (SQLAlchemyError, CommandError) as error:
        raise _refusal(error, engine) from error


def _refusal(error: SQLAlchemyError | CommandError, engine: Engine) -> StreamgaugeError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    code: int | None = getattr(cause, "sqlite_errorcode", None)
    if isinstance(error, SQLAlchemyError) and code is not None and code & 0xFF in _NOT_THE_FILE:
        return translation(error, place(engine.url))
    return StartRefused(
        f"control store {place(engine.url)}: cannot be opened or migrated: {cause}: "
        "check that it is this service's database and that its folder can be written, or restore it from a backup"
    )
