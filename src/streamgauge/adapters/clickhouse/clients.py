"""Clients of the ClickHouse engine: in this process, or over the network."""

from pathlib import Path

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from streamgauge.adapters.clickhouse.errors import says_full
from streamgauge.domain.errors import StartRefused


def embedded_clients(folder: Path) -> tuple[Client, Client]:
    """Two clients of one chDB engine with its data in `folder`; a process can have one such engine.

    Raises StartRefused when the engine cannot be opened on this folder.
    """
    try:
        return _embedded(folder), _embedded(folder)
    except (ClickHouseError, RuntimeError, OSError) as error:
        # What the engine says may go on with the stack of its own calls.
        why = "the disk is full; make room" if says_full(error) else next(iter(str(error).splitlines()), repr(error))
        raise StartRefused(f"{folder}: the usage store cannot be opened: {why}") from error


def another_embedded_client(folder: Path) -> Client:
    """One more client of the engine that `embedded_clients` opened on `folder`, for queries that those must not wait
    for."""
    return _embedded(folder)


def _embedded(folder: Path) -> Client:
    return clickhouse_connect.get_client(interface="chdb", path=str(folder))
