"""Credentials: secret and restricted keys, meter event sessions, and whom a request turned out to come from."""

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum

from streamgauge.domain.account import Tenant
from streamgauge.domain.permission import Permissions

SECRET_KEY_LENGTH_MIN = 12
# Each with the mode it is for. A restricted key is a secret key with a list of what it may do.
SECRET_KEY_PREFIXES = {"sk_test_": False, "sk_live_": True}
RESTRICTED_KEY_PREFIXES = {"rk_test_": False, "rk_live_": True}
KEY_PREFIXES = SECRET_KEY_PREFIXES | RESTRICTED_KEY_PREFIXES
SESSION_TOKEN_PREFIX = "mest_"


class CredentialKind(StrEnum):
    SECRET_KEY = "secret_key"
    SESSION_TOKEN = "session_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey:
    """A key as it is stored: never the secret, only its hash and its last characters to know it by.

    `permissions` are those of a restricted key; None: it may do everything.
    """

    id: str
    tenant: Tenant
    secret_hash: str
    hint: str
    created_ms: int
    revoked_ms: int | None = None
    permissions: Permissions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterEventSession:
    """The short-lived credential for the stream, as it is stored. It dies with the key that opened it.

    `nonce` is random and shown to nobody: the token is made of it and of the key's secret, so neither is enough.
    """

    id: str
    tenant: Tenant
    key_id: str
    token_hash: str
    nonce: str
    created_ms: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request comes from: a tenant, by which key, and through which session if any."""

    tenant: Tenant
    key_id: str
    session_id: str | None = None

    @classmethod
    def recorded(cls, account_id: object, livemode: object, key_id: object, session_id: object = None) -> "Principal":
        """As a record of the log names it. Raises ValueError when a part of it is no such thing."""
        is_text = isinstance(account_id, str) and isinstance(key_id, str) and isinstance(session_id, str | None)
        if not (is_text and isinstance(livemode, bool)):
            raise ValueError(f"{account_id!r}, {livemode!r}, {key_id!r}, {session_id!r} name no origin")
        # Half a pair of surrogates is a ValueError here, and would be one too late when it is hashed.
        f"{account_id}{key_id}{session_id}".encode()
        return cls(Tenant(account_id, livemode), key_id, session_id)  # type: ignore[arg-type]  # checked as one above


def hash_secret(secret: str) -> str:
    """SHA-256 as hex. Our secrets carry at least 128 random bits, so a slow password hash would add nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same_hash(left: str, right: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left, right)


def livemode_of_secret(secret: str) -> bool | None:
    """The mode that a key's prefix names; None when it is no well-formed secret or restricted key.

    The official command line takes keys of at least 12 characters in three `_`-separated parts.
    """
    if len(secret) < SECRET_KEY_LENGTH_MIN or not secret.isascii() or not secret.isprintable():
        return None
    for prefix, livemode in KEY_PREFIXES.items():
        if secret.startswith(prefix) and len(secret) > len(prefix):
            return livemode
    return None
