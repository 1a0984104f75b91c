"""Idempotency: one request key, one effect, and the same answer however often it is asked.

For requests whose effect is in the control store; those with an effect in the event log keep their keys there.
"""

from collections.abc import Callable
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import IdempotencyKeyReused
from streamgauge.domain.request_key import KEPT_MS, RequestKey
from streamgauge.engine.occasion import Occasion
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.control_store import ControlStore, KeptAnswer

_FORGET_INTERVAL_MS: Final = 60_000


class Idempotency:
    def __init__(self, store: ControlStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._forgetting = Occasion(_FORGET_INTERVAL_MS)

    def once(
        self, tenant: Tenant, key: RequestKey, perform: Callable[[], tuple[int, bytes]]
    ) -> tuple[KeptAnswer, bool]:
        """The answer, and whether it is one from before.

        `perform` gives status and body. What it changes in the control store and its answer become durable together,
        so a crash leaves both or neither; of two requests with one key the second waits for the first. What it raises
        undoes everything and is not kept. Raises IdempotencyKeyReused when the key was used for something else.
        """
        now_ms = self._clock.now_ms()
        if self._forgetting.is_due(now_ms):
            self._store.forget_answers(now_ms - KEPT_MS)
        with self._store.transaction():
            known = self._store.find_answer(tenant, key.digest)
            if known is not None and now_ms - known.created_ms < KEPT_MS:
                refuse_other_use(key, known.fingerprint)
                return known, True
            status, body = perform()
            answer = KeptAnswer(
                tenant=tenant,
                digest=key.digest,
                fingerprint=key.fingerprint,
                status=status,
                body=body,
                created_ms=now_ms,
            )
            self._store.keep_answer(answer)
        return answer, False


def refuse_other_use(key: RequestKey, fingerprint: str) -> None:
    """Raises IdempotencyKeyReused unless the key came with this fingerprint before."""
    if key.fingerprint != fingerprint:
        raise IdempotencyKeyReused(
            "Keys for idempotent requests can only be used with the same parameters they were first used with. "
            "Use another Idempotency-Key if you meant to make a different request."
        )
