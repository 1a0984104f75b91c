"""Makes the tables of a store, and refuses one that lost parts."""

from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import schema
from streamgauge.adapters.clickhouse.rollups import drop_renewed
from streamgauge.domain.errors import StartRefused


def prepare(client: Client, database: str) -> None:
    """Afterwards every table is there. Raises StartRefused when damaged parts were put aside."""
    client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    _refuse_broken_parts(client, database)
    drop_renewed(client, database)
    for table in schema.TABLES:
        client.command(schema.create(table, database))


def _refuse_broken_parts(client: Client, database: str) -> None:
    aside = client.query(
        "SELECT table, name FROM system.detached_parts WHERE database = {database:String} "
        "AND startsWith(reason, 'broken') ORDER BY table, name",
        parameters={"database": database},
    ).result_rows
    if aside:
        table, part = aside[0]
        raise StartRefused(
            f"the usage store lost {len(aside)} damaged parts, the first of them {part} of the table {table}; restore "
            "the folder from a backup, or delete store and progress.db: then all is applied again from the log"
        )
