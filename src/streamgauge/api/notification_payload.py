"""What a delivery carries: the notification as its destination's API shows it, as JSON."""

import msgspec

from streamgauge.api.v1 import events as snapshot_events
from streamgauge.api.v2.core import events as thin_events
from streamgauge.domain.event_destination import EventDestination
from streamgauge.domain.notification import Notification, Style


def payload(notification: Notification, destination: EventDestination) -> bytes:
    """The body, the same at every attempt. A thin one is without `data`, which is fetched from the API."""
    if notification.style is Style.THIN:
        return msgspec.json.encode(thin_events.event_object(notification, with_data=False))
    version = destination.api_version or snapshot_events.API_VERSION
    # How many deliveries are left changes; the one that carries this is.
    return msgspec.json.encode(snapshot_events.event_object(notification, 1, version))
