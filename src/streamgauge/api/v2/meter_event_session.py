"""Meter event sessions: POST /v2/billing/meter_event_session."""

from typing import Literal

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call, Secrets, operation
from streamgauge.api.services import Services
from streamgauge.api.v2.json_body import JsonBody
from streamgauge.domain.permission import SESSIONS_WRITE


class SessionParameters(JsonBody, frozen=True, kw_only=True):
    """Nothing: the body is absent, empty or `{}`."""


class SessionObject(msgspec.Struct, frozen=True, kw_only=True):
    """`v2.billing.meter_event_session`. The token is shown here and stored nowhere."""

    id: str
    object: Literal["v2.billing.meter_event_session"] = "v2.billing.meter_event_session"
    authentication_token: str
    created: str
    expires_at: str
    livemode: bool


def _without_token(answer: SessionObject) -> SessionObject:
    return msgspec.structs.replace(answer, authentication_token="")


def _with_token(services: Services, call: Call, answer: SessionObject) -> SessionObject:
    return msgspec.structs.replace(answer, authentication_token=services.sessions.token_again(answer.id, call.secret))


@operation(needs=SESSIONS_WRITE, secrets=Secrets(_without_token, _with_token))
def create(services: Services, call: Call, given: SessionParameters) -> SessionObject:
    """Open a meter event session: its token is the credential for the meter event stream."""
    session, token = services.sessions.open(call.principal, call.secret)
    return SessionObject(
        id=session.id,
        authentication_token=token,
        created=rfc3339(session.created_ms),
        expires_at=rfc3339(session.expires_ms),
        livemode=session.tenant.livemode,
    )
