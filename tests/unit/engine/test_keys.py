"""Secret and restricted keys: shown once, stored hashed, recognised until they are revoked."""

import hmac
from dataclasses import replace

import pytest

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal, hash_secret
from streamgauge.domain.errors import InvalidRequest, NotFound, PermissionDenied, StartRefused, Unauthenticated
from streamgauge.domain.permission import CUSTOMERS_READ, METERS_READ, METERS_WRITE, Access, Resource
from streamgauge.engine.accounts import Accounts
from streamgauge.engine.keys import Keys, redacted
from tests.support.control import CountingEntropy, SettableClock

ADOPTED = "sk_test_51HchosenByTheOperator0wxyz"
METERS_ONLY = {Resource.METERS: Access.WRITE}


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def store() -> MemoryControlStore:
    return MemoryControlStore()


@pytest.fixture
def accounts(store: MemoryControlStore, clock: SettableClock) -> Accounts:
    return Accounts(store, clock, CountingEntropy())


@pytest.fixture
def tenant(accounts: Accounts) -> Tenant:
    return Tenant(accounts.default().id, False)


@pytest.fixture
def keys(store: MemoryControlStore, clock: SettableClock) -> Keys:
    return Keys(store, clock, CountingEntropy())


def test_the_default_account_is_made_once(accounts: Accounts, store: MemoryControlStore) -> None:
    account = accounts.default()
    assert account.id.startswith("acct_") and len(account.id) == len("acct_") + 16
    assert accounts.default() == account == store.first_account()


@pytest.mark.parametrize(("livemode", "prefix"), [(False, "sk_test_"), (True, "sk_live_")])
def test_a_created_secret_authenticates_as_its_tenant(keys: Keys, tenant: Tenant, livemode: bool, prefix: str) -> None:
    of_mode = replace(tenant, livemode=livemode)
    key, secret = keys.create(of_mode)
    assert secret.startswith(prefix) and len(secret) == len(prefix) + 32
    assert key.id.startswith("key_") and len(key.id) == len("key_") + 16
    assert key.hint == secret[-4:]
    assert keys.authenticate(secret, METERS_READ) == Principal(of_mode, key.id)


def test_the_secret_itself_is_never_stored(keys: Keys, tenant: Tenant) -> None:
    key, secret = keys.create(tenant)
    assert key.secret_hash == hash_secret(secret)
    assert secret not in repr(keys.list(tenant.account_id))


def test_two_keys_have_different_secrets(keys: Keys, tenant: Tenant) -> None:
    (first, first_secret), (second, second_secret) = keys.create(tenant), keys.create(tenant)
    assert first_secret != second_secret and first.id != second.id


def test_adopting_the_same_secret_again_gives_the_same_key(keys: Keys, tenant: Tenant, clock: SettableClock) -> None:
    key = keys.adopt(tenant, ADOPTED)
    clock.ms += 1
    assert keys.adopt(tenant, ADOPTED) == key
    assert keys.list(tenant.account_id) == (key,)
    assert keys.authenticate(ADOPTED, METERS_READ) == Principal(tenant, key.id)


def test_a_short_secret_gives_no_hint_of_itself(keys: Keys, tenant: Tenant) -> None:
    assert keys.adopt(tenant, ADOPTED).hint == "wxyz"
    assert keys.adopt(tenant, "sk_test_abcd").hint == ""


def test_a_secret_of_the_other_mode_is_not_adopted(keys: Keys, tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest, match="test mode and cannot be a key of live mode") as refused:
        keys.adopt(replace(tenant, livemode=True), ADOPTED)
    assert ADOPTED not in refused.value.message
    assert keys.list(tenant.account_id) == ()


def test_what_is_no_secret_key_is_not_adopted(keys: Keys, tenant: Tenant) -> None:
    with pytest.raises(InvalidRequest):
        keys.adopt(tenant, "password")


