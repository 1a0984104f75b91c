"""Rate limits: so many events or requests a second for each account and mode, and no more."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Final, Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import RateLimited
from streamgauge.domain.permission import Permission
from streamgauge.engine.keys import Keys
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore

# What may come at once after a pause. A whole second's worth would let a tenth more than the limit through in ten
# seconds; with less than this, requests that happen to arrive together are refused for nothing.
BURST_SECONDS: Final = 0.1


class Limited(StrEnum):
    """What is counted; the value is the reason that a refusal carries."""

    EVENTS = "endpoint-rate"
    REQUESTS = "global-rate"


class Levels(Protocol):
    """What is in the bucket of each tenant: units, and when that was so (seconds of the limit's clock)."""

    def held(self) -> AbstractContextManager[None]:
        """Nobody else reads or writes a level meanwhile, in whatever process that shares them."""

    def get(self, tenant: Tenant) -> tuple[float, float] | None: ...

    def put(self, tenant: Tenant, level: float, then: float) -> None: ...


class OwnLevels:
    """Of one process. There are as many as tenants with a valid credential."""

    def __init__(self) -> None:
        self._levels: dict[Tenant, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def held(self) -> AbstractContextManager[None]:
        return _holding(self._lock)

    def get(self, tenant: Tenant) -> tuple[float, float] | None:
        return self._levels.get(tenant)

    def put(self, tenant: Tenant, level: float, then: float) -> None:
        self._levels[tenant] = level, then


@contextmanager
def _holding(lock: threading.Lock) -> Iterator[None]:
    with lock:
        yield


class RateLimit:
    """A token bucket for each tenant; thread-safe.

    A bucket fills with `per_second` units a second up to `burst`. A request takes as many units as it has, and may
    when so many are there, or half of what the bucket can hold: then it goes into debt, and the next one waits longer.
    So a request that is larger than a burst is served too, and no more comes through in the long run. (Half, because a
    bucket that had to be full would overflow until the next request happens to come, and let less through.)

    `seconds` is a clock that never goes back, and is the same for all who share `levels`.
    """

    def __init__(
        self, per_second: int, limited: Limited, seconds: Callable[[], float], levels: Levels | None = None
    ) -> None:
        self._per_second = per_second
        self._limited = limited
        self._seconds = seconds
        self.burst: Final = max(1.0, per_second * BURST_SECONDS)
        self._levels = OwnLevels() if levels is None else levels

    def take(self, tenant: Tenant, units: int) -> None:
        """Raises RateLimited, with the seconds after which the same request would be served; nothing is taken then."""
        needed = min(units, self.burst / 2)
        with self._levels.held():
            now = self._seconds()
            level, then = self._levels.get(tenant) or (self.burst, now)
            level = min(self.burst, level + (now - then) * self._per_second)
            if level >= needed:
                self._levels.put(tenant, level - units, now)
                return
        raise RateLimited(
            f"More than {self._per_second:,} {self._limited.name.lower()} a second came from this account in this "
            "mode. Nothing of this request was stored; send it again later.",
            reason=self._limited,
            retry_after_seconds=max(1, math.ceil((needed - level) / self._per_second)),
        )


class KeysWithinRate(Keys):
    """Keys that are recognised only as often as the limit allows.

    Every call but the stream's recognises its key once, with `seen` or else with `authenticate`; there its tenant
    becomes known, and nothing has been done for it. What has no valid credential is not counted: it has no tenant.
    """

    def __init__(self, store: ControlStore, clock: Clock, entropy: Entropy, limit: RateLimit) -> None:
        super().__init__(store, clock, entropy)
        self._limit = limit

    def authenticate(self, secret: str, needed: Permission) -> Principal:
        """Raises RateLimited too."""
        principal = super().authenticate(secret, needed)
        self._limit.take(principal.tenant, 1)
        return principal

    def seen(self, secret: str, needed: Permission) -> Principal | None:
        """Raises RateLimited too."""
        principal = super().seen(secret, needed)
        if principal is not None:
            self._limit.take(principal.tenant, 1)
        return principal
