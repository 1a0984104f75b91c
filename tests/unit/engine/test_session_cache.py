"""The session cache: no question to the control store for a moment, and yet revoked and expired in time."""

import gc

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.system.clock import SystemEntropy
from streamgauge.domain.account import Account
from streamgauge.domain.credential import MeterEventSession, Principal, SecretKey
from streamgauge.domain.errors import SessionExpired, Unauthenticated
from streamgauge.engine import session_cache
from streamgauge.engine.session_cache import SessionCache
from streamgauge.engine.sessions import Sessions
from tests.support.world import START_MS, TENANT, SettableClock

LIFETIME_MS = 900_000
REVOCATION_SEEN_MS_MAX = 5_000
SECRET = "sk_test_theSecretThatOpensTheSession"
KEY = SecretKey(id="key_1", tenant=TENANT, secret_hash="hash", hint="", created_ms=0)


class CountingStore(MemoryControlStore):
    """Counts how often a session was looked up."""

    asked = 0

    def find_session(self, token_hash: str) -> tuple[MeterEventSession, SecretKey] | None:
        self.asked += 1
        return super().find_session(token_hash)


class Bench:
    """A cache, and a client that authenticates as the stream does."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.store = CountingStore()
        self.store.add_account(Account(id=TENANT.account_id, name="", created_ms=0))
        self.store.add_secret_key(KEY)
        self.sessions = Sessions(self.store, self.clock, SystemEntropy(), lifetime_seconds=LIFETIME_MS // 1000)
        self.cache = SessionCache(self.sessions, self.clock)

    def open(self) -> bytes:
        return self.sessions.open(Principal(TENANT, KEY.id), SECRET)[1].encode()

    def authenticate(self, token: bytes) -> Principal:
        return self.cache.known(token) or self.cache.look_up(token)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_token_is_looked_up_once_and_then_known(bench: Bench) -> None:
    token = bench.open()
    assert bench.cache.known(token) is None
    first = bench.authenticate(token)
    assert first.tenant == TENANT and first.session_id is not None
    assert all(bench.authenticate(token) == first for _ in range(100))
    assert bench.store.asked == 1


def test_an_unknown_token_is_refused_each_time_and_never_becomes_known(bench: Bench) -> None:
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            bench.authenticate(b"mest_test_unknown")
    assert bench.cache.known(b"mest_test_unknown") is None


@pytest.mark.parametrize("used_every_ms", [1, 100, 1_999, 2_000, 3_000])
def test_a_revoked_key_is_noticed_within_five_seconds_however_often_its_token_is_used(
    bench: Bench, used_every_ms: int
) -> None:
    token = bench.open()
    bench.authenticate(token)
    bench.store.revoke_secret_key(KEY.id, bench.clock.at_ms)
    revoked_ms = bench.clock.at_ms
    with pytest.raises(Unauthenticated, match="revoked"):
        while bench.clock.at_ms < revoked_ms + REVOCATION_SEEN_MS_MAX:
            bench.clock.at_ms += used_every_ms
            bench.authenticate(token)
    assert bench.clock.at_ms <= revoked_ms + REVOCATION_SEEN_MS_MAX


def test_a_session_expires_to_the_millisecond_also_while_it_is_known(bench: Bench) -> None:
    token = bench.open()
    bench.clock.at_ms = START_MS + LIFETIME_MS - 1
    bench.authenticate(token)
    bench.authenticate(token)
    bench.clock.at_ms += 1
    with pytest.raises(SessionExpired):
        bench.cache.known(token)
    with pytest.raises(SessionExpired):
        bench.cache.look_up(token)


def test_a_clock_that_steps_back_makes_it_ask_again(bench: Bench) -> None:
    token = bench.open()
    bench.authenticate(token)
    bench.store.revoke_secret_key(KEY.id, START_MS)
    bench.clock.at_ms -= 3_600_000  # for an hour everything known would look fresh
    with pytest.raises(Unauthenticated):
        bench.authenticate(token)


def test_no_token_stays_in_memory_in_clear(bench: Bench) -> None:
    token = bench.open()
    bench.authenticate(token)
    keys = list(bench.cache._entries)
    assert len(keys) == 1
    seen: list[object] = [bench.cache]
    for each in seen:  # everything that the cache can reach
        if len(seen) > 50_000:
            break
        seen += [inner for inner in gc.get_referents(each) if isinstance(inner, (bytes, str, dict, tuple, list))]
    assert token not in [each for each in seen if isinstance(each, bytes)]
    assert token.decode() not in [each for each in seen if isinstance(each, str)]


def test_the_cache_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_cache, "_ENTRIES_MAX", 10)
    for _ in range(50):
        bench.authenticate(bench.open())
        assert len(bench.cache._entries) <= 10


def test_any_bytes_are_refused_not_stumbled_over(bench: Bench) -> None:
    for token in (b"\xff\xfe", b"\0", b"x" * 100_000, "mest_test_é".encode()):
        with pytest.raises(Unauthenticated):
            bench.authenticate(token)
