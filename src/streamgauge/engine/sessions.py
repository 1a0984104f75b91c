"""Meter event sessions: the short-lived credential for the stream."""

import threading

from streamgauge.domain.credential import SESSION_TOKEN_PREFIX, MeterEventSession, Principal, hash_secret, same_hash
from streamgauge.domain.errors import SessionExpired, Unauthenticated
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore

# For so long a token that has expired is told from one that never was.
EXPIRED_KEPT_MS = 24 * 60 * 60 * 1_000
FORGET_INTERVAL_MS = 60_000
KEY_PREFIXES = ("sk_", "rk_")


class Sessions:
    """Opens sessions for secret keys and recognises their tokens. The token is handed out once and never stored."""

    def __init__(self, store: ControlStore, clock: Clock, entropy: Entropy, *, lifetime_seconds: int) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._lifetime_ms = lifetime_seconds * 1_000
        self._lock = threading.Lock()
        self._forgot_ms: int | None = None

    def open(self, principal: Principal) -> tuple[MeterEventSession, str]:
        """A new session and its token, for whoever authenticated with a secret key."""
        now_ms = self._clock.now_ms()
        self._forget(now_ms)
        mode = "live_" if principal.tenant.livemode else "test_"
        token = SESSION_TOKEN_PREFIX + mode + self._entropy.token(48)
        session = MeterEventSession(
            id="mes_" + self._entropy.token(24),
            tenant=principal.tenant,
            key_id=principal.key_id,
            token_hash=hash_secret(token),
            created_ms=now_ms,
            expires_ms=now_ms + self._lifetime_ms,
        )
        self._store.add_session(session)
        return session, token

    def authenticate(self, token: str) -> tuple[Principal, int]:
        """Whom the token belongs to, and until when (ms; from then on it is refused).

        Raises Unauthenticated for anything that is not the token of a session whose key still holds, SessionExpired
        for a session past its lifetime. No message holds the token.
        """
        if token.startswith(KEY_PREFIXES):
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

    def _forget(self, now_ms: int) -> None:
        with self._lock:
            # A clock that was set back must not put this off until it has caught up.
            is_recent = self._forgot_ms is not None and 0 <= now_ms - self._forgot_ms < FORGET_INTERVAL_MS
            if is_recent:
                return
            self._forgot_ms = now_ms
        self._store.forget_sessions(now_ms - EXPIRED_KEPT_MS)
