"""/metrics: Prometheus can read it, and its numbers are those of what happened."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import Client, Server


def samples(server: Server) -> dict[str, float]:
    """Without a credential: nothing in it is about any account."""
    answer = httpx.get(f"{server.url}/metrics", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation and family.type in ("counter", "gauge")
        for sample in family.samples:
            assert sample.name.startswith("streamgauge_") and sample.labels == {}
            found[sample.name] = sample.value
    return found


def test_numbers_move_with_what_is_accepted_applied_and_counted(server: Server) -> None:
    before = samples(server)
    with Client(server.url) as client:
        client.meter("measured")
        customer, token = client.customer(name="A"), client.session()
        payload = {"stripe_customer_id": customer, "value": "1"}
        events = [
            {"event_name": "measured", "identifier": f"measured {number % 70}", "payload": payload}
            for number in range(100)
        ]
        client.stream(token, events)
        client.wait_until_applied()
    after = samples(server)
    moved = {name: after[name] - before[name] for name in after}
    assert moved["streamgauge_accepted_events_total"] == moved["streamgauge_applied_events_total"] == 100
    assert moved["streamgauge_dedup_filter_identifiers"] == 70
    assert after["streamgauge_dedup_filter_bytes"] > 0
    assert after["streamgauge_backlog_events"] == after["streamgauge_apply_failed"] == 0
    assert after["streamgauge_apply_lag_seconds"] == 0
