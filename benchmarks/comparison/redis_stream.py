"""Redis: `SET NX` for every identifier, `XADD` for every event that is new, each in one pipeline.

Runs in the comparison's own environment: `uvicorn benchmarks.comparison.redis_stream:app`. `BENCH_REDIS_PORT` names the
server, which appends and syncs before it answers. Between the two pipelines a crash loses events whose identifiers are
taken already: this is what it costs without that being cured. Totals are folded from the stream when somebody asks.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import msgspec
import redis.asyncio as redis  # type: ignore[import-not-found]
from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found]

STREAM, CUSTOMERS = "meter_events", "customers"
WINDOW_SECONDS = 35 * 24 * 3_600
READ_AT_ONCE = 5_000


class Event(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    event_name: str
    identifier: str
    timestamp: str
    payload: dict[str, str]


class Stream(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    events: list[Event]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.redis = redis.Redis(host="127.0.0.1", port=int(os.environ["BENCH_REDIS_PORT"]), decode_responses=True)
    yield
    await app.state.redis.aclose()


_decode = msgspec.json.Decoder(Stream).decode


async def receive(request: Request) -> Response:
    events = _decode(await request.body()).events
    claims = request.app.state.redis.pipeline(transaction=False)
    for each in events:
        claims.set(each.identifier, 1, nx=True, ex=WINDOW_SECONDS)
    claimed = await claims.execute()
    appends = request.app.state.redis.pipeline(transaction=False)
    for each, is_new in zip(events, claimed, strict=True):
        if is_new:
            fields = {"e": each.event_name, "i": each.identifier, "t": each.timestamp}
            appends.xadd(
                STREAM, {**fields, "c": each.payload["stripe_customer_id"], "v": each.payload.get("value", "")}
            )
    await appends.execute()
    return Response(b"{}", media_type="application/json")


async def customers(ids: list[str], request: Request) -> None:
    await request.app.state.redis.sadd(CUSTOMERS, *ids)


async def totals(request: Request, customer: str | None = None) -> list[list[object]]:
    known = {customer} if customer is not None else await request.app.state.redis.smembers(CUSTOMERS)
    counts: dict[tuple[str, str], int] = {}
    sums: dict[tuple[str, str], Decimal] = {}
    lasts: dict[tuple[str, str], tuple[str, str]] = {}
    after = "-"
    while entries := await request.app.state.redis.xrange(STREAM, min=after, count=READ_AT_ONCE):
        for _, fields in entries:
            if fields["c"] not in known:
                continue
            key = (fields["e"], fields["c"])
            counts[key] = counts.get(key, 0) + 1
            value = fields["v"] or "0"
            sums[key] = sums.get(key, Decimal(0)) + Decimal(value)
            lasts[key] = max(lasts.get(key, ("", "")), (fields["t"], value))
        after = f"({entries[-1][0]}"
    return [[*key, count, str(sums[key]), lasts[key][1]] for key, count in counts.items()]


app = FastAPI(lifespan=lifespan)
app.add_route("/v2/billing/meter_event_stream", receive, methods=["POST"])
app.add_api_route("/customers", customers, methods=["PUT"])
app.add_api_route("/totals", totals, methods=["GET"])
