"""Events, destinations and webhook endpoints of a real server, as the official Python client sees them."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import stripe
from stripe.events import V1BillingMeterUpdatedEvent

from tests.support.server import SECRET_KEY, Server

NOBODY = "http://127.0.0.1:9/hook"


def client_of(server: Server) -> stripe.StripeClient:
    return stripe.StripeClient(SECRET_KEY, base_addresses={"api": server.url, "meter_events": server.url})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stripe.StripeClient]:
    with Server(tmp_path_factory.mktemp("notifications") / "data") as server:
        yield client_of(server)


@pytest.fixture(scope="module")
def meter(client: stripe.StripeClient) -> str:
    """A meter that was created, renamed, deactivated and reactivated."""
    meter_id = client.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    ).id
    client.v1.billing.meters.update(meter_id, {"display_name": "Requests"})
    client.v1.billing.meters.deactivate(meter_id)
    client.v1.billing.meters.reactivate(meter_id)
    return meter_id


def test_snapshot_events_are_listed_page_by_page_and_found(client: stripe.StripeClient, meter: str) -> None:
    events = list(client.v1.events.list({"limit": 1, "type": "billing.meter.*"}).auto_paging_iter())
    assert [each.type.rpartition(".")[2] for each in events] == ["reactivated", "deactivated", "updated", "created"]
    updated = client.v1.events.retrieve(events[2].id)
    assert updated.data.object["display_name"] == "Requests"
    assert updated.data.previous_attributes is not None
    assert updated.data.previous_attributes["display_name"] == "Calls"
    assert updated.request is not None and updated.request.id is not None
    assert updated.request.idempotency_key is None
    assert client.v1.events.list({"created": {"lt": events[3].created}}).data == []


def test_thin_events_are_listed_page_by_page_and_lead_to_their_object(client: stripe.StripeClient, meter: str) -> None:
    events = list(client.v2.core.events.list({"limit": 1, "object_id": meter}).auto_paging_iter())
    assert len(events) == 4
    wanted = client.v2.core.events.list(
        {"types": ["v1.billing.meter.updated"], "created": {"gte": "2026-01-01T00:00:00Z"}}
    )
    updated = client.v2.core.events.retrieve(wanted.data[0].id)
    assert isinstance(updated, V1BillingMeterUpdatedEvent)
    assert updated.fetch_related_object().id == meter
    assert updated.snapshot_event is not None
    assert client.v1.events.retrieve(updated.snapshot_event).type == "billing.meter.updated"


def test_an_event_destination_lives_from_its_creation_to_its_deletion(client: stripe.StripeClient) -> None:
    destinations = client.v2.core.event_destinations
    made = destinations.create(
        {
            "name": "Ours",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": ["v1.billing.meter.error_report_triggered"],
            "webhook_endpoint": {"url": NOBODY},
            "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
        }
    )
    assert made.webhook_endpoint is not None and made.webhook_endpoint.signing_secret is not None
    assert (made.webhook_endpoint.url, made.status) == (NOBODY, "enabled")
    assert destinations.update(made.id, {"name": "Theirs", "metadata": {"team": "billing"}}).name == "Theirs"
    assert destinations.disable(made.id).status == "disabled"
    assert destinations.enable(made.id).status == "enabled"
    assert destinations.ping(made.id).type == "v2.core.event_destination.ping"
    assert made.id in [each.id for each in destinations.list({"limit": 1}).auto_paging_iter()]
    assert destinations.delete(made.id).id == made.id
    with pytest.raises(stripe.InvalidRequestError) as refused:
        destinations.retrieve(made.id)
    assert refused.value.http_status == 404


def test_a_webhook_endpoint_lives_from_its_creation_to_its_deletion(client: stripe.StripeClient) -> None:
    endpoints = client.v1.webhook_endpoints
    made = endpoints.create({"url": NOBODY, "enabled_events": ["billing.meter.created"], "metadata": {"a": "b"}})
    assert made.secret is not None and made.secret.startswith("whsec_")
    assert endpoints.update(made.id, {"disabled": True}).status == "disabled"
    assert endpoints.retrieve(made.id).status == "disabled"
    assert made.id in [each.id for each in endpoints.list().data]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        endpoints.create({"url": "ftp://example.com", "enabled_events": ["*"]})
    assert (refused.value.code, refused.value.param) == ("url_invalid", "url")
    assert endpoints.delete(made.id).deleted is True


def test_a_kill_loses_neither_events_nor_deliveries_and_secrets_stay(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    client = client_of(server)
    options: stripe.RequestOptions = {"idempotency_key": "mine"}
    made = client.v1.webhook_endpoints.create({"url": NOBODY, "enabled_events": ["*"]}, options)
    client.v1.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    )
    server.kill()
    assert not any(made.secret.encode() in path.read_bytes() for path in files_of(tmp_path / "data") if made.secret)
    with Server(tmp_path / "data") as again:
        client = client_of(again)
        (event,) = client.v1.events.list().data
        assert (event.type, event.pending_webhooks) == ("billing.meter.created", 1)
        repeated = client.v1.webhook_endpoints.create({"url": NOBODY, "enabled_events": ["*"]}, options)
        assert (repeated.id, repeated.secret) == (made.id, made.secret)


def test_a_backup_brings_the_secrets_along_and_a_folder_that_lost_its_root_is_not_served(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        options: stripe.RequestOptions = {"idempotency_key": "mine"}
        made = client_of(server).v1.webhook_endpoints.create({"url": NOBODY, "enabled_events": ["*"]}, options)
        run("backup", tmp_path / "backup", "--data-dir", tmp_path / "data")
    run("restore", tmp_path / "backup", "--data-dir", tmp_path / "restored")
    with Server(tmp_path / "restored") as restored:
        again = client_of(restored).v1.webhook_endpoints.create({"url": NOBODY, "enabled_events": ["*"]}, options)
        assert again.secret == made.secret
    (tmp_path / "restored" / "signing.key").unlink()
    with pytest.raises(AssertionError, match="restore it from a backup"):
        Server(tmp_path / "restored").start()
    shutil.rmtree(tmp_path / "restored")


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def run(*arguments: object) -> None:
    command = [sys.executable, "-m", "streamgauge", *(str(each) for each in arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
