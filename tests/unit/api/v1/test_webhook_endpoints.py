from typing import Any

import pytest

from ..control_edge import SIGNING_ROOT, ControlEdge, document, error_of

URL = "/v1/webhook_endpoints"
GIVEN: dict[str, Any] = {"url": "https://example.com/hook", "enabled_events": ["billing.meter.created"]}


def created(edge: ControlEdge, **given: Any) -> dict[str, Any]:
    return document(edge.post(URL, GIVEN | given))


def test_a_created_endpoint_has_every_documented_member_and_its_secret(edge: ControlEdge) -> None:
    endpoint = created(edge)
    assert endpoint == {
        "id": endpoint["id"],
        "object": "webhook_endpoint",
        "api_version": None,
        "application": None,
        "created": endpoint["created"],
        "description": None,
        "enabled_events": ["billing.meter.created"],
        "livemode": False,
        "metadata": {},
        "secret": endpoint["secret"],
        "status": "enabled",
        "url": "https://example.com/hook",
    }
    assert endpoint["id"].startswith("we_") and endpoint["secret"].startswith("whsec_")


def test_it_takes_everything_that_is_documented(edge: ControlEdge) -> None:
    more = {
        "api_version": "2026-09-30.endive",
        "connect": "false",
        "description": "Ours",
        "enabled_events": ["*"],
        "metadata": {"team": "billing"},
        "expand": ["nothing"],
    }
    endpoint = created(edge, **more)
    assert endpoint["api_version"] == "2026-09-30.endive"
    assert endpoint["description"] == "Ours"
    assert endpoint["enabled_events"] == ["*"]
    assert endpoint["metadata"] == {"team": "billing"}


def test_the_secret_is_shown_once_and_again_only_to_the_repeat_of_its_creation(edge: ControlEdge) -> None:
    first = edge.post(URL, GIVEN, headers={"idempotency-key": "mine"})
    endpoint = document(first)
    edge.post(f"/streamgauge/event_destinations/{endpoint['id']}/roll_secret")
    again = edge.post(URL, GIVEN, headers={"idempotency-key": "mine"})
    assert again.headers["idempotent-replayed"] == "true"
    assert document(again) == endpoint
    assert "secret" not in document(edge.get(f"{URL}/{endpoint['id']}"))
    assert "secret" not in document(edge.get(URL))["data"][0]
    assert "secret" not in document(edge.post(f"{URL}/{endpoint['id']}", {"description": "x"}))


def test_the_secret_is_the_one_that_deliveries_are_signed_with(edge: ControlEdge) -> None:
    endpoint = created(edge)
    (destination,) = edge.stores.destinations.enabled(edge.key.tenant)
    assert list(edge.destinations.signing_secrets(destination)) == [endpoint["secret"]]
    assert SIGNING_ROOT.hex() not in endpoint["secret"]


def test_a_refusal_is_repeated_with_its_key(edge: ControlEdge) -> None:
    for _ in range(2):
        answer = edge.post(URL, GIVEN | {"url": "ftp://example.com"}, headers={"idempotency-key": "mine"})
        assert error_of(answer, 400)["code"] == "url_invalid"


