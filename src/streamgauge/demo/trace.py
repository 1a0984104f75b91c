"""The usage trace that the demo streams: calls of a production LLM service, and what they must add up to."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import NamedTuple

TRACE_FILE = "azure_llm_2023_code.csv"  # source and licence: LICENSE.data beside it
CUSTOMERS = 20
LAST_CALL_AGE_MS = 5 * 60 * 1000

CONTEXT_TOKENS = "context_tokens"
GENERATED_TOKENS = "generated_tokens"
LLM_CALLS = "llm_calls"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TEXT_UP_TO_MILLISECONDS = len("2023-11-16 18:17:03.979")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the LLM service. `row` counts from 0; `timestamp_ms` is UTC, cut to the millisecond."""

    row: int
    customer_index: int
    timestamp_ms: int
    context_tokens: int
    generated_tokens: int


class UsageKey(NamedTuple):
    """What a total belongs to: a meter, by its event name, and a customer, by its place in 0..CUSTOMERS-1."""

    event_name: str
    customer_index: int


def read() -> tuple[Call, ...]:
    """Every call of the trace, in order of time, as recorded in 2023.

    The trace names no customer, so one is derived: row mod CUSTOMERS.
    """
    text = resources.files("streamgauge.demo").joinpath(TRACE_FILE).read_text(encoding="utf-8")
    return tuple(_parse(text.splitlines()))


def shifted(calls: Sequence[Call], now_ms: int) -> tuple[Call, ...]:
    """The same calls, all moved by one constant so that the last lies LAST_CALL_AGE_MS before `now_ms`.

    Meters take events of the past 35 days only; the distances between calls stay as recorded.
    """
    offset_ms = now_ms - LAST_CALL_AGE_MS - max(call.timestamp_ms for call in calls)
    return tuple(replace(call, timestamp_ms=call.timestamp_ms + offset_ms) for call in calls)


def expected_totals(calls: Iterable[Call]) -> dict[UsageKey, int]:
    """What every summary must say, added up from the calls alone, in whole tokens and calls."""
    totals: dict[UsageKey, int] = {}
    for call in calls:
        for event_name, quantity in (
            (LLM_CALLS, 1),
            (CONTEXT_TOKENS, call.context_tokens),
            (GENERATED_TOKENS, call.generated_tokens),
        ):
            key = UsageKey(event_name, call.customer_index)
            totals[key] = totals.get(key, 0) + quantity
    return totals


def _parse(lines: Iterable[str]) -> Iterator[Call]:
    for row, fields in enumerate(csv.DictReader(lines)):
        # The file has seven digits of a second; meter events are kept to the millisecond.
        time = datetime.fromisoformat(fields["TIMESTAMP"][:_TEXT_UP_TO_MILLISECONDS]).replace(tzinfo=UTC)
        yield Call(
            row=row,
            customer_index=row % CUSTOMERS,
            timestamp_ms=(time - _EPOCH) // _MILLISECOND,
            context_tokens=int(fields["ContextTokens"]),
            generated_tokens=int(fields["GeneratedTokens"]),
        )
