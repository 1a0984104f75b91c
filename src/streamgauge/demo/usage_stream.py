"""The stream as the official client sees it: a second client whose key is the session's token."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import stripe
    from stripe.params.v2.billing import MeterEventStreamCreateParamsEvent

EVENTS_PER_REQUEST_MAX = 100
NETWORK_RETRIES_MAX = 5
RENEWAL_SHARE_OF_LIFETIME = 0.9  # a session is replaced after this much of its life


def connect(key: str, base_url: str, http_client: "stripe.HTTPClient | None" = None) -> "stripe.StripeClient":
    """The official client for one base URL, with retries: StripeClient alone makes none."""
    import stripe

    return stripe.StripeClient(
        key,
        base_addresses={"api": base_url, "meter_events": base_url},
        max_network_retries=NETWORK_RETRIES_MAX,
        http_client=http_client or stripe.RequestsClient(),
    )


class UsageStream:
    """Sends batches of meter events, opening a meter event session when there is none or its end is near."""

    def __init__(self, control: "stripe.StripeClient", base_url: str, http_client: "stripe.HTTPClient") -> None:
        self._control = control
        self._base_url = base_url
        # Shared by all sessions, so that a renewal costs no new connection.
        self._http_client = http_client
        self._client: stripe.StripeClient | None = None
        self._renew_at_seconds = 0.0

    def send(self, events: "Sequence[MeterEventStreamCreateParamsEvent]") -> None:
        """Send up to EVENTS_PER_REQUEST_MAX events; when this returns they are durable.

        Raises stripe.StripeError after the client's retries; some or none of the events may then be stored, and
        sending them again is safe because of their identifiers.
        """
        import stripe

        client = self._client
        if client is None or time.monotonic() >= self._renew_at_seconds:
            client = self._open()
        try:
            client.v2.billing.meter_event_stream.create({"events": list(events)})
        except stripe.TemporarySessionExpiredError:
            self._open().v2.billing.meter_event_stream.create({"events": list(events)})

    def _open(self) -> "stripe.StripeClient":
        session = self._control.v2.billing.meter_event_session.create()
        # Only the length of the session is taken from the server, so that its clock and ours may differ.
        lifetime = datetime.fromisoformat(session.expires_at) - datetime.fromisoformat(session.created)
        self._renew_at_seconds = time.monotonic() + RENEWAL_SHARE_OF_LIFETIME * lifetime.total_seconds()
        self._client = connect(session.authentication_token, self._base_url, self._http_client)
        return self._client
