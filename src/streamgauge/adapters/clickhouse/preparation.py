"""Makes the tables of a store, and refuses one that lost parts."""

from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import schema
from streamgauge.adapters.clickhouse.rollups import drop_renewed
from streamgauge.domain.errors import StartRefused


def prepare(client: Client, database: str) -> None:
    """Afterwards every table is there, and merged as `schema.MERGING` says.

    Raises StartRefused when damaged parts were put aside.
    """
    client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    _refuse_broken_parts(client, database)
    drop_renewed(client, database)
    for table in schema.TABLES:
        client.command(schema.create(table, database))
    _renew_merging(client, database)


def _renew_merging(client: Client, database: str) -> None:
    """How the tables of an older store are merged: that can be changed without making them anew."""
    for table, merging in schema.MERGING.items():
        ((engine,),) = client.query(
            "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}",
            parameters={"database": database, "table": table},
        ).result_rows
        if not all(setting in engine for setting in merging.split(", ")):  # of one that was altered in any order
            client.command(f"ALTER TABLE {database}.{table} MODIFY SETTING {merging}")


def _refuse_broken_parts(client: Client, database: str) -> None:
    """But for those whose rows are in a part that they were merged into: the engine keeps such parts for a while,
    reads them at a start, too, and puts aside what it cannot read, after a read that failed once for example."""
    aside = client.query(
        "SELECT table, name FROM system.detached_parts AS aside WHERE database = {database:String} "
        "AND startsWith(reason, 'broken') AND (table, name) NOT IN ("
        "SELECT aside.table, aside.name FROM system.detached_parts AS aside INNER JOIN system.parts AS part "
        "ON aside.database = part.database AND aside.table = part.table AND aside.partition_id = part.partition_id "
        "WHERE part.active AND part.database = {database:String} AND part.level > aside.level "
        "AND part.min_block_number <= aside.min_block_number AND part.max_block_number >= aside.max_block_number"
        ") ORDER BY table, name",
        parameters={"database": database},
    ).result_rows
    if aside:
        table, part = aside[0]
        raise StartRefused(
            f"the usage store lost {len(aside)} damaged parts, the first of them {part} of the table {table}; restore "
            "the folder from a backup, or delete store and progress.db: then all is applied again from the log"
        )
