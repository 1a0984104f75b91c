"""Idempotency: one key, one effect, one answer, for a day."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import IdempotencyKeyReused, StorageFull
from streamgauge.domain.request_key import KEPT_MS, RequestKey
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.ports.control_store import KeptAnswer, Page
from tests.support.control import SettableClock, store_with_accounts

TENANT = Tenant("acct_1", False)
STRANGERS = (Tenant("acct_1", True), Tenant("acct_2", False))
KEY = RequestKey(digest="key", fingerprint="asked")
MINUTE_MS = 60_000


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store() -> MemoryControlStore:
    return store_with_accounts("acct_1", "acct_2")


@pytest.fixture
def idempotency(store: MemoryControlStore, clock: SettableClock) -> Idempotency:
    return Idempotency(store, clock)


def adding(store: MemoryControlStore, tenant: Tenant = TENANT) -> Callable[[], tuple[int, bytes]]:
    """Adds one customer more each time it is performed, and answers with how many there are."""

    def perform() -> tuple[int, bytes]:
        number = effects(store, tenant) + 1
        store.add_customer(Customer(id=f"cus_{number}", tenant=tenant, created_ms=number, attributes={}, metadata={}))
        return 200, b"%d" % number

    return perform


def effects(store: MemoryControlStore, tenant: Tenant = TENANT) -> int:
    return len(store.list_customers(tenant, Page(limit=100)).items)


def told(result: tuple[KeptAnswer, bool]) -> tuple[int, bytes, bool]:
    answer, replayed = result
    return answer.status, answer.body, replayed


def test_a_repeat_has_no_second_effect_and_the_same_answer(idempotency: Idempotency, store: MemoryControlStore) -> None:
    assert told(idempotency.once(TENANT, KEY, adding(store))) == (200, b"1", False)
    for _ in range(3):
        assert told(idempotency.once(TENANT, KEY, adding(store))) == (200, b"1", True)
    assert effects(store) == 1


def test_another_key_is_another_request(idempotency: Idempotency, store: MemoryControlStore) -> None:
    idempotency.once(TENANT, KEY, adding(store))
    other = RequestKey(digest="another key", fingerprint=KEY.fingerprint)
    assert told(idempotency.once(TENANT, other, adding(store))) == (200, b"2", False)


def test_a_key_that_was_used_for_something_else_is_refused_and_keeps_its_answer(
    idempotency: Idempotency, store: MemoryControlStore
) -> None:
    idempotency.once(TENANT, KEY, adding(store))
    with pytest.raises(IdempotencyKeyReused, match="same parameters"):
        idempotency.once(TENANT, RequestKey(KEY.digest, "asked for something else"), adding(store))
    assert told(idempotency.once(TENANT, KEY, adding(store))) == (200, b"1", True)
    assert effects(store) == 1


@pytest.mark.parametrize("stranger", STRANGERS)
def test_accounts_and_modes_do_not_share_keys(
    idempotency: Idempotency, store: MemoryControlStore, stranger: Tenant
) -> None:
    idempotency.once(TENANT, KEY, adding(store))
    of_stranger = RequestKey(KEY.digest, "asked for something else")
    assert told(idempotency.once(stranger, of_stranger, adding(store, stranger))) == (200, b"1", False)


def test_an_answer_is_kept_for_a_day_to_the_millisecond_from_the_first_use(
    idempotency: Idempotency, store: MemoryControlStore, clock: SettableClock
) -> None:
    began_ms = clock.ms
    idempotency.once(TENANT, KEY, adding(store))
    for at_ms in (began_ms + KEPT_MS // 2, began_ms + KEPT_MS - 1):  # a repeat does not make it last longer
        clock.ms = at_ms
        assert told(idempotency.once(TENANT, KEY, adding(store))) == (200, b"1", True)
    clock.ms = began_ms + KEPT_MS
    asked_differently = RequestKey(KEY.digest, "asked for something else")
    assert told(idempotency.once(TENANT, asked_differently, adding(store))) == (200, b"2", False)
    with pytest.raises(IdempotencyKeyReused):
        idempotency.once(TENANT, KEY, adding(store))


def test_what_is_raised_undoes_everything_and_is_not_kept(idempotency: Idempotency, store: MemoryControlStore) -> None:
    def half_way() -> tuple[int, bytes]:
        adding(store)()
        raise StorageFull("no room for the rest")

    with pytest.raises(StorageFull):
        idempotency.once(TENANT, KEY, half_way)
    assert effects(store) == 0
    assert told(idempotency.once(TENANT, KEY, adding(store))) == (200, b"1", False)


def test_an_effect_whose_answer_cannot_be_kept_is_undone(
    idempotency: Idempotency, store: MemoryControlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: KeptAnswer) -> None:
        raise StorageFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(store, "keep_answer", full)
        with pytest.raises(StorageFull):
            idempotency.once(TENANT, KEY, adding(store))
    assert effects(store) == 0


def test_a_refusal_that_is_answered_is_kept_like_anything_else(
    idempotency: Idempotency, store: MemoryControlStore
) -> None:
    assert told(idempotency.once(TENANT, KEY, lambda: (400, b"no"))) == (400, b"no", False)
    assert told(idempotency.once(TENANT, KEY, adding(store))) == (400, b"no", True)


def test_of_many_requests_at_once_with_one_key_one_is_performed_and_the_others_get_its_answer(
    idempotency: Idempotency, store: MemoryControlStore
) -> None:
    together = threading.Barrier(8)

    def request(_: int) -> tuple[int, bytes, bool]:
        together.wait(10)
        return told(idempotency.once(TENANT, KEY, adding(store)))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(request, range(8)))
    assert sorted(answers) == [(200, b"1", False)] + [(200, b"1", True)] * 7
    assert effects(store) == 1


def test_answers_past_their_day_are_forgotten_along_the_way_at_most_once_a_minute(
    idempotency: Idempotency, store: MemoryControlStore, clock: SettableClock
) -> None:
    def passes(after_ms: int, digest: str) -> bool:
        """Whether the first answer is still in the store when another request has come so much later."""
        clock.ms += after_ms
        idempotency.once(TENANT, RequestKey(digest, "x"), lambda: (200, b""))
        return store.find_answer(TENANT, KEY.digest) is not None

    idempotency.once(TENANT, KEY, lambda: (200, b""))
    assert passes(KEPT_MS, "a")  # to the millisecond a day old; the very next one would go
    assert passes(MINUTE_MS - 1, "b")
    assert not passes(1, "c")
