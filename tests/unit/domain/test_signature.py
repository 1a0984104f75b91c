"""Signatures: what the official client makes of them decides, not a second reading of the same rules."""

import json
import time

import pytest
import stripe

from streamgauge.domain.signature import signature_header

SECRET = "whsec_of_now"
OLD_SECRET = "whsec_of_before"
SNAPSHOT = {"id": "evt_1", "object": "event", "type": "billing.meter.created", "created": 1, "livemode": False}
THIN = {
    "id": "evt_2",
    "object": "v2.core.event",
    "type": "v1.billing.meter.error_report_triggered",
    "created": "2024-06-01T00:00:00.000Z",
    "livemode": False,
    "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
}


def encoded(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def now_s() -> int:
    """Asked by each test: the official client refuses what is five minutes old, and a whole run takes longer."""
    return int(time.time())


def snapshot_read(body: bytes, header: str, secret: str) -> stripe.Event:
    event: stripe.Event = stripe.Webhook.construct_event(body, header, secret)
    return event


def test_the_official_client_reads_a_signed_snapshot() -> None:
    body = encoded(SNAPSHOT | {"data": {"object": {"display_name": "Rechenzeit für Zoë – €"}}})
    event = snapshot_read(body, signature_header(body, [SECRET], now_s()), SECRET)
    assert (event.id, event.type) == ("evt_1", "billing.meter.created")


def test_the_official_client_reads_a_signed_thin_notification() -> None:
    body = encoded(THIN)
    client = stripe.StripeClient("sk_test_0123456789abcdef")
    notification = client.parse_event_notification(body, signature_header(body, [SECRET], now_s()), SECRET)
    assert (notification.id, notification.type) == ("evt_2", "v1.billing.meter.error_report_triggered")


@pytest.mark.parametrize("known", [SECRET, OLD_SECRET])
def test_while_a_secret_is_replaced_a_receiver_may_know_the_new_or_the_old_one(known: str) -> None:
    body = encoded(SNAPSHOT)
    assert snapshot_read(body, signature_header(body, [SECRET, OLD_SECRET], now_s()), known).id == "evt_1"


@pytest.mark.parametrize(
    ("body", "age_s", "known"),
    [
        (encoded(SNAPSHOT), 0, "whsec_of_another"),
        (encoded(SNAPSHOT) + b" ", 0, SECRET),
        (encoded(SNAPSHOT), 301, SECRET),
    ],
    ids=["another secret", "another body", "more than 5 minutes old"],
)
def test_the_official_client_refuses(body: bytes, age_s: int, known: str) -> None:
    header = signature_header(encoded(SNAPSHOT), [SECRET], now_s() - age_s)
    with pytest.raises(stripe.SignatureVerificationError):
        snapshot_read(body, header, known)


def test_a_header_has_the_time_and_a_signature_for_each_secret() -> None:
    time_part, *signatures = signature_header(b"{}", [SECRET, OLD_SECRET], 1_700_000_000).split(",")
    assert time_part == "t=1700000000"
    assert [each.partition("=")[0] for each in signatures] == ["v1", "v1"]
    assert len(set(signatures)) == 2


def test_nothing_is_signed_without_a_secret() -> None:
    with pytest.raises(ValueError):
        signature_header(b"{}", [], now_s())
