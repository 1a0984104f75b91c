"""The contract of `ControlStore.transaction`, and of the answers that are kept in one; run on every adapter."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import SecretKey
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import NotFound, StreamgaugeError, UnknownCursor
from streamgauge.domain.meter import Formula, Meter
from streamgauge.domain.span import Span
from streamgauge.engine.ports.control_store import ControlStore, KeptAnswer, Page
from tests.support.control_stores import ADAPTERS, control_store

TEST = Tenant("acct_1", False)
LIVE = Tenant("acct_1", True)
OTHER = Tenant("acct_2", False)
METER = Meter(
    id="mtr_1",
    tenant=TEST,
    display_name="Tokens",
    event_name="tokens",
    formula=Formula.SUM,
    event_time_window=None,
    created_ms=1,
    updated_ms=1,
    active_spans=(Span(1),),
)
KEY = SecretKey(id="key_1", tenant=TEST, secret_hash="hash_1", hint="", created_ms=1)
ANSWER = KeptAnswer(
    tenant=TEST, digest="a" * 64, fingerprint="b" * 64, status=200, body=b'{"id": "\xf0\x9f\xaa\xa3\0"}', created_ms=100
)


class Cancelled(Exception):
    """Of the caller, in the middle of a transaction."""


@pytest.fixture(params=ADAPTERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ControlStore]:
    with control_store(request.param, tmp_path) as opened:
        yield opened


def customer(number: int, tenant: Tenant = TEST) -> Customer:
    return Customer(id=f"cus_{number}", tenant=tenant, created_ms=number, attributes={}, metadata={})


def customers(store: ControlStore) -> list[str]:
    """Ids, oldest first."""
    return [each.id for each in reversed(store.list_customers(TEST, Page(limit=100)).items)]


def elsewhere(act: Callable[[], object]) -> object:
    """What `act` gives in another thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(act).result(10)


# All or nothing


def write_everything(store: ControlStore) -> None:
    store.add_secret_key(KEY)
    store.add_meter(METER)
    store.save_meter(METER.deactivated(5))
    store.add_customer(customer(1))
    store.save_customer(replace(customer(1), metadata={"plan": "pro"}))
    store.keep_answer(ANSWER)


def test_what_is_written_in_a_transaction_is_committed_on_leaving_it(store: ControlStore) -> None:
    with store.transaction():
        write_everything(store)
    assert elsewhere(lambda: store.get_secret_key(KEY.id)) == KEY
    assert elsewhere(lambda: store.get_meter(TEST, METER.id)) == METER.deactivated(5)
    assert elsewhere(lambda: store.get_customer(TEST, "cus_1")) == replace(customer(1), metadata={"plan": "pro"})
    assert elsewhere(lambda: store.find_answer(TEST, ANSWER.digest)) == ANSWER


def test_a_transaction_left_by_an_exception_wrote_nothing(store: ControlStore) -> None:
    with pytest.raises(Cancelled), store.transaction():
        write_everything(store)
        raise Cancelled
    assert store.get_secret_key(KEY.id) is None
    assert store.get_meter(TEST, METER.id) is None
    assert store.find_answer(TEST, ANSWER.digest) is None
    assert customers(store) == []


def test_what_was_there_before_is_as_it_was_after_a_transaction_that_failed(store: ControlStore) -> None:
    write_everything(store)
    with pytest.raises(Cancelled), store.transaction():
        store.save_meter(METER.renamed("Other", 9))
        store.save_customer(replace(customer(1), deleted_ms=9))
        store.revoke_secret_key(KEY.id, 9)
        store.keep_answer(replace(ANSWER, body=b"other"))
        store.forget_answers(10_000)
        raise Cancelled
    assert store.get_meter(TEST, METER.id) == METER.deactivated(5)
    assert store.get_secret_key(KEY.id) == KEY
    assert customers(store) == ["cus_1"]
    assert store.find_answer(TEST, ANSWER.digest) == ANSWER


def test_a_transaction_reads_what_it_wrote(store: ControlStore) -> None:
    with store.transaction():
        write_everything(store)
        assert store.get_secret_key(KEY.id) == store.find_secret_key("hash_1") == KEY
        assert store.get_meter(TEST, METER.id) == METER.deactivated(5)
        assert store.meters_named(TEST, "tokens") == tuple(store.all_meters()) == (METER.deactivated(5),)
        assert store.find_answer(TEST, ANSWER.digest) == ANSWER
        assert customers(store) == ["cus_1"]
        assert len(list(store.all_customers())) == 1


def test_a_method_that_raises_undoes_only_itself(store: ControlStore) -> None:
    with store.transaction():
        store.add_customer(customer(1))
        with pytest.raises(StreamgaugeError):
            store.add_customer(customer(1))
        store.add_customer(customer(2))
        with pytest.raises(NotFound):
            store.save_meter(METER)
        with pytest.raises(UnknownCursor):
            store.list_customers(TEST, Page(starting_after="x"))
        store.add_customer(customer(3))
    assert customers(store) == ["cus_1", "cus_2", "cus_3"]


def test_a_store_whose_transaction_failed_goes_on(store: ControlStore) -> None:
    for _ in range(20):  # more often than there are connections
        with pytest.raises(Cancelled), store.transaction():
            raise Cancelled
    store.add_customer(customer(1))
    with store.transaction():
        store.add_customer(customer(2))
    assert customers(store) == ["cus_1", "cus_2"]


# Transactions in transactions


