"""No one in: every kind of credential on every kind of call of a real server, in one table.

A row of `CREDENTIALS` is what a request carries, a row of `CALLS` what it asks for; `expected` is the rule that says
what comes out. Rows that are about parsing alone are in tests/unit/api/test_credentials.py.
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import httpx
import pytest

from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.bootstrap.keys import open_keys
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.credential import MeterEventSession, SecretKey, hash_secret
from streamgauge.domain.permission import Access, Resource
from tests.support.raw_http import ask, request
from tests.support.server import SECRET_KEY, Client, Server

API, STREAM, OPEN = "api", "stream", "open"
OTHER_ACCOUNT_KEY = "sk_test_of_another_account_0123456789"
LONG = "sk_test_" + "x" * 40_000
EVENT = {"event_name": "tokens", "payload": {"stripe_customer_id": "cus_1", "value": "1"}}

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
# name, method, path, content type, body, kind of the call
CALLS: list[tuple[str, str, str, str, bytes | None, str]] = [
    ("v1 get", "GET", "/v1/customers", "", None, API),
    ("v1 post", "POST", "/v1/customers", FORM, b"name=Eve", API),
    ("v2 post", "POST", "/v2/billing/meter_event_session", JSON, b"{}", API),
    ("stream", "POST", "/v2/billing/meter_event_stream", JSON, json.dumps({"events": [EVENT]}).encode(), STREAM),
    ("status", "GET", "/streamgauge/status", "", None, API),
    ("receipt", "GET", "/streamgauge/meter_events/nothing", "", None, API),
    ("metrics", "GET", "/metrics", "", None, OPEN),
    ("docs", "GET", "/docs", "", None, OPEN),
]


@dataclass(frozen=True)
class World:
    """A running server, and one credential of each kind. `secrets` are those that no answer may hold."""

    server: Server
    credentials: Mapping[str, bytes | None]
    secrets: tuple[str, ...]
    account_id: str
    other_account_id: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("security") / "data"
    with Server(folder) as server:
        with open_keys(DataFolder(folder)) as (keys, account):
            tenant = Tenant(account.id, livemode=False)
            _, live = keys.create(Tenant(account.id, livemode=True))
            _, restricted = keys.create(tenant, {Resource.METERS: Access.READ})
            revoked_key, revoked = keys.create(tenant)
            with Client(server.url) as client, Client(server.url, revoked) as soon_revoked:
                token, orphan = client.session(), soon_revoked.session()
            keys.revoke(revoked_key.id)
        with closing(RelationalControlStore(sqlite_url(folder / "control.db"))) as control:
            expired = add_expired_session(control, account)
            other = add_other_account(control)
        time.sleep(2.1)  # for so long a key that was good a moment ago is not asked about again
        secrets = (SECRET_KEY, live, restricted, revoked, token, orphan, expired, OTHER_ACCOUNT_KEY)
        yield World(
            server=server,
            credentials={
                "none": None,
                "empty": b"",
                "scheme alone": b"Bearer",
                "blank": b"Bearer    ",
                "good key without a scheme": SECRET_KEY.encode(),
                "good key under another scheme": b"Token " + SECRET_KEY.encode(),
                "two keys": b"Bearer " + SECRET_KEY.encode() + b" " + SECRET_KEY.encode(),
                "basic with garbage": b"Basic !!!" + SECRET_KEY.encode(),
                "basic of no text": b"Basic " + base64.b64encode(b"\xff\xfe\xfd"),
                "basic with the key as password": b"Basic " + base64.b64encode(f"x:{SECRET_KEY}".encode()),
                "basic of a token": b"Basic " + base64.b64encode(f"{token}:".encode()),
                "unknown key": b"Bearer sk_test_unknown_0123456789abcdef",
                "half a key": b"Bearer " + SECRET_KEY[:-1].encode(),
                "more than a key": b"Bearer " + SECRET_KEY.encode() + b"0",
                "key in capitals": b"Bearer " + SECRET_KEY.upper().encode(),
                "publishable key": b"Bearer pk_test_0123456789abcdef",
                "revoked key": b"Bearer " + revoked.encode(),
                "its hash": b"Bearer " + hash_secret(SECRET_KEY).encode(),
                "not ascii": "Bearer sk_test_Zoë_😀_0123456789".encode(),
                "latin-1": b"Bearer sk_test_\xe9\xff\x80_0123456789",
                "quotes": b"Bearer sk_test_' OR '1'='1' --",
                "very long": b"Bearer " + LONG.encode(),
                "expired token": b"Bearer " + expired.encode(),
                "token of a revoked key": b"Bearer " + orphan.encode(),
                "unknown token": b"Bearer mest_test_" + b"0" * 64,
                "good key": b"Bearer " + SECRET_KEY.encode(),
                "good key as basic": b"Basic " + base64.b64encode(f"{SECRET_KEY}:".encode()),
                "key of live mode": b"Bearer " + live.encode(),
                "key of another account": b"Bearer " + OTHER_ACCOUNT_KEY.encode(),
                "restricted key": b"Bearer " + restricted.encode(),
                "session token": b"Bearer " + token.encode(),
            },
            secrets=secrets,
            account_id=account.id,
            other_account_id=other.id,
        )


def add_expired_session(control: RelationalControlStore, account: Account) -> str:
    token, now_ms = "mest_test_" + "e" * 64, int(time.time() * 1000)
    key = control.find_secret_key(hash_secret(SECRET_KEY))
    assert key is not None
    control.add_session(
        MeterEventSession(
            id="mes_expired",
            tenant=Tenant(account.id, livemode=False),
            key_id=key.id,
            token_hash=hash_secret(token),
            nonce="nonce",
            created_ms=now_ms - 901_000,
            expires_ms=now_ms - 1_000,
        )
    )
    return token


def add_other_account(control: RelationalControlStore) -> Account:
    account = Account(id="acct_other", name="another", created_ms=int(time.time() * 1000))
    control.add_account(account)
    control.add_secret_key(
        SecretKey(
            id="key_other",
            tenant=Tenant(account.id, livemode=False),
            secret_hash=hash_secret(OTHER_ACCOUNT_KEY),
            hint="",
            created_ms=account.created_ms,
        )
    )
    return account


def expected(kind: str, credential: str) -> tuple[int, str | None]:
    """Status and code. `None`: served."""
    if kind == OPEN:
        return 200, None
    if kind == STREAM:
        if credential == "session token":
            return 200, None
        expired = credential == "expired token"
        return 401, "billing_meter_event_session_expired" if expired else "invalid_credentials"
    if credential in ("good key", "good key as basic", "key of live mode", "key of another account"):
        return 200, None
    if credential == "restricted key":
        return 403, "permission_denied"
    return 401, "invalid_credentials"


@pytest.mark.parametrize(
    ("name", "method", "path", "content_type", "body", "kind"), CALLS, ids=[call[0] for call in CALLS]
)
def test_a_call_is_served_to_the_credentials_it_is_for_and_refused_to_all_others(
    world: World, name: str, method: str, path: str, content_type: str, body: bytes | None, kind: str
) -> None:
    for credential, sent in world.credentials.items():
        headers = [(b"Content-Type", content_type.encode())] if content_type else []
        if sent is not None:
            headers.append((b"Authorization", sent))
        answer = ask(world.server.url, request(method.encode(), path.encode(), headers, body))
        status, code = expected(kind, credential)
        if name == "receipt" and status == 200:
            status, code = 404, "resource_missing"
        assert answer.status == status, f"{credential}: {answer.told}"
        if code is not None:
            error = answer.error
            assert error["code"] == code and error["message"], credential
            assert ("type" in error) == (not path.startswith("/v2/") or code.endswith("_expired")), credential
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["request-id"].startswith("req_")
            assert len(answer.body) < 1_000, credential
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"
        for secret in (*world.secrets, LONG[:100], "0123456789", hash_secret(SECRET_KEY)):
            assert secret not in answer.told, credential


def test_what_was_refused_left_nothing(world: World) -> None:
    """After the table above: only the good keys made customers, each in a world of its own."""
    with Client(world.server.url) as client:
        own = client.get("/v1/customers", limit=100)["data"]
        status = client.wait_until_applied()
    with Client(world.server.url, OTHER_ACCOUNT_KEY) as stranger:
        others = stranger.get("/v1/customers", limit=100)["data"]
        assert stranger.get("/streamgauge/status")["accepted_events"] == 0
    assert (len(own), len(others)) == (2, 1)  # as Bearer and as Basic; the other account's own
    assert status["accepted_events"] == 1
    for customer in own:
        with Client(world.server.url, OTHER_ACCOUNT_KEY) as stranger:
            path = f"/v1/customers/{customer['id']}"
            stranger.get(path, expect=404)
            stranger.post(path, expect=404, name="mine")
            stranger.delete(path, expect=404)


def test_an_account_s_objects_are_nobody_else_s(world: World) -> None:
    with Client(world.server.url) as client, Client(world.server.url, OTHER_ACCOUNT_KEY) as stranger:
        meter, customer = client.meter("private"), client.customer(name="Ada")
        token = client.session()
        sent = {"event_name": "private", "identifier": "private-1"}
        client.stream(token, [{**sent, "payload": {"stripe_customer_id": customer, "value": "7"}}])
        client.wait_until_applied()
        assert client.total(meter, customer) == 7
        client.receipt("private-1")
        stranger.receipt("private-1", expect=404)
        stranger.get(f"/v1/billing/meters/{meter}", expect=404)
        stranger.post(f"/v1/billing/meters/{meter}/deactivate", expect=404)
        span = {"customer": customer, "start_time": 0, "end_time": 86_400}
        stranger.get(f"/v1/billing/meters/{meter}/event_summaries", expect=404, **span)
        cancel = {"event_name": "private", "type": "cancel", "cancel[identifier]": "private-1"}
        stranger.post("/v1/billing/meter_event_adjustments", expect=400, **cancel)
        # The stranger has a meter of that name too: its events and its cancellations are its own.
        stranger.meter("private")
        stranger.post("/v1/billing/meter_event_adjustments", expect=400, **cancel)
        named = {"Authorization": f"Bearer {OTHER_ACCOUNT_KEY}", "Stripe-Account": world.account_id}
        refused = stranger.http.get("/v1/customers", headers=named)
        assert refused.status_code == 403 and refused.json()["error"]["code"] == "account_invalid"
        assert client.total(meter, customer) == 7


def test_an_idempotency_key_is_its_account_s_and_mode_s_own(world: World) -> None:
    ids = set()
    for key in (SECRET_KEY, OTHER_ACCOUNT_KEY, world.credentials["key of live mode"]):
        authorization = key.decode() if isinstance(key, bytes) else f"Bearer {key}"
        headers = {"Authorization": authorization, "Idempotency-Key": "the-same-for-all"}
        answer = httpx.post(f"{world.server.url}/v1/customers", data={"name": "x"}, headers=headers, trust_env=False)
        assert answer.status_code == 200 and "idempotent-replayed" not in answer.headers
        ids.add(answer.json()["id"])
    assert len(ids) == 3
