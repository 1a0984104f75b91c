"""Meter event sessions: POST /v2/billing/meter_event_session."""

from typing import Literal

import msgspec

from streamgauge.api.exact import rfc3339
from streamgauge.api.operation import Call
from streamgauge.api.services import Services
from streamgauge.domain.errors import InvalidRequest

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class SessionObject(msgspec.Struct, frozen=True, kw_only=True):
    """`v2.billing.meter_event_session`. The token is shown here and never again: only its hash is stored."""

    id: str
    object: Literal["v2.billing.meter_event_session"] = "v2.billing.meter_event_session"
    authentication_token: str
    created: str
    expires_at: str
    livemode: bool


def create(services: Services, call: Call) -> SessionObject:
    _refuse_members(call.body)
    session, token = services.sessions.open(call.principal)
    return SessionObject(
        id=session.id,
        authentication_token=token,
        created=rfc3339(session.created_ms),
        expires_at=rfc3339(session.expires_ms),
        livemode=session.tenant.livemode,
    )


def _refuse_members(body: bytes) -> None:
    """The call takes no members, but clients send `{}`, some with no content type. Raises InvalidRequest otherwise."""
    if not body.strip():
        return
    try:
        members = _MEMBERS.decode(body)
    # Brackets nested without end are a RecursionError, bytes that are not UTF-8 a UnicodeDecodeError.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("The body must be empty or the JSON object {}.") from None
    for name in members:
        raise InvalidRequest("Unknown field; this call takes none.", param=name[:100])
