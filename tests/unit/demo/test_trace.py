"""The trace that the demo streams: what it holds, how it is shifted, what it adds up to."""

import csv
from decimal import Decimal
from importlib import resources

from streamgauge.demo import trace
from streamgauge.demo.trace import UsageKey

NOW_MS = 1_750_000_000_123


def csv_rows() -> list[dict[str, str]]:
    """The file read a second way, without the code under test."""
    with resources.files("streamgauge.demo").joinpath("azure_llm_2023_code.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_trace_holds_8819_calls_of_which_the_first_is_as_recorded() -> None:
    calls = trace.read()
    assert len(calls) == 8_819
    assert calls[0] == trace.Call(
        row=0,
        customer_index=0,
        timestamp_ms=1_700_158_623_979,  # 2023-11-16T18:17:03.979Z
        context_tokens=4_808,
        generated_tokens=10,
    )


def test_calls_are_in_order_of_time() -> None:
    times_ms = [call.timestamp_ms for call in trace.read()]
    assert times_ms == sorted(times_ms)


def test_the_customer_of_a_call_is_its_row_mod_20() -> None:
    assert all(call.customer_index == call.row % 20 for call in trace.read())


def test_the_totals_of_all_customers_are_the_sums_of_the_file() -> None:
    rows = csv_rows()
    totals = trace.expected_totals(trace.read())

    def over_all_customers(event_name: str) -> Decimal:
        return sum((Decimal(totals[UsageKey(event_name, index)]) for index in range(20)), start=Decimal(0))

    assert len(totals) == 3 * 20
    assert over_all_customers("llm_calls") == len(rows)
    assert over_all_customers("context_tokens") == sum(Decimal(row["ContextTokens"]) for row in rows)
    assert over_all_customers("generated_tokens") == sum(Decimal(row["GeneratedTokens"]) for row in rows)


def test_a_customers_total_is_the_sum_of_every_twentieth_row() -> None:
    rows = csv_rows()
    totals = trace.expected_totals(trace.read())
    for index in range(20):
        own = rows[index::20]
        assert totals[UsageKey("llm_calls", index)] == len(own)
        assert totals[UsageKey("context_tokens", index)] == sum(int(row["ContextTokens"]) for row in own)
        assert totals[UsageKey("generated_tokens", index)] == sum(int(row["GeneratedTokens"]) for row in own)


def test_the_last_call_is_shifted_to_five_minutes_ago() -> None:
    calls = trace.shifted(trace.read(), NOW_MS)
    assert max(call.timestamp_ms for call in calls) == NOW_MS - 300_000


def test_the_shift_keeps_every_distance_and_every_quantity() -> None:
    recorded = trace.read()
    calls = trace.shifted(recorded, NOW_MS)
    assert len({after.timestamp_ms - before.timestamp_ms for before, after in zip(recorded, calls, strict=True)}) == 1
    assert trace.expected_totals(calls) == trace.expected_totals(recorded)


def test_every_shifted_call_lies_within_the_window_that_meters_accept() -> None:
    assert all(0 <= NOW_MS - call.timestamp_ms < 35 * 86_400_000 for call in trace.shifted(trace.read(), NOW_MS))
