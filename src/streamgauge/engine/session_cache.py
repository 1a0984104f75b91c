"""Sessions that were seen a moment ago: the stream authenticates each request without asking the control store."""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Final

from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import SessionExpired, Unauthenticated
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.sessions import Sessions

# A session is looked up again when it was that long ago, beside the requests that use it.
_FRESH_MS: Final = 2_000
# It waits until the request that found it due has its answer: both need the interpreter, 3 ms of it for a look-up.
_AFTER_SECONDS: Final = 0.02
# From then on they wait for it. A revoked key ends its sessions within 5 s; this leaves room for a slow look-up.
_KNOWN_MS: Final = 4_000
_ENTRIES_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    expires_ms: int
    checked_ms: int


class SessionCache:
    """Keyed by a hash, so that no token stays in memory. Used from one event loop.

    However many requests need a session at the same time, one of them looks it up. And a session that is in use is
    looked up before it has to be: a busy edge would otherwise stop every time for what all its connections ask.
    """

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}
        self._look_ups: dict[bytes, asyncio.Task[Principal]] = {}

    def known(self, token: bytes) -> Principal | None:
        """Whom the token belongs to if that was looked up a moment ago; None: ask `authenticate`.

        Raises SessionExpired.
        """
        key = _key(token)
        entry = self._entries.get(key)
        now_ms = self._clock.now_ms()
        if entry is None or not 0 <= now_ms - entry.checked_ms < _KNOWN_MS:
            return None
        if now_ms >= entry.expires_ms:
            raise SessionExpired("The temporary session token has expired.")
        if now_ms - entry.checked_ms >= _FRESH_MS:
            self._look_up(key, token, after_seconds=_AFTER_SECONDS)
        return entry.principal

    async def authenticate(self, token: bytes) -> Principal:
        """The same, from the control store if need be. Raises Unauthenticated, SessionExpired, or what the store does.

        Who stops waiting leaves the look-up to the others.
        """
        principal = self.known(token)
        return await asyncio.shield(self._look_up(_key(token), token)) if principal is None else principal

    def _look_up(self, key: bytes, token: bytes, *, after_seconds: float = 0) -> "asyncio.Task[Principal]":
        """The look-up of this token that is under way, or a new one."""
        look_up = self._look_ups.get(key)
        if look_up is None:
            looked_up = self._looked_up(key, token, after_seconds)
            look_up = self._look_ups[key] = asyncio.get_running_loop().create_task(looked_up)
            look_up.add_done_callback(lambda ended: self._ended(key, ended))
        return look_up

    async def _looked_up(self, key: bytes, token: bytes, after_seconds: float) -> Principal:
        if after_seconds:
            await asyncio.sleep(after_seconds)
        checked_ms = self._clock.now_ms()
        principal, expires_ms = await asyncio.to_thread(self._sessions.authenticate, token.decode("latin-1"))
        if len(self._entries) >= _ENTRIES_MAX:
            self._entries.clear()
        self._entries[key] = _Entry(principal, expires_ms, checked_ms)
        return principal

    def _ended(self, key: bytes, look_up: "asyncio.Task[Principal]") -> None:
        del self._look_ups[key]
        # When nobody waited: the next request is refused for the same. What else failed is tried again by requests,
        # and told to those who have to wait for it.
        if not look_up.cancelled() and isinstance(look_up.exception(), (Unauthenticated, SessionExpired)):
            self._entries.pop(key, None)


def _key(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
