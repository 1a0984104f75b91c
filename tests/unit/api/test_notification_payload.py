"""What a delivery carries, as the official client verifies and reads it."""

import json
from dataclasses import replace

import stripe
from stripe.events import V1BillingMeterErrorReportTriggeredEventNotification

from streamgauge.api.notification_payload import payload
from streamgauge.domain.notification import ERROR_REPORT_TRIGGERED, METER_UPDATED, NO_METER_FOUND, Style
from streamgauge.domain.signature import signature_header
from tests.support.notified import destination, notification
from tests.unit.api.contract import faults_of_schema

NOW_MS = 1_717_243_200_123
FOR_EVER = 10**12  # seconds that a signature may be old
SECRET = "whsec_" + "a" * 64


def signed(body: bytes) -> str:
    return signature_header(body, [SECRET], NOW_MS // 1_000)


def test_a_thin_event_is_without_data_and_read_by_the_official_client() -> None:
    told = notification(1, of_type=ERROR_REPORT_TRIGGERED, created_ms=NOW_MS)
    body = payload(told, destination(style=Style.THIN))
    assert faults_of_schema({**json.loads(body), "context": ""}, "v2.core.event") == []
    assert "data" not in json.loads(body)
    client = stripe.StripeClient("sk_test_0123456789")
    read = client.parse_event_notification(body, signed(body), SECRET, tolerance=FOR_EVER)
    assert isinstance(read, V1BillingMeterErrorReportTriggeredEventNotification)
    assert (read.id, read.type, read.created) == ("evt_1", ERROR_REPORT_TRIGGERED, "2024-06-01T12:00:00.123Z")
    assert read.related_object.id == "mtr_1"


def test_a_thin_event_without_an_object_has_no_related_object() -> None:
    told = replace(notification(1, of_type=NO_METER_FOUND), related=None)
    assert "related_object" not in json.loads(payload(told, destination(style=Style.THIN)))


def test_a_snapshot_event_is_whole_and_read_by_the_official_client() -> None:
    told = replace(
        notification(1, of_type=METER_UPDATED, created_ms=NOW_MS), previous_attributes={"display_name": "Zoe"}
    )
    body = payload(told, destination())
    assert faults_of_schema(json.loads(body), "event") == []
    read = stripe.Webhook.construct_event(body, signed(body), SECRET, tolerance=FOR_EVER)
    assert (read.id, read.type, read.created) == ("evt_1", METER_UPDATED, NOW_MS // 1_000)
    assert read.data.object["display_name"] == "Zoë"
    assert read.data.to_dict()["previous_attributes"] == {"display_name": "Zoe"}


def test_a_snapshot_event_names_the_version_that_its_destination_asked_for() -> None:
    told = notification(1)
    assert json.loads(payload(told, destination()))["api_version"] == "2026-09-30.endive"
    asked = replace(destination(), api_version="2025-03-31.basil")
    assert json.loads(payload(told, asked))["api_version"] == "2025-03-31.basil"


def test_every_attempt_carries_the_same_body() -> None:
    told = notification(1)
    assert payload(told, destination()) == payload(told, destination())
