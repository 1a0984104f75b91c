"""Sessions that were seen a moment ago: the stream authenticates each request without asking the control store."""

import hashlib
from dataclasses import dataclass
from typing import Final

from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import SessionExpired
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.sessions import Sessions

# A revoked key ends its sessions within 5 s; this leaves room for a slow look-up.
_FRESH_MS: Final = 2_000
_ENTRIES_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    expires_ms: int
    checked_ms: int


class SessionCache:
    """Keyed by a hash, so that no token stays in memory. Used from one event loop."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    def known(self, token: bytes) -> Principal | None:
        """Whom the token belongs to if that was checked a moment ago; None: ask `look_up`. Raises SessionExpired."""
        entry = self._entries.get(_key(token))
        now_ms = self._clock.now_ms()
        if entry is None or not 0 <= now_ms - entry.checked_ms < _FRESH_MS:
            return None
        if now_ms >= entry.expires_ms:
            raise SessionExpired("The temporary session token has expired.")
        return entry.principal

    def look_up(self, token: bytes) -> Principal:
        """Ask the control store; blocks. Raises Unauthenticated or SessionExpired."""
        checked_ms = self._clock.now_ms()
        principal, expires_ms = self._sessions.authenticate(token.decode("latin-1"))
        if len(self._entries) >= _ENTRIES_MAX:
            self._entries.clear()
        self._entries[_key(token)] = _Entry(principal, expires_ms, checked_ms)
        return principal


def _key(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
