"""The session cache: no question to the control store for a moment, and yet revoked and expired in time."""

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.system.clock import SystemEntropy
from streamgauge.domain.account import Account
from streamgauge.domain.credential import MeterEventSession, Principal, SecretKey
from streamgauge.domain.errors import SessionExpired, StreamgaugeError, Unauthenticated, Unavailable
from streamgauge.engine import session_cache
from streamgauge.engine.session_cache import SessionCache
from streamgauge.engine.sessions import Sessions
from tests.support.world import START_MS, TENANT, SettableClock

LIFETIME_MS = 900_000
FRESH_MS, KNOWN_MS = 2_000, 4_000
WAIT_SECONDS = 30
REVOCATION_SEEN_MS_MAX = 5_000
SECRET = "sk_test_theSecretThatOpensTheSession"
KEY = SecretKey(id="key_1", tenant=TENANT, secret_hash="hash", hint="", created_ms=0)


T = TypeVar("T")


class Store(MemoryControlStore):
    """Counts how often a session was looked up; fails when told to, and can be made to hold its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.failure: StreamgaugeError | None = None
        self.open = threading.Event()
        self.open.set()

    def find_session(self, token_hash: str) -> tuple[MeterEventSession, SecretKey] | None:
        self.asked += 1
        assert self.open.wait(WAIT_SECONDS)
        if self.failure is not None:
            raise self.failure
        return super().find_session(token_hash)


class Bench:
    """A cache, and a client that authenticates as the stream does."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.store = Store()
        self.store.add_account(Account(id=TENANT.account_id, name="", created_ms=0))
        self.store.add_secret_key(KEY)
        self.sessions = Sessions(self.store, self.clock, SystemEntropy(), lifetime_seconds=LIFETIME_MS // 1000)
        self.cache = SessionCache(self.sessions, self.clock)

    def open(self) -> bytes:
        return self.sessions.open(Principal(TENANT, KEY.id), SECRET)[1].encode()

    def authenticate(self, token: bytes) -> Principal:
        """A request, and then time for whatever it began beside itself."""

        async def asked() -> Principal:
            try:
                return await self.cache.authenticate(token)
            finally:
                await self.looked_up()

        return run(asked())

    async def looked_up(self) -> None:
        await asyncio.wait_for(asyncio.gather(*self.cache._look_ups.values(), return_exceptions=True), WAIT_SECONDS)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(coroutine, 2 * WAIT_SECONDS))


async def until(true: Callable[[], bool]) -> None:
    async def look() -> None:
        while not true():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), WAIT_SECONDS)


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


def test_of_many_requests_one_looks_the_session_up_and_all_have_the_answer(bench: Bench) -> None:
    token = bench.open()

    async def requests() -> list[Principal]:
        bench.store.open.clear()
        waiting = [asyncio.create_task(bench.cache.authenticate(token)) for _ in range(50)]
        await until(lambda: bench.store.asked > 0)
        waiting.append(asyncio.create_task(bench.cache.authenticate(token)))  # one that comes later
        waiting.pop(0).cancel()  # and the client of the first goes
        await asyncio.sleep(0)
        bench.store.open.set()
        return await asyncio.gather(*waiting)

    answers = run(requests())
    assert len(answers) == 50 and len(set(answers)) == 1
    assert bench.store.asked == 1


def test_of_many_requests_with_a_bad_token_one_looks_it_up_and_all_are_refused(bench: Bench) -> None:
    async def requests() -> list[Principal | BaseException]:
        asking = [bench.cache.authenticate(b"mest_test_unknown") for _ in range(50)]
        return await asyncio.gather(*asking, return_exceptions=True)

    assert {type(answer) for answer in run(requests())} == {Unauthenticated}
    assert bench.store.asked == 1