def test_a_transaction_inside_of_another_is_that_one(store: ControlStore) -> None:
    with store.transaction() as outer:
        with store.transaction() as inner:
            assert inner is outer
            store.add_customer(customer(1))
        store.add_customer(customer(2))
    assert customers(store) == ["cus_1", "cus_2"]


def test_leaving_the_inner_one_commits_nothing(store: ControlStore) -> None:
    ended: list[bool] = []
    with pytest.raises(Cancelled), store.transaction():
        with store.transaction() as inner:
            inner.when_ended(ended.append)
            store.add_customer(customer(1))
        assert ended == []
        raise Cancelled
    assert (customers(store), ended) == ([], [False])


def test_an_exception_that_leaves_only_the_inner_one_undoes_nothing(store: ControlStore) -> None:
    with store.transaction():
        with pytest.raises(Cancelled), store.transaction():
            store.add_customer(customer(1))
            raise Cancelled
        store.add_customer(customer(2))
    assert customers(store) == ["cus_1", "cus_2"]


# The end


@pytest.mark.parametrize("committed", [True, False])
def test_whoever_asked_is_told_once_how_it_ended_right_after_in_the_same_thread(
    store: ControlStore, committed: bool
) -> None:
    told: list[tuple[str, bool, int, Customer | None]] = []

    def tell(who: str) -> Callable[[bool], None]:
        return lambda ended: told.append((who, ended, threading.get_ident(), store.get_customer(TEST, "cus_1")))

    try:
        with store.transaction() as transaction:
            transaction.when_ended(tell("first"))
            store.add_customer(customer(1))
            transaction.when_ended(tell("second"))
            assert told == []
            if not committed:
                raise Cancelled
    except Cancelled:
        assert not committed
    kept = customer(1) if committed else None
    here = threading.get_ident()
    assert told == [("first", committed, here, kept), ("second", committed, here, kept)]
    with store.transaction():
        store.add_customer(customer(2))
    assert len(told) == 2


def test_a_transaction_can_begin_as_soon_as_one_has_ended(store: ControlStore) -> None:
    def write_more(_: bool) -> None:
        with store.transaction():
            store.add_customer(customer(2))

    with store.transaction() as transaction:
        transaction.when_ended(write_more)
        store.add_customer(customer(1))
    assert customers(store) == ["cus_1", "cus_2"]


# Several threads


def write_one(store: ControlStore) -> None:
    store.add_customer(customer(9))


def write_in_a_transaction(store: ControlStore) -> None:
    with store.transaction():
        store.add_customer(customer(9))


@pytest.mark.parametrize("write", [write_one, write_in_a_transaction])
def test_what_another_thread_writes_waits_for_the_end(
    store: ControlStore, write: Callable[[ControlStore], None]
) -> None:
    with ThreadPoolExecutor(1) as thread:
        with store.transaction():
            # Before its first write already: what it reads now must still hold when it writes.
            assert customers(store) == []
            other = thread.submit(write, store)
            with pytest.raises(TimeoutError):
                other.result(0.2)
            assert customers(store) == []
            store.add_customer(customer(1))
        other.result(10)
    assert customers(store) == ["cus_1", "cus_9"]


def test_a_thread_is_not_part_of_another_ones_transaction(store: ControlStore) -> None:
    with ThreadPoolExecutor(1) as thread:
        with pytest.raises(Cancelled), store.transaction():
            other = thread.submit(write_one, store)
            store.add_customer(customer(1))
            raise Cancelled
        other.result(10)
    assert customers(store) == ["cus_9"]


def test_of_transactions_that_read_and_then_write_at_once_none_is_lost(store: ControlStore) -> None:
    store.add_customer(customer(1))

    def add_one(_: int) -> None:
        with store.transaction():
            known = store.get_customer(TEST, "cus_1")
            assert known is not None
            count = int(known.metadata.get("count", "0"))
            store.save_customer(replace(known, metadata={"count": str(count + 1)}))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add_one, range(64)))
    counted = store.get_customer(TEST, "cus_1")
    assert counted is not None and counted.metadata == {"count": "64"}


# Answers


def test_an_answer_comes_back_as_it_was_kept(store: ControlStore) -> None:
    assert store.find_answer(TEST, ANSWER.digest) is None
    store.keep_answer(ANSWER)
    assert store.find_answer(TEST, ANSWER.digest) == ANSWER
    assert store.find_answer(TEST, "c" * 64) is None


def test_an_answer_takes_the_place_of_one_before_it(store: ControlStore) -> None:
    later = KeptAnswer(
        tenant=TEST, digest=ANSWER.digest, fingerprint="other", status=400, body=b"", created_ms=ANSWER.created_ms + 1
    )
    for each in (ANSWER, later):
        store.keep_answer(each)
    assert store.find_answer(TEST, ANSWER.digest) == later
    assert store.forget_answers(10_000) == 1


def test_tenants_have_answers_of_their_own(store: ControlStore) -> None:
    answers = [replace(ANSWER, tenant=tenant, status=status) for tenant, status in ((TEST, 200), (OTHER, 400))]
    for each in answers:
        store.keep_answer(each)
    assert [store.find_answer(each.tenant, ANSWER.digest) for each in answers] == answers
    assert store.find_answer(LIVE, ANSWER.digest) is None


def test_only_answers_from_before_then_are_forgotten(store: ControlStore) -> None:
    for at_ms in (98, 99, 100, 101):
        store.keep_answer(replace(ANSWER, digest=str(at_ms), created_ms=at_ms))
    assert store.forget_answers(100) == 2
    assert store.forget_answers(100) == 0
    assert [store.find_answer(TEST, digest) is None for digest in ("98", "99", "100", "101")] == [1, 1, 0, 0]
