"""Clients of the ClickHouse engine: in this process, or over the network."""

from pathlib import Path

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from streamgauge.domain.errors import StartRefused


def embedded_clients(folder: Path) -> tuple[Client, Client]:
    """Two clients of one chDB engine with its data in `folder`; a process can have one such engine.

    Raises StartRefused when the engine cannot be opened on this folder.
    """
    try:
        return _embedded(folder), _embedded(folder)
    except (ClickHouseError, RuntimeError, OSError) as error:
        raise StartRefused(f"{folder}: the usage store cannot be opened: {error}") from error


def _embedded(folder: Path) -> Client:
    return clickhouse_connect.get_client(interface="chdb", path=str(folder))
