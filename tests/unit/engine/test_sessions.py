"""Meter event sessions: opened by a key, valid for a while, dead with their key."""

import hmac

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal, SecretKey
from streamgauge.domain.errors import NotFound, SessionExpired, Unauthenticated
from streamgauge.engine.sessions import Sessions
from tests.support.control import NOW_MS, CountingEntropy, SettableClock, store_with_accounts

LIFETIME_SECONDS = 900
DAY_MS = 86_400_000
SECRET = "sk_test_theSecretThatOpensTheSession"
TEST = Principal(Tenant("acct_1", False), "key_test")
LIVE = Principal(Tenant("acct_1", True), "key_live")


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store() -> MemoryControlStore:
    made = store_with_accounts("acct_1")
    for each in (TEST, LIVE):
        key = SecretKey(id=each.key_id, tenant=each.tenant, secret_hash=each.key_id, hint="", created_ms=1)
        made.add_secret_key(key)
    return made


@pytest.fixture
def sessions(store: MemoryControlStore, clock: SettableClock) -> Sessions:
    return Sessions(store, clock, CountingEntropy(), lifetime_seconds=LIFETIME_SECONDS)


@pytest.mark.parametrize(("opener", "prefix"), [(TEST, "mest_test_"), (LIVE, "mest_live_")])
def test_a_token_authenticates_as_whoever_opened_the_session(
    sessions: Sessions, opener: Principal, prefix: str
) -> None:
    session, token = sessions.open(opener, SECRET)
    assert token.startswith(prefix) and len(token) == len(prefix) + 64
    assert session.id.startswith("mes_") and len(session.id) == len("mes_") + 24
    assert session.expires_ms == session.created_ms + LIFETIME_SECONDS * 1_000
    assert token not in repr(session)
    principal, expires_ms = sessions.authenticate(token)
    assert principal == Principal(opener.tenant, opener.key_id, session.id)
    assert expires_ms == session.expires_ms


def test_a_session_ends_at_the_very_millisecond_it_names(sessions: Sessions, clock: SettableClock) -> None:
    session, token = sessions.open(TEST, SECRET)
    clock.ms = session.expires_ms - 1
    sessions.authenticate(token)
    clock.ms = session.expires_ms
    with pytest.raises(SessionExpired, match=r"^The temporary session token has expired\.$"):
        sessions.authenticate(token)


def test_a_session_dies_with_its_key_and_no_other_does(
    sessions: Sessions, store: MemoryControlStore, clock: SettableClock
) -> None:
    session, token = sessions.open(TEST, SECRET)
    _, other = sessions.open(LIVE, SECRET)
    store.revoke_secret_key(TEST.key_id, clock.ms)
    with pytest.raises(Unauthenticated, match="revoked"):
        sessions.authenticate(token)
    sessions.authenticate(other)
    # Even when it has expired too: opening another one with that key, as an expired session asks for, would not help.
    clock.ms = session.expires_ms
    with pytest.raises(Unauthenticated):
        sessions.authenticate(token)


@pytest.mark.parametrize("secret", ["sk_test_abcdefghijklmnop", "sk_live_abcdefghijklmnop", "rk_test_abcdefghijklmnop"])
def test_a_key_in_place_of_a_token_is_told_how_to_get_one(sessions: Sessions, secret: str) -> None:
    with pytest.raises(Unauthenticated, match="POST /v2/billing/meter_event_session") as refused:
        sessions.authenticate(secret)
    assert "authentication_token" in refused.value.message and secret not in refused.value.message


@pytest.mark.parametrize("token", ["", "mest_", "mest_test_unknown", "Bearer", "\ud800"])
def test_an_unknown_token_is_refused_without_being_repeated(sessions: Sessions, token: str) -> None:
    sessions.open(TEST, SECRET)
    with pytest.raises(Unauthenticated, match=r"^Unknown session token") as refused:
        sessions.authenticate(token)
    assert len(token) < 6 or token not in refused.value.message


def test_a_session_that_expired_is_remembered_for_a_day_then_forgotten(
    sessions: Sessions, clock: SettableClock
) -> None:
    session, token = sessions.open(TEST, SECRET)
    clock.ms = session.expires_ms + DAY_MS
    sessions.open(TEST, SECRET)
    with pytest.raises(SessionExpired):
        sessions.authenticate(token)
    clock.ms += 60_000
    sessions.open(TEST, SECRET)
    with pytest.raises(Unauthenticated):
        sessions.authenticate(token)


def test_sessions_are_forgotten_at_most_once_a_minute(
    sessions: Sessions, clock: SettableClock, store: MemoryControlStore
) -> None:
    session, token = sessions.open(TEST, SECRET)
    clock.ms = session.expires_ms + DAY_MS - 1
    sessions.open(TEST, SECRET)
    clock.ms += 59_999
    sessions.open(TEST, SECRET)
    with pytest.raises(SessionExpired):
        sessions.authenticate(token)


def test_a_clock_set_back_does_not_put_off_forgetting(sessions: Sessions, clock: SettableClock) -> None:
    session, token = sessions.open(TEST, SECRET)
    clock.ms = NOW_MS + 1_000 * DAY_MS
    later, _ = sessions.open(TEST, SECRET)
    assert later.created_ms > session.expires_ms
    clock.ms = NOW_MS
    _, token = sessions.open(TEST, SECRET)
    clock.ms = NOW_MS + 3 * DAY_MS
    sessions.open(TEST, SECRET)
    with pytest.raises(Unauthenticated):
        sessions.authenticate(token)


def test_a_token_can_be_made_again_only_with_the_secret_that_opened_the_session(sessions: Sessions) -> None:
    session, token = sessions.open(TEST, SECRET)
    other, _ = sessions.open(TEST, SECRET)
    assert sessions.token_again(session.id, SECRET) == token
    assert sessions.token_again(session.id, SECRET + "x") != token
    assert sessions.token_again(other.id, SECRET) != token
    with pytest.raises(NotFound):
        sessions.token_again("mes_unknown", SECRET)


def test_sessions_of_one_secret_have_different_tokens(sessions: Sessions) -> None:
    assert sessions.open(TEST, SECRET)[1] != sessions.open(TEST, SECRET)[1]


def test_a_token_shows_nothing_of_the_secret(sessions: Sessions) -> None:
    _, token = sessions.open(TEST, SECRET)
    assert SECRET not in token and SECRET.removeprefix("sk_test_")[:6] not in token


def test_a_token_is_known_by_a_comparison_in_constant_time(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = sessions.open(TEST, SECRET)
    with monkeypatch.context() as patched, pytest.raises(Unauthenticated):
        patched.setattr(hmac, "compare_digest", lambda left, right: False)
        sessions.authenticate(token)
    assert sessions.authenticate(token)
