"""The official Python client, pointed at Streamgauge and otherwise as it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from tests.support.program import run
from tests.support.server import SECRET_KEY, Client, Server

Connect = Callable[[str], stripe.StripeClient]
HOUR_S = 3_600


@pytest.fixture(scope="module")
def connect(server: Server) -> Iterator[Connect]:
    """A client for one credential, which is a secret key or a session's token."""
    with closing(stripe.RequestsClient()) as http_client:
        yield lambda credential: client_for(credential, server.url, http_client)


def client_for(credential: str, url: str, http_client: stripe.HTTPClient) -> stripe.StripeClient:
    return stripe.StripeClient(
        credential, base_addresses={"api": url, "meter_events": url}, http_client=http_client, max_network_retries=2
    )


def session_of(client: stripe.StripeClient) -> str:
    return client.v2.billing.meter_event_session.create().authentication_token


def meter_of(client: stripe.StripeClient, event_name: str, formula: Any = "sum") -> str:
    created = client.v1.billing.meters.create(
        {"display_name": event_name, "event_name": event_name, "default_aggregation": {"formula": formula}}
    )
    return created.id


def stream(client: stripe.StripeClient, *events: Any) -> None:
    client.v2.billing.meter_event_stream.create({"events": list(events)})


def event(event_name: str, customer: str, value: str = "1", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"event_name": event_name, "payload": {"stripe_customer_id": customer, "value": value}}
    made.update(more)
    return made


def applied(server: Server, key: str = SECRET_KEY) -> None:
    with Client(server.url, key) as plain:
        plain.wait_until_applied()


def now_hour_s() -> int:
    return int(time.time()) // HOUR_S * HOUR_S


def summaries(
    client: stripe.StripeClient, meter: str, customer: str, **more: Any
) -> list[stripe.billing.MeterEventSummary]:
    start_s = now_hour_s() - 48 * HOUR_S
    params: Any = {"customer": customer, "start_time": start_s, "end_time": start_s + 60 * HOUR_S, **more}
    listed = client.v1.billing.meters.event_summaries.list(meter, params)
    return list(listed.auto_paging_iter())


def test_from_a_session_to_a_summary(server: Server, connect: Connect) -> None:
    client = connect(SECRET_KEY)
    meter = meter_of(client, "tokens")
    customer = client.v1.customers.create({"name": "Ada", "email": "ada@example.com", "metadata": {"plan": "pro"}})
    assert not customer.livemode
    assert customer.metadata is not None and customer.metadata["plan"] == "pro"
    session = client.v2.billing.meter_event_session.create()
    assert session.object == "v2.billing.meter_event_session"
    lifetime = datetime.fromisoformat(session.expires_at) - datetime.fromisoformat(session.created)
    assert lifetime == timedelta(minutes=15)

    moment = datetime.fromtimestamp(now_hour_s(), UTC)
    streaming = connect(session.authentication_token)
    stream(
        streaming,
        event("tokens", customer.id, "0.1", identifier="a", timestamp=moment),
        event("tokens", customer.id, "0.2", identifier="b", timestamp=(moment - timedelta(hours=2)).isoformat()),
    )
    stream(streaming, event("tokens", customer.id, "0.1", identifier="a", timestamp=moment))
    applied(server)

    (whole,) = summaries(client, meter, customer.id)
    assert (str(whole.aggregated_value), whole.meter, whole.livemode) == ("0.3", meter, False)
    by_hour = summaries(client, meter, customer.id, value_grouping_window="hour", limit=1)  # a page for each
    assert [(row.start_time, str(row.aggregated_value)) for row in by_hour] == [
        (now_hour_s(), "0.1"),
        (now_hour_s() - 2 * HOUR_S, "0.2"),
    ]