@pytest.mark.parametrize(
    ("given", "param", "said"),
    [
        ({"url": "example.com/hook"}, "url", "https://"),
        ({"url": "ftp://example.com"}, "url", "https://"),
        ({"url": "http:///hook"}, "url", "names no host"),
        ({"url": "http://user:secret@example.com"}, "url", "user name"),
        ({"url": "http://user@example.com"}, "url", "user name"),
        ({"url": "http://example.com:port"}, "url", "cannot be read"),
        ({"url": "http://[::1"}, "url", "cannot be read"),
        ({"url": "http://example.com:0"}, "url", "port"),
        ({"url": "http://exam ple.com"}, "url", "encoded"),
        ({"url": "http://exämple.com"}, "url", "encoded"),
        ({"url": "http://example.com/\r\nx"}, "url", "encoded"),
        ({"url": "http://example.com/" + "a" * 2_048}, "url", "2048"),
        ({"enabled_events": ["invoice.paid"]}, "enabled_events[0]", "billing.meter.created"),
        ({"enabled_events": ["*", "v1.billing.meter.no_meter_found"]}, "enabled_events[1]", "thin event"),
        ({"connect": "true"}, "connect", "connected accounts"),
        ({"metadata": {"k" * 41: "v"}}, f"metadata[{'k' * 41}]", "40"),
        ({"secret": "whsec_mine"}, "secret", "unknown parameter"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(edge: ControlEdge, given: Any, param: str, said: str) -> None:
    error = error_of(edge.post(URL, GIVEN | given), 400)
    assert error["param"] == param
    assert said in error["message"]
    assert document(edge.get(URL))["data"] == []


@pytest.mark.parametrize("missing", ["url", "enabled_events"])
def test_what_is_missing_is_named(edge: ControlEdge, missing: str) -> None:
    given = {name: value for name, value in GIVEN.items() if name != missing}
    error = error_of(edge.post(URL, given), 400)
    assert (error["code"], error["param"]) == ("parameter_missing", missing)


def test_live_mode_sends_to_https_only_and_test_mode_also_to_http(edge: ControlEdge) -> None:
    plain = {"url": "http://127.0.0.1:8000/hook"}
    assert created(edge, **plain)["url"] == "http://127.0.0.1:8000/hook"
    error = error_of(edge.post(URL, GIVEN | plain, secret=edge.live_secret), 400)
    assert (error["code"], error["param"]) == ("url_invalid", "url")
    assert document(edge.post(URL, GIVEN, secret=edge.live_secret))["livemode"] is True


def test_an_endpoint_is_changed_switched_off_and_on(edge: ControlEdge) -> None:
    endpoint_id = created(edge, metadata={"a": "1", "b": "2"}, description="Ours")["id"]

    def changed(**given: Any) -> dict[str, Any]:
        return document(edge.post(f"{URL}/{endpoint_id}", given))

    assert changed()["status"] == "enabled"
    assert changed(disabled="true")["status"] == "disabled"
    assert changed(url="https://example.com/other")["url"] == "https://example.com/other"
    assert changed(enabled_events=["*"])["enabled_events"] == ["*"]
    assert changed(metadata={"a": "", "c": "3"})["metadata"] == {"b": "2", "c": "3"}
    assert changed(metadata="")["metadata"] == {}
    assert changed(description="")["description"] is None
    assert changed(disabled="false")["status"] == "enabled"
    assert error_of(edge.post(f"{URL}/{endpoint_id}", {"url": "gopher://x"}), 400)["param"] == "url"


def test_a_deleted_endpoint_is_gone(edge: ControlEdge) -> None:
    endpoint_id = created(edge)["id"]
    assert document(edge.delete(f"{URL}/{endpoint_id}")) == {
        "id": endpoint_id,
        "object": "webhook_endpoint",
        "deleted": True,
    }
    assert error_of(edge.get(f"{URL}/{endpoint_id}"), 404)["code"] == "resource_missing"
    assert error_of(edge.delete(f"{URL}/{endpoint_id}"), 404)["code"] == "resource_missing"
    assert document(edge.get(URL))["data"] == []


def test_those_of_the_other_mode_are_not_visible(edge: ControlEdge) -> None:
    endpoint_id = created(edge)["id"]
    for answer in (
        edge.get(f"{URL}/{endpoint_id}", secret=edge.live_secret),
        edge.post(f"{URL}/{endpoint_id}", {"disabled": "true"}, secret=edge.live_secret),
        edge.delete(f"{URL}/{endpoint_id}", secret=edge.live_secret),
    ):
        assert error_of(answer, 404)["code"] == "resource_missing"


def test_snapshot_destinations_of_version_2_are_endpoints_too_and_thin_ones_are_not(edge: ControlEdge) -> None:
    ours = created(edge)["id"]
    body = (
        b'{"name": "n", "type": "webhook_endpoint", "event_payload": "%s", "enabled_events": ["*"],'
        b' "webhook_endpoint": {"url": "https://example.com/"}}'
    )
    made = {
        payload: document(edge.send("POST", "/v2/core/event_destinations", content=body % payload))["id"]
        for payload in (b"thin", b"snapshot")
    }
    assert [each["id"] for each in document(edge.get(URL))["data"]] == [made[b"snapshot"], ours]
    error = error_of(edge.get(f"{URL}/{made[b'thin']}"), 404)
    assert f"/v2/core/event_destinations/{made[b'thin']}" in error["message"]


def test_there_can_be_a_hundred_and_no_more(edge: ControlEdge) -> None:
    for _ in range(100):
        created(edge)
    assert "100" in error_of(edge.post(URL, GIVEN), 400)["message"]


def test_a_rolled_secret_signs_beside_the_new_one_until_it_expires(edge: ControlEdge) -> None:
    endpoint = created(edge)
    url = f"/streamgauge/event_destinations/{endpoint['id']}/roll_secret"
    rolled = document(edge.post(url, {"expires_in": "3600"}, headers={"idempotency-key": "once"}))
    assert document(edge.post(url, {"expires_in": "3600"}, headers={"idempotency-key": "once"})) == rolled
    assert rolled["version"] == 2 and rolled["event_destination"] == endpoint["id"]
    (destination,) = edge.stores.destinations.enabled(edge.key.tenant)
    assert list(edge.destinations.signing_secrets(destination)) == [rolled["signing_secret"], endpoint["secret"]]
    edge.telling.at_ms += 3_600_000
    assert list(edge.destinations.signing_secrets(destination)) == [rolled["signing_secret"]]


def test_a_roll_without_a_time_ends_the_old_secret_at_once(edge: ControlEdge) -> None:
    endpoint = created(edge)
    url = f"/streamgauge/event_destinations/{endpoint['id']}/roll_secret"
    assert document(edge.post(url))["previous_expires_at"] is None
    (destination,) = edge.stores.destinations.enabled(edge.key.tenant)
    assert len(edge.destinations.signing_secrets(destination)) == 1
    assert error_of(edge.post(url, {"expires_in": "86401"}), 400)["param"] == "expires_in"
