"""Request keys of what has its effect in the log: kept there, in the same write as the effect."""

from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.request_key import KEPT_MS, RequestKey
from streamgauge.engine.idempotency import refuse_other_use
from streamgauge.engine.occasion import Occasion
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import EventLog, KnownRequest

_FORGET_INTERVAL_MS: Final = 60_000


class LoggedRequests:
    def __init__(self, log: EventLog, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._forgetting = Occasion(_FORGET_INTERVAL_MS)

    def known(self, tenant: Tenant, key: RequestKey | None) -> KnownRequest | None:
        """Where the effect of the request with this key stands, if it was made within the last 24 hours.

        Raises IdempotencyKeyReused when the key was used for something else.
        """
        if key is None:
            return None
        now_ms = self._clock.now_ms()
        if self._forgetting.is_due(now_ms):
            self._log.forget_requests(now_ms - KEPT_MS)
        known = self._log.known_request(tenant, key.digest)
        if known is None or now_ms - known.received_at_ms >= KEPT_MS:
            return None
        refuse_other_use(key, known.fingerprint)
        return known
