"""Event destinations: where notifications are sent. Webhook endpoints of version 1 are destinations too."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from streamgauge.domain.account import Tenant
from streamgauge.domain.notification import EVERY_TYPE, STYLES, Notification, Style

SIGNING_SECRET_PREFIX: Final = "whsec_"
SIGNING_ROOT_BYTES: Final = 32
# For how long at most the secret before a roll goes on signing.
ROLL_EXPIRY_SECONDS_MAX: Final = 24 * 60 * 60
URL_LENGTH_MAX: Final = 2_048
_TYPE_SHOWN_MAX: Final = 100


class MadeBy(StrEnum):
    """The API that made a destination. Either shows all; only ids and the members that are shown differ."""

    V1 = "v1"
    V2 = "v2"


class DisabledReason(StrEnum):
    USER = "user"
    # Ours: every attempt failed for days.
    FAILING = "failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDestination:
    """One destination, always a webhook endpoint. `enabled_events` are types, or the one entry `*`.

    The signing secret is not stored: it is made of the root, the id and `secret_version` (`signing_secrets`). The
    version before it signs too until `previous_secret_expires_ms`. `failing_since_ms` is when the first of the
    failures came that no success has followed; the outbox writes it.
    """

    id: str
    tenant: Tenant
    made_by: MadeBy
    name: str
    description: str
    url: str
    style: Style
    enabled_events: tuple[str, ...]
    metadata: Mapping[str, str]
    api_version: str | None
    created_ms: int
    updated_ms: int
    disabled_reason: DisabledReason | None = None
    secret_version: int = 1
    previous_secret_expires_ms: int | None = None
    failing_since_ms: int | None = None

    @property
    def is_enabled(self) -> bool:
        return self.disabled_reason is None

    def listens_to(self, notification: Notification) -> bool:
        """Whether it is to be told; a destination that is disabled hears of nothing."""
        if not self.is_enabled or self.tenant != notification.tenant or self.style is not notification.style:
            return False
        return notification.type in self.enabled_events or EVERY_TYPE in self.enabled_events


def signing_secrets(root: bytes, destination: EventDestination, now_ms: int) -> tuple[str, ...]:
    """The secrets that sign what is sent to `destination` now: the current one first, then one that was rolled."""
    current = signing_secret(root, destination.id, destination.secret_version)
    expires_ms = destination.previous_secret_expires_ms
    if expires_ms is None or expires_ms <= now_ms:
        return (current,)
    return current, signing_secret(root, destination.id, destination.secret_version - 1)


def signing_secret(root: bytes, destination_id: str, version: int) -> str:
    """`whsec_` and 64 hex digits. Versions begin with 1."""
    # The number comes last and an id has no NUL, so no two destinations and versions make the same text.
    text = f"webhook signing secret\0{destination_id}\0{version}".encode()
    return SIGNING_SECRET_PREFIX + hmac.new(root, text, hashlib.sha256).hexdigest()


def fault_of_url(url: str, *, livemode: bool) -> str | None:
    """What is wrong with it as the address of a webhook endpoint, as a sentence; None: nothing.

    Where its name leads to is another question, asked anew at every attempt.
    """
    if len(url) > URL_LENGTH_MAX:
        return f"it has {len(url)} characters; it must be at most {URL_LENGTH_MAX}."
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "it has characters that a URL is to have encoded: spaces, controls, backslashes or letters beyond ASCII."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"it cannot be read ({error})."
    if parts.scheme not in ("https", "http"):
        return "it must begin with https:// or, in test mode, http://."
    if not parts.hostname:
        return "it names no host."
    if "@" in parts.netloc:
        return "it has a user name or password in it, which would be sent nowhere and shown to everyone."
    if port == 0:
        return "its port is 0."
    if livemode and parts.scheme != "https":
        return "live mode sends to https:// only."
    return None


def fault_of_types(enabled_events: Sequence[str], style: Style) -> tuple[int | None, str] | None:
    """What is wrong with a list of types: at which index, if at one, and a sentence. None: nothing."""
    known = [each for each, of_style in STYLES.items() if of_style is style]
    if not enabled_events:
        return None, "enabled_events must name at least one event type, or *."
    for index, each in enumerate(enabled_events):
        if each == EVERY_TYPE or each in known:
            continue
        shown = each[:_TYPE_SHOWN_MAX]
        if each in STYLES:
            return index, f"enabled_events[{index}] cannot be {shown}, which is sent as a {STYLES[each]} event only."
        return index, f"enabled_events[{index}] must be one of {', '.join(known)}, *, and is {shown}."
    return None
