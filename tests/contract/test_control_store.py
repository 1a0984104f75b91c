"""The contract of `ControlStore`, run on every adapter. Its transactions have a module of their own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.relational.connection import sqlite_url
from streamgauge.adapters.relational.migrations import migrate
from streamgauge.adapters.relational.store import RelationalControlStore
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.counting_rules import CountingRules, DatedRules
from streamgauge.domain.credential import MeterEventSession, SecretKey
from streamgauge.domain.customer import Customer
from streamgauge.domain.errors import NotFound, StreamgaugeError, UnknownCursor
from streamgauge.domain.meter import EventTimeWindow, Formula, Meter
from streamgauge.domain.permission import Access, Permissions, Resource
from streamgauge.domain.span import Span
from streamgauge.engine.ports.control_store import ControlStore, Page
from tests.support.control_stores import ACCOUNT, ADAPTERS, control_store

TEST = Tenant("acct_1", False)
LIVE = Tenant("acct_1", True)
OTHER = Tenant("acct_2", False)


@pytest.fixture(params=ADAPTERS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ControlStore]:
    with control_store(request.param, tmp_path) as opened:
        yield opened


def key(number: int, tenant: Tenant = TEST) -> SecretKey:
    return SecretKey(id=f"key_{number}", tenant=tenant, secret_hash=f"hash_{number}", hint="abcd", created_ms=number)


def session(number: int, expires_ms: int = 5_000) -> MeterEventSession:
    return MeterEventSession(
        id=f"mes_{number}",
        tenant=TEST,
        key_id="key_1",
        token_hash=f"token_{number}",
        nonce=f"nonce_{number}",
        created_ms=number,
        expires_ms=expires_ms,
    )


def meter(number: int, tenant: Tenant = TEST, *, created_ms: int | None = None, event_name: str = "tokens") -> Meter:
    at_ms = number if created_ms is None else created_ms
    return Meter(
        id=f"mtr_{tenant.account_id}_{'live' if tenant.livemode else 'test'}_{number}",
        tenant=tenant,
        display_name=f"Meter {number}",
        event_name=event_name,
        formula=Formula.SUM,
        event_time_window=EventTimeWindow.HOUR if number % 2 else None,
        created_ms=at_ms,
        updated_ms=at_ms,
        active_spans=(Span(at_ms),),
    )


def customer(number: int, tenant: Tenant = TEST, *, email: str | None = None) -> Customer:
    attributes: dict[str, object] = {"name": f"Zoë {number}", "address": {"city": "Oslo", "lines": [1, None]}}
    if email is not None:
        attributes["email"] = email
    return Customer(
        id=f"cus_{number}", tenant=tenant, created_ms=number, attributes=attributes, metadata={"plan": "a", "": "b"}
    )


# Accounts


def test_an_empty_store_has_no_first_account() -> None:
    assert MemoryControlStore().first_account() is None


def test_an_empty_database_has_no_first_account(tmp_path: Path) -> None:
    empty = RelationalControlStore(sqlite_url(tmp_path / "control.db"))
    migrate(empty.engine)
    assert empty.first_account() is None
    empty.close()


def test_the_first_account_is_the_oldest(store: ControlStore) -> None:
    store.add_account(Account(id="acct_0", name="Older than the first", created_ms=500))
    first = store.first_account()
    assert first is not None and first.id == "acct_0"


def test_an_account_is_found_by_its_id_and_no_other(store: ControlStore) -> None:
    assert store.find_account("acct_1") == ACCOUNT
    assert store.find_account("acct_9") is None


def test_an_id_that_is_taken_is_refused_and_changes_nothing(store: ControlStore) -> None:
    with pytest.raises(StreamgaugeError, match="nothing was written"):
        store.add_account(replace(ACCOUNT, name="Another"))
    assert store.find_account("acct_1") == ACCOUNT


# Secret keys


def test_a_key_is_found_by_its_hash_and_by_its_id(store: ControlStore) -> None:
    store.add_secret_key(key(1))
    assert store.find_secret_key("hash_1") == store.get_secret_key("key_1") == key(1)
    assert store.find_secret_key("key_1") is None
    assert store.get_secret_key("hash_1") is None


def test_two_keys_never_share_a_hash(store: ControlStore) -> None:
    store.add_secret_key(key(1))
    with pytest.raises(StreamgaugeError):
        store.add_secret_key(replace(key(2), secret_hash="hash_1"))
    assert store.get_secret_key("key_2") is None


def test_a_key_of_no_account_is_refused(store: ControlStore) -> None:
    with pytest.raises(StreamgaugeError):
        store.add_secret_key(key(1, Tenant("acct_9", False)))


def test_keys_are_listed_per_account_oldest_first_in_both_modes(store: ControlStore) -> None:
    for each in (key(3), key(1), key(2, LIVE), key(4, OTHER)):
        store.add_secret_key(each)
    assert store.list_secret_keys("acct_1") == (key(1), key(2, LIVE), key(3))


def test_a_revoked_key_stays_listed_and_keeps_its_first_time(store: ControlStore) -> None:
    store.add_secret_key(key(1))
    revoked = replace(key(1), revoked_ms=70)
    assert store.revoke_secret_key("key_1", 70) == revoked
    assert store.revoke_secret_key("key_1", 90) == revoked
    assert store.list_secret_keys("acct_1") == (revoked,)
    assert store.find_secret_key("hash_1") == revoked


def test_revoking_an_unknown_key_answers_none(store: ControlStore) -> None:
    assert store.revoke_secret_key("key_9", 1) is None


@pytest.mark.parametrize(
    "permissions",
    [None, {}, {Resource.METERS: Access.WRITE}, {Resource.CUSTOMERS: Access.READ, Resource.SESSIONS: Access.WRITE}],
)
def test_what_a_key_may_do_comes_back_as_it_was_given(store: ControlStore, permissions: Permissions | None) -> None:
    restricted = replace(key(1), permissions=permissions)
    store.add_secret_key(restricted)
    assert store.get_secret_key("key_1") == restricted
    assert store.revoke_secret_key("key_1", 5) == replace(restricted, revoked_ms=5)
    (listed,) = store.list_secret_keys("acct_1")
    assert listed.permissions == permissions


# Sessions


def test_a_session_is_found_with_the_key_that_opened_it(store: ControlStore) -> None:
    store.add_secret_key(key(1))
    store.add_session(session(1))
    assert store.find_session("token_1") == (session(1), key(1))
    store.revoke_secret_key("key_1", 70)
    assert store.find_session("token_1") == (session(1), replace(key(1), revoked_ms=70))
    assert store.find_session("token_2") is None


def test_a_session_of_no_key_is_refused(store: ControlStore) -> None:
    with pytest.raises(StreamgaugeError):
        store.add_session(session(1))


def test_only_sessions_that_expired_before_then_are_forgotten(store: ControlStore) -> None:
    store.add_secret_key(key(1))
    for number, expires_ms in enumerate((100, 199, 200, 300)):
        store.add_session(session(number, expires_ms))
    assert store.forget_sessions(200) == 2
    assert store.forget_sessions(200) == 0
    assert [store.find_session(f"token_{number}") is None for number in range(4)] == [True, True, False, False]


# Meters


def test_a_meter_comes_back_as_it_was_added(store: ControlStore) -> None:
    for each in (meter(1), meter(2)):
        store.add_meter(each)
        assert store.get_meter(TEST, each.id) == each


def test_a_meter_of_another_account_or_mode_is_not_visible(store: ControlStore) -> None:
    store.add_meter(meter(1))
    for stranger in (LIVE, OTHER):
        assert store.get_meter(stranger, meter(1).id) is None
        assert store.meters_named(stranger, "tokens") == ()
        assert store.list_meters(stranger, Page()).items == ()
        with pytest.raises(NotFound):
            store.save_meter(replace(meter(1), tenant=stranger))
        with pytest.raises(UnknownCursor):
            store.list_meters(stranger, Page(starting_after=meter(1).id))
    assert store.get_meter(TEST, meter(1).id) == meter(1)


def test_saving_a_meter_replaces_name_times_and_spans(store: ControlStore) -> None:
    store.add_meter(meter(1))
    changed = meter(1).deactivated(10).reactivated(20).deactivated(30).renamed("New", 40)
    store.save_meter(changed)
    assert store.get_meter(TEST, changed.id) == changed
    assert tuple(store.all_meters()) == (changed,)


def test_saving_a_meter_that_was_never_added_raises(store: ControlStore) -> None:
    with pytest.raises(NotFound):
        store.save_meter(meter(1))


def test_every_meter_that_ever_had_an_event_name_is_found_oldest_first(store: ControlStore) -> None:
    named = [meter(1).deactivated(5), meter(2).deactivated(6), meter(10)]
    for each in (named[2], named[0], meter(3, event_name="other"), named[1]):
        store.add_meter(each)
    assert store.meters_named(TEST, "tokens") == tuple(named)


def test_all_meters_of_every_tenant_come_oldest_first(store: ControlStore) -> None:
    added = [meter(number, tenant) for number, tenant in enumerate((LIVE, OTHER, TEST, LIVE))]
    for each in reversed(added):
        store.add_meter(each)
    assert list(store.all_meters()) == added


def test_meters_are_listed_active_inactive_or_both(store: ControlStore) -> None:
    reactivated = meter(3).deactivated(5).reactivated(6)
    for each in (meter(1), meter(2).deactivated(9), reactivated):
        store.add_meter(each)
    assert store.list_meters(TEST, Page()).items == (reactivated, meter(2).deactivated(9), meter(1))
    assert store.list_meters(TEST, Page(), active=True).items == (reactivated, meter(1))
    assert store.list_meters(TEST, Page(), active=False).items == (meter(2).deactivated(9),)


# Pages: of seven meters, 0 is the oldest; 2, 3 and 4 are of one moment, so their ids decide.

PAGES = [
    (Page(limit=3), [6, 5, 4], True),
    (Page(limit=7), [6, 5, 4, 3, 2, 1, 0], False),
    (Page(limit=3, starting_after="4"), [3, 2, 1], True),
    (Page(limit=4, starting_after="4"), [3, 2, 1, 0], False),
    (Page(limit=3, starting_after="0"), [], False),
    (Page(limit=2, ending_before="3"), [5, 4], True),
    (Page(limit=3, ending_before="3"), [6, 5, 4], False),
    (Page(limit=1, ending_before="0"), [1], True),
    (Page(limit=3, ending_before="6"), [], False),
]


@pytest.mark.parametrize(("page", "expected", "has_more"), PAGES)
def test_a_page_begins_next_to_its_cursor_newest_first(
    store: ControlStore, page: Page, expected: list[int], has_more: bool
) -> None:
    moments_ms = (10, 20, 30, 30, 30, 40, 50)
    meters = [meter(number, created_ms=at_ms) for number, at_ms in enumerate(moments_ms)]
    others = [meter(number, LIVE, created_ms=at_ms) for number, at_ms in enumerate(moments_ms)]
    for each in (*meters, *others):
        store.add_meter(each)
    after, before = page.starting_after, page.ending_before
    cursors = replace(
        page,
        starting_after=None if after is None else meters[int(after)].id,
        ending_before=None if before is None else meters[int(before)].id,
    )
    listed = store.list_meters(TEST, cursors)
    assert [meters.index(each) for each in listed.items] == expected
    assert listed.has_more == has_more


@pytest.mark.parametrize("cursor", ["starting_after", "ending_before"])
def test_a_cursor_that_names_no_object_raises_and_is_named(store: ControlStore, cursor: str) -> None:
    page = Page(starting_after="x") if cursor == "starting_after" else Page(ending_before="x")
    with pytest.raises(UnknownCursor) as of_meters:
        store.list_meters(TEST, page)
    with pytest.raises(UnknownCursor) as of_customers:
        store.list_customers(TEST, page)
    assert of_meters.value.param == of_customers.value.param == cursor


def test_a_cursor_that_no_longer_passes_the_filter_still_holds_its_place(store: ControlStore) -> None:
    for number in range(4):
        store.add_customer(customer(number))
    store.save_customer(replace(customer(2), deleted_ms=9))
    assert store.list_customers(TEST, Page(starting_after="cus_2")).items == (customer(1), customer(0))
    assert store.list_customers(TEST, Page(ending_before="cus_2")).items == (customer(3),)


# Customers


def test_a_customer_comes_back_as_it_was_added(store: ControlStore) -> None:
    store.add_customer(customer(1, email="a@example.com"))
    assert store.get_customer(TEST, "cus_1") == customer(1, email="a@example.com")
    assert store.get_customer(TEST, "cus_2") is None


def test_what_callers_do_to_a_customers_mappings_does_not_reach_the_store(store: ControlStore) -> None:
    attributes: dict[str, object] = {"address": {"city": "Oslo"}}
    store.add_customer(replace(customer(1), attributes=attributes))
    attributes["name"] = "Later"
    read = store.get_customer(TEST, "cus_1")
    assert read is not None and read.attributes == {"address": {"city": "Oslo"}}
    address = read.attributes["address"]
    assert isinstance(address, dict)
    address["city"] = "Bergen"
    again = store.get_customer(TEST, "cus_1")
    assert again is not None and again.attributes == {"address": {"city": "Oslo"}}


def test_tenants_may_have_customers_of_one_id_and_see_only_their_own(store: ControlStore) -> None:
    for tenant in (TEST, LIVE, OTHER):
        store.add_customer(customer(1, tenant, email=f"{tenant.account_id}@example.com"))
    for tenant in (TEST, LIVE, OTHER):
        own = customer(1, tenant, email=f"{tenant.account_id}@example.com")
        assert store.get_customer(tenant, "cus_1") == own
        assert store.list_customers(tenant, Page()).items == (own,)
    store.save_customer(replace(customer(1, LIVE), deleted_ms=9))
    assert store.list_customers(TEST, Page()).items != ()


def test_saving_a_customer_replaces_attributes_metadata_and_deletion(store: ControlStore) -> None:
    store.add_customer(customer(1))
    changed = replace(customer(1), attributes={"name": "New"}, metadata={}, deleted_ms=50)
    store.save_customer(changed)
    assert store.get_customer(TEST, "cus_1") == changed


def test_saving_a_customer_that_was_never_added_raises(store: ControlStore) -> None:
    with pytest.raises(NotFound):
        store.save_customer(customer(1))


def test_customers_are_filtered_by_their_present_email_exactly(store: ControlStore) -> None:
    for number, email in enumerate(("a@example.com", "A@example.com", "a@example.com", None)):
        store.add_customer(customer(number, email=email))
    store.save_customer(customer(0, email="b@example.com"))
    assert [each.id for each in store.list_customers(TEST, Page(), email="a@example.com").items] == ["cus_2"]
    assert [each.id for each in store.list_customers(TEST, Page(), email="b@example.com").items] == ["cus_0"]


def test_deleted_customers_are_not_listed_but_found(store: ControlStore) -> None:
    store.add_customer(customer(1, email="a@example.com"))
    deleted = replace(customer(1, email="a@example.com"), deleted_ms=9)
    store.save_customer(deleted)
    assert store.list_customers(TEST, Page()).items == ()
    assert store.list_customers(TEST, Page(), email="a@example.com").items == ()
    assert store.get_customer(TEST, "cus_1") == deleted


def test_all_customers_come_with_their_validity_and_nothing_else(store: ControlStore) -> None:
    deleted = replace(customer(1), deleted_ms=9)
    for each in (deleted, customer(2, LIVE), customer(3, OTHER)):
        store.add_customer(each)
    bare = [replace(each, attributes={}, metadata={}) for each in (deleted, customer(2, LIVE), customer(3, OTHER))]
    assert sorted(store.all_customers(), key=lambda each: each.id) == bare


def test_counting_rules_come_back_oldest_first(store: ControlStore) -> None:
    assert store.counting_rules() == ()
    dated = (
        DatedRules(0, CountingRules(accept_unknown_customers=True, dedup_window_ms=86_400_000)),
        DatedRules(9 * 10**12, CountingRules(accept_unknown_customers=False, dedup_window_ms=3_024_000_000)),
    )
    for each in dated:
        store.add_counting_rules(each)
    assert store.counting_rules() == dated


def test_many_threads_write_at_once_and_nothing_is_lost(store: ControlStore) -> None:
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda number: store.add_customer(customer(number)), range(96)))
        found = list(threads.map(lambda number: store.get_customer(TEST, f"cus_{number}"), range(96)))
    assert found == [customer(number) for number in range(96)]
