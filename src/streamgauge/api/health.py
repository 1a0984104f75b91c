"""/healthz and /readyz, for whoever restarts or routes: no credential, nothing about any account."""

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from streamgauge.api.operation import Endpoint, JsonAnswer
from streamgauge.api.services import Services


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    status: str
    reason: str | None = None


async def alive(request: Request) -> Response:
    """200 as long as the process answers at all, whatever the state of its storage."""
    return JsonAnswer(Health("alive"))


def readiness(services: Services) -> Endpoint:
    """200 only when events would be accepted now, else 503 with the reason."""

    async def ready(request: Request) -> Response:
        reason = await run_in_threadpool(services.status.ready)
        return JsonAnswer(Health("ready")) if reason is None else JsonAnswer(Health("not_ready", reason), 503)

    return ready
