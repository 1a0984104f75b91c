"""Every adapter of the control store, opened empty but for two accounts."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.migrations import migrate
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Account
from streamgauge.engine.ports.control_store import ControlStore

ADAPTERS = ("memory", "sqlite")
ACCOUNT = Account(id="acct_1", name="First", created_ms=1_000)


@contextmanager
def control_store(adapter: str, folder: Path) -> Iterator[ControlStore]:
    """One of `ADAPTERS`; what it keeps on disk is in `folder`. Closed on leaving."""
    opened: ControlStore
    if adapter == "memory":
        opened = MemoryControlStore()
    else:
        relational = RelationalControlStore(sqlite_url(folder / "control.db"))
        migrate(relational.engine)
        opened = relational
    opened.add_account(ACCOUNT)
    opened.add_account(Account(id="acct_2", name="Second", created_ms=2_000))
    try:
        yield opened
    finally:
        opened.close()
