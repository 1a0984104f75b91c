"""Idempotency-Key: a POST that is sent again with its key has one effect and the answer of the first time.

The rules of keeping are tested with the engine; here is what of a request makes it the same one, and what callers see.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.errors import IdempotencyKeyReused, NotFound, Unavailable
from streamgauge.domain.permission import Access, Resource
from streamgauge.domain.request_key import IDEMPOTENCY_KEY_LENGTH_MAX, KEPT_MS
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.control_store import KeptAnswer
from tests.support.control_stores import ADAPTERS, control_store

from .control_edge import LIVE_MODE, TEST_MODE, ControlEdge, document, error_of

METERS = "/v1/billing/meters"
CUSTOMERS = "/v1/customers"
SESSION = "/v2/billing/meter_event_session"
CALLS: dict[str, Any] = {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
FORM = {"content-type": "application/x-www-form-urlencoded"}


def keyed(key: str = "key-1", **more: str) -> dict[str, str]:
    return {"idempotency-key": key, **more}


def listed(edge: ControlEdge, url: str, **options: Any) -> list[dict[str, Any]]:
    data = document(edge.get(url, **options))["data"]
    assert isinstance(data, list)
    return data


def is_replay(response: httpx.Response) -> bool:
    shown = response.headers.get("idempotent-replayed")
    assert shown in (None, "true")
    return shown is not None


def same(first: httpx.Response, again: httpx.Response) -> bool:
    """Whether the second is a replay of the first, which was none."""
    assert (is_replay(first), is_replay(again)) == (False, True)
    assert first.headers["request-id"] != again.headers["request-id"]
    assert again.headers["content-type"] == "application/json" and again.headers["cache-control"] == "no-store"
    return (first.status_code, first.content) == (again.status_code, again.content)


# One effect, one answer


def test_a_meter_is_created_once(edge: ControlEdge) -> None:
    first, again = (edge.post(METERS, CALLS, headers=keyed()) for _ in range(2))
    assert same(first, again)
    assert listed(edge, METERS) == [document(first)]


def test_a_customer_is_created_once(edge: ControlEdge) -> None:
    first, again = (edge.post(CUSTOMERS, {"name": "Ada"}, headers=keyed()) for _ in range(2))
    assert same(first, again)
    assert len(listed(edge, CUSTOMERS)) == 1


def test_an_update_that_is_sent_again_does_not_undo_what_came_between(edge: ControlEdge) -> None:
    url = f"{METERS}/{edge.meter()['id']}"
    first = edge.post(url, {"display_name": "One"}, headers=keyed())
    edge.post(url, {"display_name": "Two"})
    assert same(first, edge.post(url, {"display_name": "One"}, headers=keyed()))
    assert document(edge.get(url))["display_name"] == "Two"


def test_a_deactivation_that_is_sent_again_is_not_refused_as_a_second_one(edge: ControlEdge) -> None:
    url = f"{METERS}/{edge.meter()['id']}"
    first = edge.post(url + "/deactivate", headers=keyed())
    assert document(first)["status"] == "inactive"
    edge.post(url + "/reactivate")
    assert same(first, edge.post(url + "/deactivate", headers=keyed()))
    assert document(edge.get(url))["status"] == "active"


def test_a_request_without_a_key_or_with_an_empty_one_is_performed_each_time(edge: ControlEdge) -> None:
    for headers in ({}, {}, keyed(""), keyed("")):
        assert not is_replay(edge.post(CUSTOMERS, {"name": "Ada"}, headers=headers))
    assert len(listed(edge, CUSTOMERS)) == 4


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_of_requests_at_once_with_one_key_one_is_performed_and_all_get_its_answer(adapter: str, tmp_path: Path) -> None:
    together = threading.Barrier(4)
    with control_store(adapter, tmp_path) as store, ThreadPoolExecutor(4) as threads:
        edge = ControlEdge(store)

        def send(_: int) -> httpx.Response:
            together.wait(10)
            return edge.post(METERS, CALLS, headers=keyed())

        answers = list(threads.map(send, range(4)))
        assert {(each.status_code, each.content) for each in answers} == {(200, answers[0].content)}
        assert sorted(map(is_replay, answers)) == [False, True, True, True]
        assert listed(edge, METERS) == [document(answers[0])]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_changes_with_and_without_a_key_at_once_do_not_wait_for_each_other_for_ever(
    adapter: str, tmp_path: Path
) -> None:
    with control_store(adapter, tmp_path) as store, ThreadPoolExecutor(4) as threads:
        edge = ControlEdge(store)

        def change(number: int) -> None:
            headers = keyed(f"key-{number // 4}-{number % 2}") if number % 4 < 2 else {}
            url = f"{METERS}/{edge.meter(event_name=f'calls {number}')['id']}"
            document(edge.post(url, {"display_name": "Other"}, headers=headers))
            document(edge.post(url + "/deactivate"))

        for done in [threads.submit(change, number) for number in range(16)]:
            done.result(30)
        assert [each["status"] for each in listed(edge, METERS, params={"limit": 100})] == ["inactive"] * 16


# What makes it the same request


@pytest.mark.parametrize(
    ("url", "params"),
    [
        (METERS, CALLS | {"display_name": "calls"}),
        (METERS, CALLS | {"default_aggregation": {"formula": "count"}}),
        (METERS, CALLS | {"event_time_window": "hour"}),
        (CUSTOMERS, {}),
        (CUSTOMERS, {"name": "Calls"}),
    ],
)
def test_a_key_with_other_parameters_or_for_another_call_is_refused_and_does_nothing(
    edge: ControlEdge, url: str, params: dict[str, Any]
) -> None:
    first = edge.post(METERS, CALLS, headers=keyed())
    response = edge.post(url, params, headers=keyed())
    error = error_of(response, 400)
    assert (error["type"], error.get("code")) == ("idempotency_error", None)
    assert "same parameters" in error["message"] and not is_replay(response)
    assert listed(edge, METERS) == [document(first)] and listed(edge, CUSTOMERS) == []
    assert same(first, edge.post(METERS, CALLS, headers=keyed()))


def test_a_key_for_another_object_is_refused(edge: ControlEdge) -> None:
    one, other = (edge.meter(event_name=name)["id"] for name in ("one", "other"))
    document(edge.post(f"{METERS}/{one}/deactivate", headers=keyed()))
    assert error_of(edge.post(f"{METERS}/{other}/deactivate", headers=keyed()), 400)["type"] == "idempotency_error"
    assert document(edge.get(f"{METERS}/{other}"))["status"] == "active"


def test_version_2_refuses_a_reused_key_in_its_shape(edge: ControlEdge) -> None:
    edge.meter_events.fails_with = IdempotencyKeyReused("Use another Idempotency-Key.")
    event = b'{"event_name": "calls", "payload": {}}'
    error = error_of(edge.send("POST", "/v2/billing/meter_events", content=event, headers=keyed()), 400)
    assert (error["code"], error["type"]) == ("idempotency_error", "idempotency_error")


SAME_FORMS = [
    b"name=Ada&email=a%40example.org&metadata[a]=1&metadata[b]=2",
    b"email=a%40example.org&metadata[b]=2&name=Ada&metadata[a]=1",
    b"metadata%5Ba%5D=1&metadata%5Bb%5D=2&email=a@example.org&name=%41da",
]


@pytest.mark.parametrize("form", SAME_FORMS)
def test_the_same_parameters_written_otherwise_are_the_same_request(edge: ControlEdge, form: bytes) -> None:
    first = edge.send("POST", CUSTOMERS, content=SAME_FORMS[0], headers=keyed() | FORM)
    assert same(first, edge.send("POST", CUSTOMERS, content=form, headers=keyed() | FORM))
    in_query = edge.send("POST", f"{CUSTOMERS}?{form.decode()}", headers=keyed())
    assert same(first, in_query)


def test_a_list_in_another_order_is_not_the_same(edge: ControlEdge) -> None:
    document(edge.post(CUSTOMERS, {"preferred_locales": ["de", "en"]}, headers=keyed()))
    again = edge.post(CUSTOMERS, {"preferred_locales": ["en", "de"]}, headers=keyed())
    assert error_of(again, 400)["type"] == "idempotency_error"


def test_the_credential_is_no_part_of_a_request(edge: ControlEdge) -> None:
    """Keys belong to the account and mode: a program that rotates its secret key may still retry."""
    _, other = edge.keys.create(TEST_MODE)
    first = edge.post(CUSTOMERS, {"name": "Ada"}, headers=keyed())
    assert same(first, edge.post(CUSTOMERS, {"name": "Ada"}, headers=keyed(), secret=other))


def test_accounts_and_modes_do_not_share_keys(edge: ControlEdge) -> None:
    edge.store.add_account(Account(id="acct_2", name="", created_ms=1))
    _, of_other_account = edge.keys.create(Tenant("acct_2", False))
    for secret, name in ((edge.secret, "Ada"), (edge.live_secret, "Bob"), (of_other_account, "Eve")):
        response = edge.post(CUSTOMERS, {"name": name}, headers=keyed(), secret=secret)
        assert document(response)["name"] == name and not is_replay(response)
        assert [each["name"] for each in listed(edge, CUSTOMERS, secret=secret)] == [name]


def test_a_day_later_the_key_is_a_new_one(edge: ControlEdge) -> None:
    first = edge.post(CUSTOMERS, {"name": "Ada"}, headers=keyed())
    edge.clock.at_ms += KEPT_MS - 60_000  # a minute for what the requests themselves take of this clock
    assert same(first, edge.post(CUSTOMERS, {"name": "Ada"}, headers=keyed()))
    edge.clock.at_ms += 60_000
    later = edge.post(CUSTOMERS, {"name": "Bob"}, headers=keyed())
    assert document(later)["name"] == "Bob" and not is_replay(later)


def test_keys_are_ignored_where_a_request_can_be_repeated_anyhow(edge: ControlEdge) -> None:
    customer = edge.customer(name="Ada")
    for url in (CUSTOMERS, METERS, CUSTOMERS):
        assert not is_replay(edge.get(url, headers=keyed()))
    gone = edge.delete(f"{CUSTOMERS}/{customer['id']}", headers=keyed())
    assert document(gone)["deleted"] is True and not is_replay(gone)
    assert not is_replay(edge.post(CUSTOMERS, {"name": "Bob"}, headers=keyed()))


# What is kept


def test_version_1_repeats_a_refusal_though_it_would_now_succeed(edge: ControlEdge) -> None:
    meter = document(edge.post(METERS, CALLS))
    first = edge.post(METERS, CALLS, headers=keyed())
    assert error_of(first, 400)["param"] == "event_name"
    document(edge.post(f"{METERS}/{meter['id']}/deactivate"))
    assert same(first, edge.post(METERS, CALLS, headers=keyed()))
    assert [each["id"] for each in listed(edge, METERS)] == [meter["id"]]
    other = edge.post(METERS, CALLS | {"display_name": "x"}, headers=keyed())
    assert error_of(other, 400)["type"] == "idempotency_error"


def test_version_1_repeats_that_there_was_no_such_object(edge: ControlEdge) -> None:
    first = edge.post(METERS + "/mtr_none", {"display_name": "x"}, headers=keyed())
    error_of(first, 404)
    assert same(first, edge.post(METERS + "/mtr_none", {"display_name": "x"}, headers=keyed()))


def test_version_2_performs_a_request_anew_that_was_refused(edge: ControlEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> object:
        raise NotFound("No such thing")

    with monkeypatch.context() as patch:
        patch.setattr(edge.sessions, "open", refused)
        error_of(edge.send("POST", SESSION, headers=keyed()), 404)
    response = edge.send("POST", SESSION, headers=keyed())
    assert document(response) and not is_replay(response)


def test_a_failure_of_ours_is_not_kept(edge: ControlEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> object:
        raise Unavailable("The database is away.")

    with monkeypatch.context() as patch:
        patch.setattr(Meters, "create", away)
        error_of(edge.post(METERS, CALLS, headers=keyed()), 503)
    response = edge.post(METERS, CALLS, headers=keyed())
    assert document(response) and not is_replay(response)


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        ({"content": b"event_name=calls"}, 400),
        ({"content": b"a[=1"}, 400),
        ({"content": b"{}", "headers": keyed() | {"content-type": "application/json"}}, 415),
        ({"secret": ""}, 401),
        ({"headers": keyed() | {"stripe-account": "acct_2"}}, 403),
    ],
)
def test_a_request_that_is_refused_before_it_is_understood_keeps_nothing(
    edge: ControlEdge, broken: dict[str, Any], status: int
) -> None:
    error_of(edge.send("POST", METERS, **({"headers": keyed() | FORM} | broken)), status)
    response = edge.post(METERS, CALLS, headers=keyed())
    assert document(response) and not is_replay(response)


def test_a_permission_is_asked_for_before_an_answer_is_repeated(edge: ControlEdge) -> None:
    document(edge.post(CUSTOMERS, {"name": "Ada"}, headers=keyed()))
    _, reading = edge.keys.create(TEST_MODE, {Resource.CUSTOMERS: Access.READ})
    response = edge.post(CUSTOMERS, {"name": "Ada"}, headers=keyed(), secret=reading)
    assert error_of(response, 403)["code"] == "permission_denied"


@pytest.mark.parametrize("url", [CUSTOMERS, SESSION])
def test_a_key_has_a_greatest_length(edge: ControlEdge, url: str) -> None:
    longest = "k" * IDEMPOTENCY_KEY_LENGTH_MAX
    assert "longer than 255" in error_of(edge.send("POST", url, headers=keyed(longest + "k")), 400)["message"]
    assert listed(edge, CUSTOMERS) == []
    assert same(*(edge.send("POST", url, headers=keyed(longest)) for _ in range(2)))


@pytest.mark.parametrize("key", ["\xff\xfe", "a, b", '"quoted"', "../..", "ключ".encode().decode("latin-1")])
def test_any_bytes_are_a_key(edge: ControlEdge, key: str) -> None:
    headers = {"idempotency-key": key.encode("latin-1")} | {name: each.encode() for name, each in FORM.items()}
    responses = [edge.send("POST", CUSTOMERS, headers=headers) for _ in range(2)]
    assert same(*responses)


# Sessions: the answer holds a secret


@pytest.fixture
def kept(edge: ControlEdge, monkeypatch: pytest.MonkeyPatch) -> list[KeptAnswer]:
    """Every answer that is given to the store."""
    given: list[KeptAnswer] = []
    keep = edge.store.keep_answer

    def seen(answer: KeptAnswer) -> None:
        given.append(answer)
        keep(answer)

    monkeypatch.setattr(edge.store, "keep_answer", seen)
    return given


def test_a_session_that_is_asked_for_again_is_the_same_one_with_the_same_token(edge: ControlEdge) -> None:
    first, again = (edge.send("POST", SESSION, headers=keyed()) for _ in range(2))
    assert same(first, again)
    session = document(again)
    principal, _ = edge.sessions.authenticate(session["authentication_token"])
    assert (principal.session_id, principal.key_id) == (session["id"], edge.key.id)
    assert document(first)["expires_at"] == session["expires_at"]


def test_a_session_of_live_mode_is_repeated_with_its_own_token_too(edge: ControlEdge) -> None:
    first, again = (edge.send("POST", SESSION, headers=keyed(), secret=edge.live_secret) for _ in range(2))
    assert same(first, again)
    assert document(again)["authentication_token"].startswith("mest_live_")


def test_what_is_kept_of_a_session_holds_no_token(edge: ControlEdge, kept: list[KeptAnswer]) -> None:
    session = document(edge.send("POST", SESSION, headers=keyed()))
    (answer,) = kept
    assert edge.store.find_answer(TEST_MODE, answer.digest) == answer
    assert session["id"].encode() in answer.body
    assert session["authentication_token"] not in repr(answer)
    assert b"mest_" not in answer.body and edge.secret not in repr(answer)


def test_no_file_holds_a_token_or_an_idempotency_key(tmp_path: Path) -> None:
    with control_store("sqlite", tmp_path) as store:
        session = document(ControlEdge(store).send("POST", SESSION, headers=keyed("invoice of Ada")))
        found = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert session["id"].encode() in found
    assert session["authentication_token"].encode() not in found
    assert b"invoice of Ada" not in found


def test_another_key_of_the_account_gets_a_session_of_its_own(edge: ControlEdge) -> None:
    key, secret = edge.keys.create(TEST_MODE)
    first = document(edge.send("POST", SESSION, headers=keyed()))
    response = edge.send("POST", SESSION, headers=keyed(), secret=secret)
    other = document(response)
    assert not is_replay(response)
    assert other["id"] != first["id"] and other["authentication_token"] != first["authentication_token"]
    assert edge.sessions.authenticate(other["authentication_token"])[0].key_id == key.id
    # And each goes on to get its own.
    assert document(edge.send("POST", SESSION, headers=keyed())) == first
    assert document(edge.send("POST", SESSION, headers=keyed(), secret=secret)) == other


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_sessions_asked_for_at_once_with_one_key_are_one(adapter: str, tmp_path: Path) -> None:
    with control_store(adapter, tmp_path) as store, ThreadPoolExecutor(4) as threads:
        edge = ControlEdge(store)
        answers = list(threads.map(lambda _: edge.send("POST", SESSION, headers=keyed()), range(4)))
    assert len({each.content for each in answers}) == 1
    assert sorted(map(is_replay, answers)) == [False, True, True, True]


def test_modes_have_sessions_of_their_own_under_one_key(edge: ControlEdge) -> None:
    secrets = (edge.secret, edge.live_secret)
    sessions = [document(edge.send("POST", SESSION, headers=keyed(), secret=each)) for each in secrets]
    assert [each["livemode"] for each in sessions] == [TEST_MODE.livemode, LIVE_MODE.livemode]
