"""The usual hand-made service: FastAPI, asyncpg, PostgreSQL, one transaction per request.

Runs in the comparison's own environment: `uvicorn benchmarks.comparison.postgres_plain:app`. `BENCH_DSN` names the
database. PostgreSQL runs as it comes from the package: synchronous commit, default memory.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal

import asyncpg  # type: ignore[import-not-found]
from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found]
from pydantic import BaseModel  # type: ignore[import-not-found]

SCHEMA = """
CREATE TABLE IF NOT EXISTS customers (id text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS meter_events (
    identifier text PRIMARY KEY,
    event_name text NOT NULL,
    customer text NOT NULL,
    value numeric,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS meter_events_of_a_customer ON meter_events (customer, event_name, occurred_at);
"""
INSERT = """
INSERT INTO meter_events (identifier, event_name, customer, value, occurred_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING
"""
TOTALS = """
SELECT event_name, customer, count(*) AS count, coalesce(sum(value), 0)::text AS sum,
       coalesce((array_agg(value ORDER BY occurred_at DESC))[1], 0)::text AS last
FROM meter_events JOIN customers ON customers.id = customer
WHERE $1::text IS NULL OR customer = $1
GROUP BY event_name, customer
"""
SCHEMA_LOCK = 8420  # several workers start at once


class Payload(BaseModel):  # type: ignore[misc]
    stripe_customer_id: str
    value: Decimal | None = None


class Event(BaseModel):  # type: ignore[misc]
    event_name: str
    identifier: str
    timestamp: datetime
    payload: Payload


class Stream(BaseModel):  # type: ignore[misc]
    events: list[Event]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=8, max_size=16) as pool:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
            await connection.execute(SCHEMA)
        app.state.pool = pool
        yield


async def receive(stream: Stream, request: Request) -> Response:
    # Sorted, so that two requests with the same identifiers wait for each other instead of failing in a deadlock.
    rows = sorted(
        (each.identifier, each.event_name, each.payload.stripe_customer_id, each.payload.value, each.timestamp)
        for each in stream.events
    )
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        await connection.executemany(INSERT, rows)
    return Response(b"{}", media_type="application/json")


async def customers(ids: list[str], request: Request) -> None:
    async with request.app.state.pool.acquire() as connection:
        await connection.executemany("INSERT INTO customers VALUES ($1)", [(each,) for each in ids])


async def totals(request: Request, customer: str | None = None) -> list[list[object]]:
    async with request.app.state.pool.acquire() as connection:
        rows = await connection.fetch(TOTALS, customer)
    return [list(row) for row in rows]


app = FastAPI(lifespan=lifespan)
app.add_api_route("/v2/billing/meter_event_stream", receive, methods=["POST"])
app.add_api_route("/customers", customers, methods=["PUT"])
app.add_api_route("/totals", totals, methods=["GET"])