def test_a_revoked_secret_is_not_adopted_again(keys: Keys, tenant: Tenant) -> None:
    keys.revoke(keys.adopt(tenant, ADOPTED).id)
    with pytest.raises(StartRefused, match="was revoked") as refused:
        keys.adopt(tenant, ADOPTED)
    assert ADOPTED not in refused.value.message


def test_a_secret_of_another_account_is_not_adopted(keys: Keys, tenant: Tenant, store: MemoryControlStore) -> None:
    account = store.first_account()
    assert account is not None
    store.add_account(replace(account, id="acct_other"))
    keys.adopt(tenant, ADOPTED)
    with pytest.raises(StartRefused, match="another account"):
        keys.adopt(Tenant("acct_other", False), ADOPTED)


def test_a_revoked_key_no_longer_authenticates_and_keeps_its_first_time(
    keys: Keys, tenant: Tenant, clock: SettableClock
) -> None:
    key, secret = keys.create(tenant)
    clock.ms = 2_000
    assert keys.revoke(key.id).revoked_ms == 2_000
    clock.ms = 3_000
    assert keys.revoke(key.id).revoked_ms == 2_000
    with pytest.raises(Unauthenticated, match="Revoked"):
        keys.authenticate(secret, METERS_READ)


def test_revoking_an_unknown_key_raises(keys: Keys) -> None:
    with pytest.raises(NotFound, match="key_x"):
        keys.revoke("key_x")


REFUSED = [
    "",
    "sk_test_",
    "sk_test_abcd",
    "sk_test_UnknownUnknownUnknownUnknown",
    "sk_live_51HchosenByTheOperator0wxyz",
    "rk_test_RestrictedRestrictedRestrict",
    "pk_test_PublishablePublishablePublis",
    "sk_test_51HchosenByTheOperator0wxyz ",
    "sk_test_51HchosenByTheOperator0wxyzé",
    "sk_test_\ud800\ud800\ud800\ud800\ud800\ud800",
    ADOPTED.upper(),
    hash_secret(ADOPTED),
]


@pytest.mark.parametrize("secret", REFUSED)
def test_any_other_secret_is_refused_without_being_repeated(keys: Keys, tenant: Tenant, secret: str) -> None:
    keys.adopt(tenant, ADOPTED)
    with pytest.raises(Unauthenticated) as refused:
        keys.authenticate(secret, METERS_READ)
    unknown_part = secret.removeprefix("sk_test_").removeprefix("sk_live_").removeprefix("rk_test_")
    assert not unknown_part or unknown_part not in refused.value.message


def test_a_session_token_in_place_of_a_key_is_told_to_be_one(keys: Keys) -> None:
    with pytest.raises(Unauthenticated, match="use a secret key") as refused:
        keys.authenticate("mest_test_abcdefgh", METERS_READ)
    assert "abcdefgh" not in refused.value.message


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (ADOPTED, "sk_test_****wxyz"),
        ("sk_test_abcd", "sk_test_****"),
        ("sk_live_" + "a" * 16, "sk_live_****aaaa"),
        ("rk_test_" + "a" * 16, "rk_test_****aaaa"),
        ("anything else that is long enough", "****"),
    ],
)
def test_a_redacted_secret_shows_its_prefix_and_at_most_four_characters(secret: str, shown: str) -> None:
    assert redacted(secret) == shown


# Restricted keys


@pytest.mark.parametrize(("livemode", "prefix"), [(False, "rk_test_"), (True, "rk_live_")])
def test_a_restricted_key_is_a_key_with_a_list_of_what_it_may_do(
    keys: Keys, tenant: Tenant, livemode: bool, prefix: str
) -> None:
    of_mode = replace(tenant, livemode=livemode)
    key, secret = keys.create(of_mode, METERS_ONLY)
    assert secret.startswith(prefix) and len(secret) == len(prefix) + 32
    assert (key.permissions, key.hint, key.secret_hash) == (METERS_ONLY, secret[-4:], hash_secret(secret))
    assert keys.list(tenant.account_id) == (key,)
    assert secret not in repr(key)
    assert keys.authenticate(secret, METERS_WRITE) == Principal(of_mode, key.id)


