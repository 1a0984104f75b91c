"""Makes the tables of a new store, and brings those of an older version up to date."""

from typing import Final

from clickhouse_connect.driver.client import Client

from streamgauge.adapters.clickhouse import schema
from streamgauge.domain.errors import StartRefused

_CURRENT_COUNT: Final = "SimpleAggregateFunction(sum, Int64)"


def prepare(client: Client, database: str) -> None:
    """Afterwards every table and view is there and holds what it should, whatever an earlier start left behind.

    Nothing may be inserted meanwhile. A store from before cancellations is read once as a whole.
    """

    def run(*statements: str) -> None:
        for statement in statements:
            client.command(statement.format(database=database))

    run("CREATE DATABASE IF NOT EXISTS {database}")
    _refuse_broken_parts(client, database)
    run(schema.EVENTS, schema.SUMS, schema.SUMS_FOLD, schema.LATESTS, schema.LATESTS_FOLD)
    _let_counts_be_negative(client, database)
    if not _has(client, database, "latest_events_fold"):
        # The view comes last, so it says that the table is complete: killed before, the next start begins anew.
        run("DROP TABLE IF EXISTS {database}.latest_events SYNC", schema.LATEST_EVENTS)
        client.command(
            schema.LATEST_EVENTS_FILL.format(database=database),
            settings={"throw_on_max_partitions_per_insert_block": 0, "insert_deduplicate": 0},
        )
        run(schema.LATEST_EVENTS_FOLD)
    run(schema.CANCELLATIONS, schema.SUMS_CANCEL_FOLD, schema.LATESTS_CANCELLED, schema.LATESTS_CANCELLED_FOLD)


def _refuse_broken_parts(client: Client, database: str) -> None:
    """A store of a former version still puts broken parts aside when it is opened. Raises StartRefused when it did."""
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
    former = client.query(
        "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree' "
        "AND engine_full NOT LIKE '%max_suspicious_broken_parts%'",
        parameters={"database": database},
    ).result_rows
    for (table,) in former:
        client.command(f"ALTER TABLE {database}.{table} MODIFY SETTING {schema.REFUSE_BROKEN_PARTS}")


def _let_counts_be_negative(client: Client, database: str) -> None:
    """`sums.events` was unsigned before there were cancellations. The engine commits the new type first and then
    rewrites the column, which it takes up again after a crash; until then it converts when it reads."""
    (row,) = client.query(
        "SELECT type FROM system.columns WHERE database = {database:String} AND table = 'sums' AND name = 'events'",
        parameters={"database": database},
    ).result_rows
    if row[0] != _CURRENT_COUNT:
        client.command(f"ALTER TABLE {database}.sums MODIFY COLUMN events {_CURRENT_COUNT}")


def _has(client: Client, database: str, table: str) -> bool:
    (row,) = client.query(
        "SELECT count() FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        parameters={"database": database, "table": table},
    ).result_rows
    return bool(row[0])
