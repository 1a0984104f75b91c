"""Secret and restricted keys: made or adopted, listed, revoked, and recognised in requests."""

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import (
    KEY_PREFIXES,
    RESTRICTED_KEY_PREFIXES,
    SECRET_KEY_PREFIXES,
    SESSION_TOKEN_PREFIX,
    Principal,
    SecretKey,
    hash_secret,
    livemode_of_secret,
    same_hash,
)
from streamgauge.domain.errors import InvalidRequest, NotFound, PermissionDenied, StartRefused, Unauthenticated
from streamgauge.domain.permission import Permission, Permissions
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore

HINT_LENGTH = 4
_FRESH_MS = 2_000
_SEEN_MAX = 10_000
# A secret that was adopted may be as short as 12 characters; its last four would then be all that is secret in it.
HINTED_SECRET_LENGTH_MIN = 24


class Keys:
    """The secret itself is handed out once, by `create`, and never stored."""

    def __init__(self, store: ControlStore, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._seen: dict[str, tuple[SecretKey, int]] = {}

    def create(self, tenant: Tenant, permissions: Permissions | None = None) -> tuple[SecretKey, str]:
        """A new key and its secret: a secret key, or with `permissions` a restricted one."""
        prefixes = SECRET_KEY_PREFIXES if permissions is None else RESTRICTED_KEY_PREFIXES
        prefix = next(prefix for prefix, livemode in prefixes.items() if livemode == tenant.livemode)
        secret = prefix + self._entropy.token(32)
        return self._add(tenant, secret, permissions), secret

    def adopt(self, tenant: Tenant, secret: str) -> SecretKey:
        """The key of a secret that the operator chose. The same secret again gives the same key.

        Raises InvalidRequest when it is not a secret key or its prefix names the other mode, StartRefused when that
        key was revoked or is another account's.
        """
        livemode = livemode_of_secret(secret)
        if livemode is None or not secret.startswith(tuple(SECRET_KEY_PREFIXES)):
            raise InvalidRequest("a secret key starts with sk_test_ or sk_live_ and has at least 12 characters")
        if livemode != tenant.livemode:
            raise InvalidRequest(
                f"the secret key {redacted(secret)} is for {_mode(livemode)} mode and "
                f"cannot be a key of {_mode(tenant.livemode)} mode"
            )
        known = self._store.find_secret_key(hash_secret(secret))
        if known is None:
            return self._add(tenant, secret)
        if known.revoked_ms is not None:
            raise StartRefused(
                f"the secret key {redacted(secret)} ({known.id}) was revoked and stays so: choose another one"
            )
        if known.tenant != tenant:
            raise StartRefused(
                f"the secret key {redacted(secret)} ({known.id}) is another account's: choose another one"
            )
        return known

    def list(self, account_id: str) -> tuple[SecretKey, ...]:
        """Every key of both modes, oldest first, revoked ones included."""
        return self._store.list_secret_keys(account_id)

    def revoke(self, key_id: str) -> SecretKey:
        """From now on the key and its sessions are refused. Revoking again changes nothing."""
        key = self._store.revoke_secret_key(key_id, self._clock.now_ms())
        self._seen = {}
        if key is None:
            raise NotFound(f"No such secret key: '{key_id}'", param="id")
        return key

    def authenticate(self, secret: str, needed: Permission) -> Principal:
        """Whom the secret belongs to.

        Raises Unauthenticated, with a message that never holds the secret, or PermissionDenied when it belongs to a
        restricted key without the permission that is needed.
        """
        # Before the store is asked: what is revoked meanwhile must not be remembered as good.
        seen, asked_ms = self._seen, self._clock.now_ms()
        key = self._known(secret)
        if len(seen) >= _SEEN_MAX:
            seen.clear()
        seen[key.secret_hash] = key, asked_ms
        return _principal(key, secret, needed)

    def check(self, secret: str) -> None:
        """Raises Unauthenticated like `authenticate`, whatever is wanted of the key."""
        self._known(secret)

    def _known(self, secret: str) -> SecretKey:
        if secret.startswith(SESSION_TOKEN_PREFIX):
            raise Unauthenticated(
                "A meter event session's token was given, which is only for the meter event stream: "
                "use a secret key (sk_test_... or sk_live_...) or a restricted one (rk_...) here."
            )
        if livemode_of_secret(secret) is None:
            raise Unauthenticated(
                f"Invalid API Key provided: {redacted(secret)}: use a secret key (sk_test_... or sk_live_...) or a "
                "restricted one (rk_...)."
            )
        secret_hash = hash_secret(secret)
        key = self._store.find_secret_key(secret_hash)
        if key is None or not same_hash(key.secret_hash, secret_hash):
            raise Unauthenticated(f"Invalid API Key provided: {redacted(secret)}")
        if key.revoked_ms is not None:
            raise Unauthenticated(f"Revoked API Key provided: {redacted(secret)}")
        return key

    def seen(self, secret: str, needed: Permission) -> Principal | None:
        """Like `authenticate` for a key that was good a moment ago, without asking the store; None: ask.

        "A moment" is how long a key still works that another process has revoked.
        """
        key, seen_ms = self._seen.get(hash_secret(secret), (None, 0))
        if key is None or not 0 <= self._clock.now_ms() - seen_ms < _FRESH_MS:
            return None
        return _principal(key, secret, needed)

    def _add(self, tenant: Tenant, secret: str, permissions: Permissions | None = None) -> SecretKey:
        key = SecretKey(
            id="key_" + self._entropy.token(16),
            tenant=tenant,
            secret_hash=hash_secret(secret),
            hint=_hint(secret),
            created_ms=self._clock.now_ms(),
            permissions=permissions,
        )
        self._store.add_secret_key(key)
        return key


def _principal(key: SecretKey, secret: str, needed: Permission) -> Principal:
    if key.permissions is not None and not needed.is_in(key.permissions):
        raise PermissionDenied(
            f"The provided key '{redacted(secret)}' does not have the permission {needed} that this call needs on "
            f"account '{key.tenant.account_id}'. A key with that permission would allow this request to continue."
        )
    return Principal(key.tenant, key.id)


def redacted(secret: str) -> str:
    """Enough of a secret to know it by: its prefix, and its last characters if enough others stay unknown."""
    prefix = next((prefix for prefix in KEY_PREFIXES if secret.startswith(prefix)), "")
    return f"{prefix}****{_hint(secret) if prefix else ''}"


def _hint(secret: str) -> str:
    if livemode_of_secret(secret) is None or len(secret) < HINTED_SECRET_LENGTH_MIN:
        return ""
    return secret[-HINT_LENGTH:]


def _mode(livemode: bool) -> str:
    return "live" if livemode else "test"
