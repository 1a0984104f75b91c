"""Rate limits of a real server, met with curl's eyes and with the official client's."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
import stripe

from tests.support.server import SECRET_KEY, Client, Server

EVENTS_PER_SECOND = 2_000
REQUESTS_PER_SECOND = 20


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("limits") / "data"
    with Server(
        folder,
        rate_limit_events_per_second=EVENTS_PER_SECOND,
        rate_limit_requests_per_second=REQUESTS_PER_SECOND,
    ) as server:
        yield server


def patiently(client: Client, method: str, path: str, **more: Any) -> Any:
    """The answer, once the limit lets the request through."""
    while True:
        answer = client.http.request(method, path, headers={"Authorization": f"Bearer {client.key}"}, **more)
        if answer.status_code != 429:
            assert answer.status_code == 200, answer.text
            return answer.json()
        time.sleep(1 / REQUESTS_PER_SECOND)


def token_of(client: Client) -> str:
    return str(patiently(client, "POST", "/v2/billing/meter_event_session")["authentication_token"])


def stream(client: Client, token: str, body: bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return client.http.post("/v2/billing/meter_event_stream", content=body, headers=headers)


def test_the_stream_takes_as_many_events_as_it_may_and_stores_no_other(limited: Server) -> None:
    body = json.dumps(
        {"events": [{"event_name": "nothing", "payload": {"stripe_customer_id": "c", "value": "1"}}] * 100}
    ).encode()
    with Client(limited.url) as client:
        token = token_of(client)
        before = patiently(client, "GET", "/streamgauge/status")
        taken, refused, began = 0, 0, time.monotonic()
        while (seconds := time.monotonic() - began) < 3:
            answer = stream(client, token, body)
            if answer.status_code == 200:
                taken += 100
                continue
            refused += 1
            assert answer.status_code == 429, answer.text
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit", "account_rate_limit_exceeded")
            assert "2,000 events a second" in error["message"]
            assert answer.headers["stripe-rate-limited-reason"] == "endpoint-rate"
            assert answer.headers["retry-after"] == "1"
            assert "stripe-should-retry" not in answer.headers
        assert refused
        assert taken <= EVENTS_PER_SECOND * (seconds + 0.1) + 100
        # A busy machine asks too seldom to use all that it may; that all of it can be used the unit tests show.
        assert taken >= EVENTS_PER_SECOND * seconds * 0.2
        after = patiently(client, "GET", "/streamgauge/status")
        while after["backlog_events"]:
            after = patiently(client, "GET", "/streamgauge/status")
        assert after["accepted_events"] - before["accepted_events"] == taken


def test_other_calls_are_refused_in_the_shape_of_their_version_and_do_nothing(limited: Server) -> None:
    with Client(limited.url) as client:
        headers = {"Authorization": f"Bearer {client.key}", "Idempotency-Key": "limited"}
        name = {"name": "limited"}
        made = 0
        for _ in range(3 * REQUESTS_PER_SECOND):
            answer = client.http.post("/v1/customers", data=name, headers={"Authorization": f"Bearer {client.key}"})
            made += answer.status_code == 200
            if answer.status_code == 429:
                break
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "rate_limit")
        assert answer.headers["stripe-rate-limited-reason"] == "global-rate"
        assert answer.headers["retry-after"] == "1"
        answer = client.http.post("/v2/billing/meter_event_session", headers=headers)
        if answer.status_code == 429:
            error = answer.json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit", "account_rate_limit_exceeded")
        # What was refused is not the answer that an Idempotency-Key keeps.
        while client.http.post("/v2/billing/meter_event_session", headers=headers).status_code == 429:
            time.sleep(1 / REQUESTS_PER_SECOND)
        listed = patiently(client, "GET", "/v1/customers", params={"limit": 100})
        assert len([each for each in listed["data"] if each["name"] == "limited"]) == made


def test_who_has_no_key_and_what_takes_none_are_not_limited(limited: Server) -> None:
    with Client(limited.url) as client:
        for _ in range(2 * REQUESTS_PER_SECOND):
            assert client.http.get("/v1/customers").status_code == 401
            assert client.http.get("/healthz").status_code == 200


def test_the_official_client_raises_its_rate_limit_error(limited: Server) -> None:
    addresses: Any = {"api": limited.url, "meter_events": limited.url}
    sent: Any = {"events": [{"event_name": "nothing", "payload": {"stripe_customer_id": "c", "value": "1"}}] * 100}
    with Client(limited.url) as plain, closing(stripe.RequestsClient()) as http_client:
        token = token_of(plain)
        client = stripe.StripeClient(SECRET_KEY, base_addresses=addresses, http_client=http_client)
        streaming = stripe.StripeClient(token, base_addresses=addresses, http_client=http_client)
        with pytest.raises(stripe.RateLimitError) as refusal:
            for _ in range(100 * REQUESTS_PER_SECOND):
                client.v1.customers.list()
        assert refusal.value.http_status == 429
        assert json.loads(refusal.value.http_body or "")["error"]["code"] == "rate_limit"
        with pytest.raises(stripe.RateLimitError) as refusal:
            for _ in range(100 * EVENTS_PER_SECOND // 100):
                streaming.v2.billing.meter_event_stream.create(sent)
        assert (refusal.value.http_status, refusal.value.code) == (429, "account_rate_limit_exceeded")