def test_meters_and_customers_live_their_lives(connect: Connect) -> None:
    client = connect(SECRET_KEY)
    meter = meter_of(client, "life", "count")
    assert client.v1.billing.meters.update(meter, {"display_name": "Renamed"}).display_name == "Renamed"
    assert client.v1.billing.meters.deactivate(meter).status == "inactive"
    assert client.v1.billing.meters.reactivate(meter).status == "active"
    assert client.v1.billing.meters.retrieve(meter).default_aggregation.formula == "count"
    made = {client.v1.customers.create({"name": f"c{number}"}).id for number in range(5)}
    assert made <= {customer.id for customer in client.v1.customers.list({"limit": 2}).auto_paging_iter()}
    gone = made.pop()
    assert client.v1.customers.delete(gone).deleted
    assert gone not in {customer.id for customer in client.v1.customers.list({"limit": 100}).auto_paging_iter()}
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        meter_of(client, "life")


def test_a_refused_batch_is_an_invalid_request_that_names_the_place_and_stores_nothing(
    server: Server, connect: Connect
) -> None:
    client = connect(SECRET_KEY)
    meter, customer = meter_of(client, "refused"), client.v1.customers.create().id
    streaming = connect(session_of(client))
    good = event("refused", customer)
    bad: dict[str, Any] = {**good, "payload": {"stripe_customer_id": customer, "value": 5}}
    with pytest.raises(stripe.InvalidRequestError, match=r"events\[1\]\.payload\.value"):
        stream(streaming, good, bad)
    with pytest.raises(stripe.InvalidRequestError, match="events"):
        stream(streaming, *[good] * 101)
    applied(server)
    assert summaries(client, meter, customer) == []


@pytest.mark.parametrize("credential", [SECRET_KEY, "sk_test_unknown_key", "mest_test_unknown"])
def test_whatever_is_no_token_is_an_authentication_error_on_the_stream(connect: Connect, credential: str) -> None:
    with pytest.raises(stripe.AuthenticationError):
        stream(connect(credential), event("tokens", "cus_1"))


def test_a_token_is_an_authentication_error_elsewhere(connect: Connect) -> None:
    token = session_of(connect(SECRET_KEY))
    with pytest.raises(stripe.AuthenticationError, match="secret key"):
        connect(token).v1.customers.create()


def test_test_and_live_mode_are_two_worlds(server: Server, connect: Connect) -> None:
    made = run("keys", "create", "--live", "--data-dir", str(server.data_dir))
    live_key = made.out.split()[-1]
    assert live_key.startswith("sk_live_")
    clients = {False: connect(SECRET_KEY), True: connect(live_key)}
    meters = {mode: meter_of(client, "both") for mode, client in clients.items()}
    customers = {mode: client.v1.customers.create().id for mode, client in clients.items()}
    for mode, client in clients.items():
        streaming = connect(session_of(client))
        # The same identifier in both modes is two events; the other mode's customer is unknown here.
        stream(streaming, event("both", customers[mode], "10" if mode else "1", identifier="same"))
        stream(streaming, event("both", customers[not mode], "100"))
    applied(server)
    applied(server, live_key)
    for mode, client in clients.items():
        (row,) = summaries(client, meters[mode], customers[mode])
        assert (row.aggregated_value, row.livemode) == (10 if mode else 1, mode)
        assert summaries(client, meters[mode], customers[not mode]) == []
        with pytest.raises(stripe.InvalidRequestError, match="No such"):
            client.v1.billing.meters.retrieve(meters[not mode])
        with pytest.raises(stripe.InvalidRequestError, match="No such"):
            client.v1.customers.retrieve(customers[not mode])


def test_an_expired_session_is_met_as_the_error_made_for_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("expiry") / "data"
    with (
        Server(folder, session_lifetime_seconds=1) as server,
        closing(stripe.RequestsClient()) as http_client,
    ):
        control = client_for(SECRET_KEY, server.url, http_client)
        session = control.v2.billing.meter_event_session.create()
        streaming = client_for(session.authentication_token, server.url, http_client)
        began = time.monotonic()
        with pytest.raises(stripe.TemporarySessionExpiredError):
            while time.monotonic() - began < 10:
                stream(streaming, event("tokens", "cus_1", identifier="same"))
        assert time.monotonic() - began < 3
        # What the error is for: open another session and go on.
        stream(client_for(session_of(control), server.url, http_client), event("tokens", "cus_1"))
