"""The same service, tuned: what arrives while a commit is under way is committed together, in one statement.

Runs in the comparison's own environment: `uvicorn benchmarks.comparison.postgres_tuned:app`. What was done:
- msgspec and not pydantic decodes, and nothing but the stream's route touches the body;
- group commit: each writer takes all requests that wait, and inserts them by one prepared `INSERT ... SELECT` from
  arrays, in the order of the identifiers, so that the index is walked once; casting is left to PostgreSQL
  (postgres_copy.py takes the other way, COPY into a staging table);
- narrow rows: identifiers as uuid, meters and customers as numbers; the primary key is the only index;
- the server's memory, log and checkpoints as in postgresql.py; commits stay synchronous, no table is unlogged.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import chain

import asyncpg  # type: ignore[import-not-found]
import msgspec
from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found]

SCHEMA = """
CREATE TABLE IF NOT EXISTS meters (number smallint PRIMARY KEY, event_name text UNIQUE NOT NULL);
INSERT INTO meters VALUES (1, 'bench_sum'), (2, 'bench_count'), (3, 'bench_last') ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS customers (number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS meter_events (
    occurred_at timestamptz NOT NULL,
    customer integer NOT NULL,
    meter smallint NOT NULL,
    identifier uuid NOT NULL,
    value numeric,
    CONSTRAINT meter_events_once PRIMARY KEY (identifier)
);
"""
INSERT = """
INSERT INTO meter_events (identifier, meter, customer, value, occurred_at)
SELECT identifier::uuid, meter, customer, value::numeric, occurred_at::timestamptz
FROM unnest($1::text[], $2::smallint[], $3::integer[], $4::text[], $5::text[])
     AS given (identifier, meter, customer, value, occurred_at)
ORDER BY 1
ON CONFLICT DO NOTHING
"""
TOTALS = """
SELECT meters.event_name, customers.id, count(*) AS count, coalesce(sum(value), 0)::text AS sum,
       coalesce((array_agg(value ORDER BY occurred_at DESC))[1], 0)::text AS last
FROM meter_events JOIN customers ON customers.number = customer JOIN meters ON meters.number = meter
WHERE $1::text IS NULL OR customers.id = $1
GROUP BY meters.event_name, customers.id
"""
SCHEMA_LOCK = 8420
UNKNOWN = 0  # the number of what the catalogue does not have
WRITERS = int(os.environ.get("BENCH_WRITERS", "2"))  # per worker: while one waits for the disk, the other fills up
REQUESTS_PER_COMMIT_MAX = 100


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    event_name: str
    identifier: str
    timestamp: str
    payload: dict[str, str]


class Stream(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[Event]


Insert = Callable[[list[Event]], Awaitable[None]]


class Writers:
    """Requests that wait to be committed, and the tasks that do it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: list[tuple[list[Event], asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()
        self.meters: dict[str, int] = {}
        self.customers: dict[str, int] = {}
        self._tasks = [asyncio.create_task(self._write()) for _ in range(WRITERS)]

    async def prepare(self, connection: asyncpg.Connection) -> Insert:
        """What inserts and commits events over this connection."""
        insert = await connection.prepare(INSERT)

        async def inserted(events: list[Event]) -> None:
            await insert.fetch(*self._columns(events))

        return inserted

    async def commit(self, events: list[Event]) -> None:
        """Return once the events are committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, done))
        self._arrived.set()
        await done

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _write(self) -> None:
        async with self._pool.acquire() as connection:
            insert = await self.prepare(connection)
            while True:
                await self._arrived.wait()
                taken = self._waiting[:REQUESTS_PER_COMMIT_MAX]
                del self._waiting[:REQUESTS_PER_COMMIT_MAX]
                if not self._waiting:
                    self._arrived.clear()
                if not taken:
                    continue
                try:
                    if not self.customers:
                        await self._read_catalogue(connection)
                    await insert(list(chain.from_iterable(events for events, _ in taken)))
                except (asyncpg.PostgresError, OSError) as error:
                    for _, done in taken:
                        done.set_exception(error)
                else:
                    for _, done in taken:
                        done.set_result(None)

    async def _read_catalogue(self, connection: asyncpg.Connection) -> None:
        self.meters = dict(await connection.fetch("SELECT event_name, number FROM meters"))
        self.customers = dict(await connection.fetch("SELECT id, number FROM customers"))

    def _columns(self, events: list[Event]) -> tuple[list[object], ...]:
        meter, customer = self.meters.get, self.customers.get
        payloads = [each.payload for each in events]
        return (
            [each.identifier for each in events],
            [meter(each.event_name, UNKNOWN) for each in events],
            [customer(each["stripe_customer_id"], UNKNOWN) for each in payloads],
            [each.get("value") for each in payloads],
            [each.timestamp for each in events],
        )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=WRITERS + 1, max_size=WRITERS + 1) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
            await connection.execute(SCHEMA)
        app.state.pool = pool
        app.state.writers = app.state.make_writers(pool)
        yield
        await app.state.writers.close()


_decode = msgspec.json.Decoder(Stream).decode


async def receive(request: Request) -> Response:
    await request.app.state.writers.commit(_decode(await request.body()).events)
    return Response(b"{}", media_type="application/json")


async def customers(ids: list[str], request: Request) -> None:
    async with request.app.state.pool.acquire() as connection:
        await connection.executemany("INSERT INTO customers (id) VALUES ($1)", [(each,) for each in ids])


async def totals(request: Request, customer: str | None = None) -> list[list[object]]:
    async with request.app.state.pool.acquire() as connection:
        rows = await connection.fetch(TOTALS, customer)
    return [list(row) for row in rows]


def service(make_writers: Callable[[asyncpg.Pool], Writers]) -> FastAPI:
    app = FastAPI(lifespan=lifespan)
    app.state.make_writers = make_writers
    app.add_route("/v2/billing/meter_event_stream", receive, methods=["POST"])
    app.add_api_route("/customers", customers, methods=["PUT"])
    app.add_api_route("/totals", totals, methods=["GET"])
    return app


app = service(Writers)
