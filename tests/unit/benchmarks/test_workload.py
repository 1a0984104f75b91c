"""The benchmark's expectations, recomputed from the rendered text by a naive oracle.

Goal: a benchmark that checks totals is only as good as the totals it expects.
Method: parse the bodies as a server would, keep the first event of each identifier, drop unknown customers, add up
Decimals; compare with what the workload says of itself.
"""

import json
import uuid
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from benchmarks.workload import UNKNOWN_CUSTOMER, Meter, Shape, TotalKey, Workload

NOW_MS = 1_750_000_000_123
CUSTOMERS = [f"cus_{index:05}" for index in range(50)]
SHAPE = Shape(events=5_000, seed=7, duplicate_share=0.05, invalid_share=0.02)


def events_of(workload: Workload, requests: int) -> list[dict[str, Any]]:
    bodies = list(workload.bodies())[:requests]
    return [event for body in bodies for event in json.loads(body)["events"]]


def oracle(events: list[dict[str, Any]]) -> tuple[dict[TotalKey, Decimal], Counter[str]]:
    totals = {TotalKey(meter, index): Decimal(0) for meter in Meter for index in range(len(CUSTOMERS))}
    meters = {meter.event_name: meter for meter in Meter}
    latest: dict[TotalKey, datetime] = {}
    fates: Counter[str] = Counter()
    seen: set[str] = set()
    for event in events:
        customer = event["payload"]["stripe_customer_id"]
        if event["identifier"] in seen:
            fates["duplicate"] += 1
            continue
        if customer not in CUSTOMERS:
            fates["rejected"] += 1
            continue
        seen.add(event["identifier"])
        fates["counted"] += 1
        key = TotalKey(meters[event["event_name"]], CUSTOMERS.index(customer))
        match key.meter:
            case Meter.SUM:
                totals[key] += Decimal(event["payload"]["value"])
            case Meter.COUNT:
                totals[key] += 1
            case Meter.LAST:
                time = datetime.fromisoformat(event["timestamp"])
                if key not in latest or time >= latest[key]:
                    latest[key], totals[key] = time, Decimal(event["payload"]["value"])
    return totals, fates


@pytest.mark.parametrize("requests", [0, 1, 17, 50])
def test_expected_totals_and_fates_are_those_of_any_prefix_of_the_requests(requests: int) -> None:
    workload = Workload(SHAPE, CUSTOMERS, NOW_MS)
    totals, fates = oracle(events_of(workload, requests))
    expected = workload.fates(requests)
    assert workload.expected_totals(requests) == totals
    assert (expected.counted, expected.duplicate, expected.rejected) == (
        fates["counted"],
        fates["duplicate"],
        fates["rejected"],
    )


def test_totals_do_not_depend_on_the_order_in_which_racing_requests_arrive() -> None:
    workload = Workload(SHAPE, CUSTOMERS, NOW_MS)
    events = events_of(workload, workload.requests)
    assert oracle(events[::-1])[0] == workload.expected_totals(workload.requests)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() -> None:
    first, again, other = (
        list(Workload(Shape(events=300, seed=seed), CUSTOMERS, NOW_MS).bodies()) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_requests_are_full_and_events_are_rounded_up_to_them() -> None:
    bodies = list(Workload(Shape(events=250), CUSTOMERS, NOW_MS).bodies())
    assert [len(json.loads(body)["events"]) for body in bodies] == [100, 100, 100]


def test_identifiers_are_version_4_uuids_that_only_duplicates_share() -> None:
    workload = Workload(SHAPE, CUSTOMERS, NOW_MS)
    identifiers = [event["identifier"] for event in events_of(workload, workload.requests)]
    assert {str(uuid.UUID(identifier)) for identifier in identifiers} == set(identifiers)
    assert {uuid.UUID(identifier).version for identifier in identifiers} == {4}
    assert len(identifiers) - len(set(identifiers)) == workload.fates(workload.requests).duplicate


def test_a_duplicate_repeats_an_earlier_event_word_for_word() -> None:
    workload = Workload(SHAPE, CUSTOMERS, NOW_MS)
    first: dict[str, dict[str, Any]] = {}
    for event in events_of(workload, workload.requests):
        assert first.setdefault(event["identifier"], event) == event


def test_shares_come_out_as_asked() -> None:
    workload = Workload(Shape(events=100_000), CUSTOMERS, NOW_MS)
    fates = workload.fates(workload.requests)
    assert fates.duplicate == pytest.approx(1_000, rel=0.15)
    assert fates.rejected == pytest.approx(100, rel=0.4)
    ages_ms = [
        NOW_MS - int(datetime.fromisoformat(event["timestamp"]).timestamp() * 1000)
        for event in events_of(workload, workload.requests)
    ]
    assert sum(age_ms >= 3_600_000 for age_ms in ages_ms) == pytest.approx(5_000, rel=0.1)
    assert all(60_000 <= age_ms <= 86_400_000 for age_ms in ages_ms)


def test_every_event_lies_in_the_range_whose_summaries_are_read() -> None:
    workload = Workload(SHAPE, CUSTOMERS, NOW_MS)
    start, end = workload.range_seconds()
    assert start % 60 == end % 60 == 0
    times = [datetime.fromisoformat(event["timestamp"]) for event in events_of(workload, workload.requests)]
    assert all(start <= time.timestamp() < end for time in times)


def test_the_customer_that_nobody_created_is_not_among_the_customers() -> None:
    assert UNKNOWN_CUSTOMER not in CUSTOMERS


def test_few_customers_send_much_and_every_customer_is_possible() -> None:
    workload = Workload(Shape(events=100_000), CUSTOMERS, NOW_MS)
    counts = [workload.expected_totals(workload.requests)[TotalKey(Meter.COUNT, index)] for index in range(50)]
    assert counts[0] > 3 * counts[-1] > 0
