"""A new signing secret: POST /streamgauge/event_destinations/{id}/roll_secret.

The original rolls secrets in its dashboard alone.
"""

from typing import Annotated, Literal

import msgspec

from streamgauge.api.exact import unix_seconds
from streamgauge.api.operation import Call, Secrets, operation
from streamgauge.api.parameters import Parameters
from streamgauge.api.services import Services
from streamgauge.domain.event_destination import ROLL_EXPIRY_SECONDS_MAX
from streamgauge.domain.permission import EVENT_DESTINATIONS_WRITE


class RollParameters(Parameters, frozen=True, kw_only=True):
    """`expires_in` is for how many seconds the secret until now goes on signing, beside the new one."""

    expires_in: Annotated[int, msgspec.Meta(ge=0, le=ROLL_EXPIRY_SECONDS_MAX)] = 0


class SigningSecretObject(msgspec.Struct, frozen=True, kw_only=True):
    """`streamgauge.signing_secret`: shown in this answer alone. Times are Unix seconds."""

    object: Literal["streamgauge.signing_secret"] = "streamgauge.signing_secret"
    event_destination: str
    signing_secret: str
    version: int
    previous_expires_at: int | None


def _without_secret(answer: SigningSecretObject) -> SigningSecretObject:
    return msgspec.structs.replace(answer, signing_secret="")


def _with_secret(services: Services, call: Call, answer: SigningSecretObject) -> SigningSecretObject:
    secret = services.destinations.secret(answer.event_destination, answer.version)
    return msgspec.structs.replace(answer, signing_secret=secret)


@operation(needs=EVENT_DESTINATIONS_WRITE, secrets=Secrets(_without_secret, _with_secret))
def roll(services: Services, call: Call, given: RollParameters) -> SigningSecretObject:
    """Sign what is sent to a destination with a new secret, webhook endpoints of version 1 among them."""
    destination = services.destinations.roll_secret(call.tenant, call.object_id("id"), given.expires_in)
    expires_ms = destination.previous_secret_expires_ms
    return SigningSecretObject(
        event_destination=destination.id,
        signing_secret=services.destinations.secret(destination.id, destination.secret_version),
        version=destination.secret_version,
        previous_expires_at=None if expires_ms is None else unix_seconds(expires_ms),
    )
