"""Meter event sessions: the short-lived credential for the stream."""

import hashlib
import hmac

from streamgauge.domain.credential import (
    KEY_PREFIXES,
    SESSION_TOKEN_PREFIX,
    MeterEventSession,
    Principal,
    hash_secret,
    same_hash,
)
from streamgauge.domain.errors import NotFound, SessionExpired, Unauthenticated
from streamgauge.engine.occasion import Occasion
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore

# For so long a token that has expired is told from one that never was.
EXPIRED_KEPT_MS = 24 * 60 * 60 * 1_000
FORGET_INTERVAL_MS = 60_000


class Sessions:
    """Opens sessions for secret keys and recognises their tokens. The token is handed out once and never stored."""

    def __init__(self, store: ControlStore, clock: Clock, entropy: Entropy, *, lifetime_seconds: int) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._lifetime_ms = lifetime_seconds * 1_000
        self._forgetting = Occasion(FORGET_INTERVAL_MS)

    def open(self, principal: Principal, secret: str) -> tuple[MeterEventSession, str]:
        """A new session and its token, for whoever authenticated with this secret."""
        now_ms = self._clock.now_ms()
        if self._forgetting.is_due(now_ms):
            self._store.forget_sessions(now_ms - EXPIRED_KEPT_MS)
        nonce = self._entropy.token(24)
        token = _token(secret, nonce, livemode=principal.tenant.livemode)
        session = MeterEventSession(
            id="mes_" + self._entropy.token(24),
            tenant=principal.tenant,
            key_id=principal.key_id,
            token_hash=hash_secret(token),
            nonce=nonce,
            created_ms=now_ms,
            expires_ms=now_ms + self._lifetime_ms,
        )
        self._store.add_session(session)
        return session, token

    def token_again(self, session_id: str, secret: str) -> str:
        """The token of a session, for whoever authenticated with the secret that opened it. Raises NotFound."""
        session = self._store.get_session(session_id)
        if session is None:
            raise NotFound(f"No such meter event session: '{session_id}'")
        return _token(secret, session.nonce, livemode=session.tenant.livemode)

    def authenticate(self, token: str) -> tuple[Principal, int]:
        """Whom the token belongs to, and until when (ms; from then on it is refused).

        Raises Unauthenticated for anything that is not the token of a session whose key still holds, SessionExpired
        for a session past its lifetime. No message holds the token.
        """
        if token.startswith(tuple(KEY_PREFIXES)):
            raise Unauthenticated(
                "An API key was given, and the meter event stream takes none: open a session with "
                "POST /v2/billing/meter_event_session and use its authentication_token."
            )
        token_hash = hash_secret(token)
        found = self._store.find_session(token_hash)
        if found is None or not same_hash(found[0].token_hash, token_hash):
            raise Unauthenticated(
                "Unknown session token provided: open a session with POST /v2/billing/meter_event_session "
                "and use its authentication_token."
            )
        session, key = found
        if key.revoked_ms is not None:
            raise Unauthenticated("The secret key that opened this session was revoked: open one with another key.")
        if self._clock.now_ms() >= session.expires_ms:
            raise SessionExpired("The temporary session token has expired.")
        return Principal(session.tenant, session.key_id, session.id), session.expires_ms


def _token(secret: str, nonce: str, *, livemode: bool) -> str:
    """A token that is stored nowhere, and that who repeats a request with its secret gets again (HMAC-SHA-256)."""
    mac = hmac.digest(secret.encode("utf-8", "surrogatepass"), nonce.encode(), hashlib.sha256)
    mode = "live_" if livemode else "test_"
    return SESSION_TOKEN_PREFIX + mode + mac.hex()
