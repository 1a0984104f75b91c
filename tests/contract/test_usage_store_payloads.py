"""Payloads and identifiers read back as they were sent, however little of them is stored.

All the way from the log, because the columns are made there.
"""

import json
from typing import Any

import pytest

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.meter import Formula
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.usage import claims_of
from tests.support.world import TENANT, Event, World

UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def kept(store: UsageStore) -> tuple[str, str]:
    """Form and text of the only event's payload, as they are stored."""
    if isinstance(store, MemoryUsageStore):
        (row,) = store.rows
        return row["payload_form"], row["payload_text"]
    assert isinstance(store, ClickHouseStore)
    ((form, text),) = store._reader.query(
        f"SELECT payload_form, payload_text FROM {store._database}.events"
    ).result_rows
    return form, text


@pytest.mark.parametrize(
    ("payload", "is_formed"),
    [
        ({"stripe_customer_id": "cus_1", "value": "12.5"}, True),
        ({"value": "12.5", "stripe_customer_id": "cus_1"}, True),
        ({"stripe_customer_id": "cus_1", "value": "-1.001"}, True),
        ({"stripe_customer_id": "cus_1", "value": "100"}, True),
        ({"stripe_customer_id": "é 🪣 %s {x}", "value": "0"}, True),
        ({"stripe_customer_id": "cus_1", "value": "999999999999999"}, True),
        (
            {"stripe_customer_id": "cus_1", "value": "0.00000000000001"},
            True,
        ),  # 15 digits and a point: looked at longer
        ({"stripe_customer_id": "cus_1", "value": "12.50"}, False),  # would come back as 12.5
        ({"stripe_customer_id": "cus_1", "value": "007"}, False),
        ({"stripe_customer_id": "cus_1", "value": "-0"}, False),
        ({"stripe_customer_id": "cus_1", "value": "1", "region": "eu"}, False),
        ({"stripe_customer_id": 'a "quoted" one', "value": "1"}, False),
        ({"stripe_customer_id": "with \x01 and \x02 in it", "value": "1"}, False),
    ],
)
def test_a_payload_that_says_customer_and_value_alone_is_kept_as_a_form_and_reads_back_as_it_was_sent(
    store: UsageStore, payload: dict[str, str], is_formed: bool
) -> None:
    world = World(store=store)
    world.add_meter()
    world.add_customer(customer_id=payload["stripe_customer_id"])
    world.accept(Event("a", payload=payload))
    world.apply()
    assert world.fates("a") == ["counted"]
    form, text = kept(store)
    assert (form != "", text == "") == (is_formed, is_formed)
    (stored,) = store.events_of(TENANT, "a", int(hash_names([(TENANT, "a")])[0]))
    assert list(stored.payload.items()) == list(payload.items())


@pytest.mark.parametrize(
    ("event", "fate"),
    [
        (Event("a", customer="cus_unknown"), "meter_event_customer_not_found"),
        (Event("a", event_name="unknown"), "no_meter"),
        (Event("a", value="x"), "meter_event_invalid_value"),
    ],
)
def test_the_payload_of_an_event_that_did_not_count_is_kept_as_text(store: UsageStore, event: Event, fate: str) -> None:
    world = World(store=store)
    world.add_meter()
    world.add_customer()
    world.accept(event)
    world.apply()
    assert world.fates("a") == [fate]
    form, text = kept(store)
    assert (form, json.loads(text)) == ("", event.sent_payload)


def test_a_count_needs_no_value_and_keeps_one_that_was_sent(store: UsageStore) -> None:
    world = World(store=store)
    world.add_meter(formula=Formula.COUNT)
    world.add_customer()
    sent: list[dict[str, Any]] = [{"stripe_customer_id": "cus_1"}, {"stripe_customer_id": "cus_1", "value": "7"}]
    world.accept(*(Event(f"e{at}", payload=payload) for at, payload in enumerate(sent)))
    world.apply()
    for at, payload in enumerate(sent):
        (stored,) = store.events_of(TENANT, f"e{at}", int(hash_names([(TENANT, f"e{at}")])[0]))
        assert dict(stored.payload) == payload


@pytest.mark.parametrize("identifier", [UUID, UUID.upper(), UUID.replace("-", ""), "a", "\0" * 16, "0" * 16])
def test_an_identifier_reads_back_as_it_was_sent_also_as_a_uuid(store: UsageStore, identifier: str) -> None:
    world = World(store=store)
    world.add_meter()
    world.add_customer()
    world.accept(Event(identifier), Event(identifier), Event("other"))
    world.apply()
    assert world.fates(identifier) == ["counted", "duplicate"]
    (claim,) = claims_of(store, hash_names([(TENANT, identifier)]), since_ms=0, below_offset=9)
    assert claim.identifier == identifier