def test_what_a_restricted_key_lacks_is_named_without_its_secret(keys: Keys, tenant: Tenant) -> None:
    _, secret = keys.create(tenant, METERS_ONLY)
    with pytest.raises(PermissionDenied, match="does not have the permission customers=read") as refused:
        keys.authenticate(secret, CUSTOMERS_READ)
    assert secret not in refused.value.message and f"rk_test_****{secret[-4:]}" in refused.value.message
    assert tenant.account_id in refused.value.message


def test_a_key_with_no_permissions_may_do_nothing_which_is_not_the_same_as_a_secret_key(
    keys: Keys, tenant: Tenant
) -> None:
    key, secret = keys.create(tenant, {})
    assert secret.startswith("rk_test_") and key.permissions == {}
    with pytest.raises(PermissionDenied):
        keys.authenticate(secret, METERS_READ)


def test_a_revoked_restricted_key_is_told_so_whatever_it_may_do(keys: Keys, tenant: Tenant) -> None:
    key, secret = keys.create(tenant, METERS_ONLY)
    keys.revoke(key.id)
    for needed in (METERS_READ, CUSTOMERS_READ):
        with pytest.raises(Unauthenticated, match="Revoked"):
            keys.authenticate(secret, needed)


def test_a_restricted_key_is_not_adopted_because_nothing_says_what_it_may_do(keys: Keys, tenant: Tenant) -> None:
    chosen = "rk_test_51HchosenByTheOperator0wxyz"
    with pytest.raises(InvalidRequest, match="starts with sk_test_ or sk_live_") as refused:
        keys.adopt(tenant, chosen)
    assert chosen not in refused.value.message
    assert keys.list(tenant.account_id) == ()


# Keys that were seen a moment ago


def test_a_key_is_known_for_a_moment_after_it_authenticated(keys: Keys, tenant: Tenant, clock: SettableClock) -> None:
    key, secret = keys.create(tenant)
    assert keys.seen(secret, METERS_READ) is None
    keys.authenticate(secret, METERS_READ)
    clock.ms += 1_999
    assert keys.seen(secret, METERS_WRITE) == Principal(tenant, key.id)
    clock.ms += 1
    assert keys.seen(secret, METERS_WRITE) is None
    keys.authenticate(secret, METERS_READ)
    clock.ms -= 1  # a clock that was set back must not make a moment last longer
    assert keys.seen(secret, METERS_WRITE) is None


def test_a_key_that_is_known_may_do_no_more_than_before(keys: Keys, tenant: Tenant) -> None:
    _, secret = keys.create(tenant, METERS_ONLY)
    keys.authenticate(secret, METERS_READ)
    assert keys.seen(secret, METERS_WRITE) is not None
    with pytest.raises(PermissionDenied, match="customers=read"):
        keys.seen(secret, CUSTOMERS_READ)


def test_a_key_that_is_revoked_here_is_unknown_at_once(keys: Keys, tenant: Tenant) -> None:
    key, secret = keys.create(tenant)
    keys.authenticate(secret, METERS_READ)
    keys.revoke(key.id)
    assert keys.seen(secret, METERS_READ) is None


@pytest.mark.parametrize("secret", REFUSED)
def test_what_is_no_key_never_becomes_known(keys: Keys, secret: str) -> None:
    with pytest.raises(Unauthenticated):
        keys.authenticate(secret, METERS_READ)
    assert keys.seen(secret, METERS_READ) is None


def test_a_secret_is_known_by_a_comparison_in_constant_time(
    keys: Keys, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = keys.create(tenant)
    with monkeypatch.context() as patched, pytest.raises(Unauthenticated):
        patched.setattr(hmac, "compare_digest", lambda left, right: False)
        keys.authenticate(secret, METERS_READ)
    assert keys.authenticate(secret, METERS_READ)
