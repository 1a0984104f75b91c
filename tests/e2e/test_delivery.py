"""Delivery, from a change of a meter to a receiver that verifies what it got with the official client."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from tests.clients.programs import BUILDS, NOT_ON_THIS_MACHINE, PREPARE_SECONDS_MAX, prepared
from tests.support.receiver import Receiver
from tests.support.server import SECRET_KEY, Client, Server

WAIT_SECONDS = 60.0
NODE_CLIENT = BUILDS / "node" / "node_modules" / "stripe"
NODE_PROGRAM = """
import Stripe from "stripe";
const given = JSON.parse(process.argv[1]);
const stripe = new Stripe(given.key, { host: "127.0.0.1", port: given.port, protocol: "http" });
let refused = false;
try {
  stripe.webhooks.constructEvent(given.snapshot[0] + " ", given.snapshot[1], given.snapshot[2]);
} catch (error) {
  refused = error instanceof Stripe.errors.StripeSignatureVerificationError;
}
const snapshot = stripe.webhooks.constructEvent(...given.snapshot);
const thin = stripe.parseEventNotification(...given.thin);
const event = await thin.fetchEvent();
const related = await thin.fetchRelatedObject();
console.log(JSON.stringify({
  refused,
  snapshot: [snapshot.id, snapshot.type, snapshot.data.object.id],
  thin: [thin.id, thin.type],
  fetched: event.id,
  related: related.id,
}));
"""


def endpoint(client: Client, url: str, *types: str) -> dict[str, Any]:
    """A webhook endpoint of version 1, for snapshots."""
    listens_to = {f"enabled_events[{number}]": each for number, each in enumerate(types or ("*",))}
    return dict(client.post("/v1/webhook_endpoints", 200, url=url, **listens_to))


def destination(client: Client, url: str) -> dict[str, Any]:
    """An event destination of version 2, for thin events."""
    given = {
        "name": "thin",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["*"],
        "webhook_endpoint": {"url": url},
        "include": ["webhook_endpoint.signing_secret"],
    }
    headers = {"Authorization": f"Bearer {SECRET_KEY}", "Stripe-Version": "2026-09-30.endive"}
    answer = client.http.post("/v2/core/event_destinations", json=given, headers=headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def deliveries(client: Client, **filters: object) -> list[dict[str, Any]]:
    return list(client.get("/streamgauge/deliveries", 200, limit=100, **filters)["data"])


def until(client: Client, holds: Callable[[list[dict[str, Any]]], bool], **filters: object) -> list[dict[str, Any]]:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds(found := deliveries(client, **filters)):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def all_delivered(found: list[dict[str, Any]]) -> bool:
    return bool(found) and all(each["outcome"] == "delivered" for each in found)


def test_what_a_receiver_gets_is_verified_and_read_by_the_official_client(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", webhook_allow_private=True) as server,
        Client(server.url) as client,
        Receiver() as snapshots,
        Receiver() as thins,
    ):
        secret = endpoint(client, snapshots.url)["secret"]
        thin_secret = destination(client, thins.url)["webhook_endpoint"]["signing_secret"]
        meter = client.meter("delivered")

        (posted,) = snapshots.wait_for(1)
        event = stripe.Webhook.construct_event(posted.body, posted.signature, secret)
        assert (event.type, event.data.object["id"]) == ("billing.meter.created", meter)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(posted.body, posted.signature, thin_secret)

        (thin,) = thins.wait_for(1)
        reader = stripe.StripeClient(SECRET_KEY, base_addresses={"api": server.url})
        notification = reader.parse_event_notification(thin.body, thin.signature, thin_secret)
        assert notification.type == "v1.billing.meter.created"
        assert "data" not in thin.event
        assert notification.fetch_event().id == notification.id

        found = until(client, all_delivered)
        assert {each["event"] for each in found} == {event.id, notification.id}
        for each in found:
            (attempt,) = each["attempts"]
            assert (attempt["status"], attempt["error"], each["next_attempt_at"]) == (200, None, None)


@pytest.mark.timeout(PREPARE_SECONDS_MAX + 300)
def test_what_a_receiver_gets_is_verified_and_read_by_the_official_node_client(tmp_path: Path) -> None:
    found = prepared("node")
    if found.code == NOT_ON_THIS_MACHINE:
        assert not (os.environ.get("CI") and shutil.which("node") and shutil.which("npm")), "this must run here"
        pytest.skip(found.out.strip())
    assert found.code == 0, found
    with (
        Server(tmp_path / "data", webhook_allow_private=True) as server,
        Client(server.url) as client,
        Receiver() as snapshots,
        Receiver() as thins,
    ):
        secret = endpoint(client, snapshots.url)["secret"]
        thin_secret = destination(client, thins.url)["webhook_endpoint"]["signing_secret"]
        meter = client.meter("delivered")
        (snapshot,), (thin,) = snapshots.wait_for(1), thins.wait_for(1)
        given = {
            "key": SECRET_KEY,
            "port": httpx.URL(server.url).port,
            "snapshot": [snapshot.body.decode(), snapshot.signature, secret],
            "thin": [thin.body.decode(), thin.signature, thin_secret],
        }
        command = ["node", "--input-type=module", "-e", NODE_PROGRAM, json.dumps(given)]
        # From its folder, so that it finds the client.
        printed = subprocess.run(command, cwd=NODE_CLIENT, capture_output=True, text=True, timeout=60, check=False)
        assert printed.returncode == 0, printed.stderr
        assert json.loads(printed.stdout) == {
            "refused": True,
            "snapshot": [snapshot.event["id"], "billing.meter.created", meter],
            "thin": [thin.event["id"], "v1.billing.meter.created"],
            "fetched": thin.event["id"],
            "related": meter,
        }


def test_what_was_answered_500_comes_again_with_the_same_id(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", webhook_allow_private=True, webhook_retry_seconds=1) as server,
        Client(server.url) as client,
        Receiver(500, 200) as receiver,
    ):
        secret = endpoint(client, receiver.url)["secret"]
        client.meter("retried")
        first, second = receiver.wait_for(2)
        assert first.body == second.body
        for each in (first, second):
            stripe.Webhook.construct_event(each.body, each.signature, secret)
        (delivery,) = until(client, all_delivered)
        assert [each["status"] for each in delivery["attempts"]] == [500, 200]


def test_dead_endpoints_delay_no_other(tmp_path: Path) -> None:
    meters = 20
    with (
        Server(tmp_path / "data", webhook_allow_private=True) as server,
        Client(server.url) as client,
        Receiver(0) as hanging,
        Receiver() as alive,
    ):
        endpoint(client, hanging.url)
        endpoint(client, "http://127.0.0.1:1/nobody")
        endpoint(client, alive.url)
        began = time.monotonic()
        for number in range(meters):
            client.meter(f"meter_{number}")
        alive.wait_for(meters)
        # Less than one time limit of one post to the endpoint that hangs.
        assert time.monotonic() - began < 15
        assert len({each.event["id"] for each in alive.posted}) == meters
        assert len(hanging.posted) <= 2


def test_what_was_not_delivered_when_the_server_was_killed_is_delivered_after_its_start(tmp_path: Path) -> None:
    """The receiver takes the post and does not answer; the server dies meanwhile, so it cannot know what came of it."""
    settings = {"webhook_allow_private": True, "webhook_retry_seconds": 1}
    server = Server(tmp_path / "data", **settings)
    with Receiver(0) as receiver:
        with server, Client(server.url) as client:
            secret = endpoint(client, receiver.url)["secret"]
            client.meter("killed")
            receiver.wait_for(1)
            server.kill()
        receiver.answers = [200]
        with server, Client(server.url) as client:
            receiver.wait_for(2)
            until(client, all_delivered)
        ids = {
            stripe.Webhook.construct_event(each.body, each.signature, secret, tolerance=600).id
            for each in receiver.posted
        }
        assert len(ids) == 1


def test_a_private_address_is_refused_by_default_and_the_attempt_says_so(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server, Client(server.url) as client, Receiver() as receiver:
        endpoint(client, receiver.url)
        client.meter("refused")
        (delivery,) = until(client, lambda found: bool(found and found[0]["attempts"]))
        assert receiver.posted == []
        assert delivery["outcome"] == "pending"
        assert delivery["attempts"][0]["error"].startswith("address_refused: 127.0.0.1")
        assert delivery["next_attempt_at"] is not None


def test_a_delivery_is_made_once_more_when_somebody_asks(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", webhook_allow_private=True) as server,
        Client(server.url) as client,
        Receiver() as receiver,
    ):
        made = endpoint(client, receiver.url)
        client.meter("again")
        (delivery,) = until(client, all_delivered)
        again = client.post(f"/streamgauge/deliveries/{delivery['id']}/resend")
        assert again["outcome"] == "pending"
        first, second = receiver.wait_for(2)
        assert first.body == second.body
        until(client, lambda found: all_delivered(found) and len(found[0]["attempts"]) == 2)
        client.post("/streamgauge/deliveries/dlv_unknown/resend", 404)
        client.delete(f"/v1/webhook_endpoints/{made['id']}")
        refused = client.post(f"/streamgauge/deliveries/{delivery['id']}/resend", 400)
        assert "was deleted" in refused["error"]["message"]


def test_after_a_roll_of_its_secret_a_receiver_may_know_the_new_or_the_old_one(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "data", webhook_allow_private=True) as server,
        Client(server.url) as client,
        Receiver() as receiver,
    ):
        made = endpoint(client, receiver.url)
        path = f"/streamgauge/event_destinations/{made['id']}/roll_secret"
        rolled = client.post(path, 200, expires_in=3_600)
        client.meter("rolled")
        (posted,) = receiver.wait_for(1)
        new = next(value for value in _texts(rolled) if value.startswith("whsec_"))
        for secret in (new, made["secret"]):
            assert stripe.Webhook.construct_event(posted.body, posted.signature, secret).type == "billing.meter.created"


def _texts(answer: Any) -> list[str]:
    if isinstance(answer, dict):
        return [text for value in answer.values() for text in _texts(value)]
    return [answer] if isinstance(answer, str) else []