def test_a_session_in_use_is_looked_up_again_beside_its_requests(bench: Bench) -> None:
    token = bench.open()
    first = bench.authenticate(token)

    async def later() -> None:
        bench.store.open.clear()
        bench.clock.at_ms += FRESH_MS
        # The store does not answer, and nobody waits for it.
        assert all([bench.cache.known(token) == first for _ in range(100)])
        assert await bench.cache.authenticate(token) == first
        bench.store.open.set()
        await bench.looked_up()
        bench.clock.at_ms += FRESH_MS - 1
        assert bench.cache.known(token) == first

    run(later())
    assert bench.store.asked == 2


def test_the_request_that_finds_a_look_up_due_has_its_answer_before_it_begins(bench: Bench) -> None:
    token = bench.open()
    first = bench.authenticate(token)
    bench.clock.at_ms += FRESH_MS

    async def request() -> None:
        assert bench.cache.known(token) == first
        for _ in range(100):  # turns of the loop, in which it is answered
            await asyncio.sleep(0)
        assert bench.store.asked == 1
        await bench.looked_up()
        assert bench.store.asked == 2

    run(request())


def test_what_a_look_up_beside_a_request_found_holds_for_the_next_one(bench: Bench) -> None:
    token = bench.open()
    first = bench.authenticate(token)
    bench.store.revoke_secret_key(KEY.id, bench.clock.at_ms)
    bench.clock.at_ms += FRESH_MS
    assert bench.authenticate(token) == first
    with pytest.raises(Unauthenticated, match="revoked"):
        bench.authenticate(token)


def test_who_has_not_been_looked_up_for_long_waits_for_it(bench: Bench) -> None:
    token = bench.open()
    bench.authenticate(token)
    bench.clock.at_ms += KNOWN_MS
    assert bench.cache.known(token) is None
    bench.authenticate(token)
    assert bench.store.asked == 2


def test_a_look_up_that_fails_is_tried_again_and_told_to_those_who_need_it(bench: Bench) -> None:
    token = bench.open()
    first = bench.authenticate(token)
    bench.store.failure = Unavailable("The database is locked.")
    for _ in range(2):
        bench.clock.at_ms += FRESH_MS - 1
        assert bench.authenticate(token) == first
    assert bench.store.asked == 2
    bench.clock.at_ms += 1
    assert bench.authenticate(token) == first  # a look-up that failed says nothing about the session
    bench.clock.at_ms += FRESH_MS
    with pytest.raises(Unavailable):
        bench.authenticate(token)
    bench.store.failure = None
    assert bench.authenticate(token) == first


@pytest.mark.parametrize("used_every_ms", [20, 100, 1_999, 2_000, 3_000, 4_000, 6_000])
def test_no_request_is_taken_five_seconds_after_the_key_was_revoked_however_often_its_token_is_used(
    bench: Bench, used_every_ms: int
) -> None:
    token = bench.open()
    bench.authenticate(token)
    bench.store.revoke_secret_key(KEY.id, bench.clock.at_ms)
    last_taken_ms = revoked_ms = bench.clock.at_ms
    with pytest.raises(Unauthenticated, match="revoked"):
        while last_taken_ms < revoked_ms + REVOCATION_SEEN_MS_MAX:
            bench.clock.at_ms += used_every_ms
            bench.authenticate(token)
            last_taken_ms = bench.clock.at_ms
    assert last_taken_ms < revoked_ms + REVOCATION_SEEN_MS_MAX


def test_a_session_expires_to_the_millisecond_also_while_it_is_known(bench: Bench) -> None:
    token = bench.open()
    bench.clock.at_ms = START_MS + LIFETIME_MS - 1
    bench.authenticate(token)
    bench.authenticate(token)
    bench.clock.at_ms += 1
    with pytest.raises(SessionExpired):
        bench.cache.known(token)
    with pytest.raises(SessionExpired):
        bench.authenticate(token)
    bench.clock.at_ms += KNOWN_MS
    with pytest.raises(SessionExpired):
        bench.authenticate(token)


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
