"""The tuned service with COPY: a group goes into a staging table of the connection, and from there into the table.

Runs in the comparison's own environment: `uvicorn benchmarks.comparison.postgres_copy:app`. The staging table is
temporary, but nothing is answered that is in it alone: both steps are one transaction, and its commit is synchronous.
"""

import io

import asyncpg  # type: ignore[import-not-found]

from benchmarks.comparison.postgres_tuned import UNKNOWN, Event, Insert, Writers, service

STAGING = """
CREATE TEMPORARY TABLE staged (
    identifier uuid, meter smallint, customer integer, value numeric, occurred_at timestamptz
) ON COMMIT DELETE ROWS
"""
INSERT = """
INSERT INTO meter_events (identifier, meter, customer, value, occurred_at)
SELECT identifier, meter, customer, value, occurred_at FROM staged ORDER BY 1 ON CONFLICT DO NOTHING
"""
NULL = "\\N"
# Text of the caller's must not end a column or a line.
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class CopyWriters(Writers):
    async def prepare(self, connection: asyncpg.Connection) -> Insert:
        await connection.execute(STAGING)
        insert = await connection.prepare(INSERT)

        async def inserted(events: list[Event]) -> None:
            text = self._text(events)
            async with connection.transaction():
                await connection.copy_to_table("staged", source=io.BytesIO(text), format="text")
                await insert.fetch()

        return inserted

    def _text(self, events: list[Event]) -> bytes:
        meter, customer = self.meters.get, self.customers.get
        return "".join(
            f"{_safe(each.identifier)}\t{meter(each.event_name, UNKNOWN)}"
            f"\t{customer(each.payload['stripe_customer_id'], UNKNOWN)}"
            f"\t{_safe(each.payload['value']) if 'value' in each.payload else NULL}\t{_safe(each.timestamp)}\n"
            for each in events
        ).encode()


def _safe(text: str) -> str:
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPED)


app = service(CopyWriters)
