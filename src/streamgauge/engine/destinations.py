"""Event destinations: made, changed, switched on and off, pinged; and the secrets that sign what they are sent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import InvalidRequest, NotFound
from streamgauge.domain.event_destination import (
    ROLL_EXPIRY_SECONDS_MAX,
    DisabledReason,
    EventDestination,
    MadeBy,
    fault_of_types,
    fault_of_url,
    signing_secret,
    signing_secrets,
)
from streamgauge.domain.notification import DESTINATION_DISABLED, DESTINATION_PING, Cause, Notification, Style
from streamgauge.engine.notifications import NotificationDraft, Notifications, destination_reference
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore, Listed, Page
from streamgauge.engine.ports.destinations import DestinationStore

DESTINATIONS_MAX = 100  # of one tenant: each notification looks at all of them
_PREFIXES = {MadeBy.V1: "we_", MadeBy.V2: "ed_"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationDraft:
    """What a caller says of a destination that is to be made; the edge has checked lengths."""

    made_by: MadeBy
    name: str
    description: str
    url: str
    style: Style
    enabled_events: tuple[str, ...]
    metadata: Mapping[str, str]
    api_version: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationChanges:
    """What is to change; None leaves it. In `metadata`, merged key by key, None or an empty text removes a key."""

    name: str | None = None
    description: str | None = None
    url: str | None = None
    enabled_events: tuple[str, ...] | None = None
    metadata: Mapping[str, str | None] | None = None
    enabled: bool | None = None


class Destinations:
    """A destination's signing secret is made of `signing_root` whenever it is needed, and never stored."""

    def __init__(
        self,
        control: ControlStore,
        store: DestinationStore,
        notifications: Notifications,
        clock: Clock,
        entropy: Entropy,
        signing_root: bytes,
    ) -> None:
        self._control = control
        self._store = store
        self._notifications = notifications
        self._clock = clock
        self._entropy = entropy
        self._signing_root = signing_root

    def create(self, tenant: Tenant, draft: DestinationDraft) -> EventDestination:
        """Raises InvalidRequest for a URL or a type that cannot be, and when there are too many."""
        _check_url(draft.url, tenant)
        _check_types(draft.enabled_events, draft.style)
        now_ms = self._clock.now_ms()
        destination = EventDestination(
            id=_PREFIXES[draft.made_by] + self._entropy.token(24),
            tenant=tenant,
            made_by=draft.made_by,
            name=draft.name,
            description=draft.description,
            url=draft.url,
            style=draft.style,
            enabled_events=draft.enabled_events,
            metadata=_merged({}, draft.metadata),
            api_version=draft.api_version,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        with self._control.transaction():
            if self._store.count(tenant) >= DESTINATIONS_MAX:
                raise InvalidRequest(
                    f"There are {DESTINATIONS_MAX} event destinations and webhook endpoints already, which is the most "
                    "there can be. Delete one that is not needed."
                )
            self._store.add(destination)
        return destination

    def get(self, tenant: Tenant, destination_id: str) -> EventDestination:
        """Raises NotFound."""
        found = self._store.get(tenant, destination_id)
        if found is None:
            raise _no_such(destination_id)
        return found

    def list(self, tenant: Tenant, page: Page, style: Style | None = None) -> Listed[EventDestination]:
        """By whichever API they were made; with a style only those that get such notifications."""
        return self._store.list(tenant, page, style)

    def update(self, tenant: Tenant, destination_id: str, changes: DestinationChanges) -> EventDestination:
        """Raises NotFound, and InvalidRequest as `create` does."""

        def changed(known: EventDestination, now_ms: int) -> EventDestination:
            if changes.url is not None:
                _check_url(changes.url, tenant)
            if changes.enabled_events is not None:
                _check_types(changes.enabled_events, known.style)
            renewed = replace(
                known,
                name=known.name if changes.name is None else changes.name,
                description=known.description if changes.description is None else changes.description,
                url=known.url if changes.url is None else changes.url,
                enabled_events=known.enabled_events if changes.enabled_events is None else changes.enabled_events,
                metadata=_merged(known.metadata, changes.metadata or {}),
                updated_ms=now_ms,
            )
            return renewed if changes.enabled is None else _switched(renewed, changes.enabled)

        return self._change(tenant, destination_id, changed)

    def switch(self, tenant: Tenant, destination_id: str, *, enabled: bool) -> EventDestination:
        """Enable or disable it; what is so already stays as it is. What was due before goes on when it is enabled."""
        return self._change(
            tenant, destination_id, lambda known, now_ms: replace(_switched(known, enabled), updated_ms=now_ms)
        )

    def disable_failing(self, destination: EventDestination) -> bool:
        """Disable one that has failed for too long, and tell the others of it; whether it was failing still."""
        with self._control.transaction():
            known = self._store.get(destination.tenant, destination.id)
            # Meanwhile it was answered, or somebody has switched it: what the caller saw is not so any more.
            if known is None or not known.is_enabled or known.failing_since_ms is None:
                return False
            now_ms = self._clock.now_ms()
            self._store.save(replace(known, disabled_reason=DisabledReason.FAILING, updated_ms=now_ms))
            self._notifications.announce(
                NotificationDraft(
                    tenant=known.tenant,
                    type=DESTINATION_DISABLED,
                    data={"reason": DisabledReason.FAILING.value},
                    related=destination_reference(known.id),
                )
            )
            return True

    def delete(self, tenant: Tenant, destination_id: str) -> None:
        """What is pending for it is cancelled. Raises NotFound."""
        if not self._store.delete(tenant, destination_id, self._clock.now_ms()):
            raise _no_such(destination_id)

    def ping(self, tenant: Tenant, destination_id: str, cause: Cause | None = None) -> Notification:
        """Send it a notification that means nothing else. Raises InvalidRequest when it is disabled."""
        with self._control.transaction():
            destination = self.get(tenant, destination_id)
            if not destination.is_enabled:
                raise InvalidRequest(f"{destination_id} is disabled; enable it first.", param="id")
            return self._notifications.announce(
                NotificationDraft(
                    tenant=tenant,
                    type=DESTINATION_PING,
                    data={},
                    related=destination_reference(destination_id),
                    cause=cause,
                ),
                only_to=destination,
            )

    def roll_secret(self, tenant: Tenant, destination_id: str, expires_in_seconds: int) -> EventDestination:
        """Sign with a new secret from now on, and for so long with the one before, too. 0: at once with the new alone.

        One that was rolled earlier and signs still ends now. Raises NotFound.
        """
        if not 0 <= expires_in_seconds <= ROLL_EXPIRY_SECONDS_MAX:
            raise InvalidRequest(f"expires_in must be between 0 and {ROLL_EXPIRY_SECONDS_MAX}.", param="expires_in")

        def rolled(known: EventDestination, now_ms: int) -> EventDestination:
            return replace(
                known,
                secret_version=known.secret_version + 1,
                previous_secret_expires_ms=now_ms + expires_in_seconds * 1_000 if expires_in_seconds else None,
                updated_ms=now_ms,
            )

        return self._change(tenant, destination_id, rolled)

    def secret(self, destination_id: str, version: int) -> str:
        """The signing secret of that version."""
        return signing_secret(self._signing_root, destination_id, version)

    def signing_secrets(self, destination: EventDestination) -> Sequence[str]:
        """The secrets that sign what is sent to it now, the current one first."""
        return signing_secrets(self._signing_root, destination, self._clock.now_ms())

    def _change(
        self, tenant: Tenant, destination_id: str, changed: Callable[[EventDestination, int], EventDestination]
    ) -> EventDestination:
        # Read inside of the transaction: of two changes at once the second builds on the first.
        with self._control.transaction():
            destination = changed(self.get(tenant, destination_id), self._clock.now_ms())
            self._store.save(destination)
        return destination


def _switched(destination: EventDestination, enabled: bool) -> EventDestination:
    if enabled == destination.is_enabled:
        return destination
    # Whoever enables it again says that it works now: its failures of before must not disable it at the next one.
    reason, since_ms = (None, None) if enabled else (DisabledReason.USER, destination.failing_since_ms)
    return replace(destination, disabled_reason=reason, failing_since_ms=since_ms)


def _check_url(url: str, tenant: Tenant) -> None:
    fault = fault_of_url(url, livemode=tenant.livemode)
    if fault is not None:
        raise InvalidRequest(f"Invalid URL: {fault}", param="url", reason="url_invalid")


def _check_types(enabled_events: Sequence[str], style: Style) -> None:
    fault = fault_of_types(enabled_events, style)
    if fault is not None:
        index, message = fault
        raise InvalidRequest(message, param="enabled_events" if index is None else f"enabled_events[{index}]")


def _merged(known: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**known, **changes}.items() if value}


def _no_such(destination_id: str) -> NotFound:
    return NotFound(f"No such event destination: '{destination_id}'", param="id")
