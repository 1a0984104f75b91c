"""What the HTTP edge calls: the engine's services, as one value."""

from dataclasses import dataclass

from streamgauge.engine.adjustments import Adjustments
from streamgauge.engine.alerts import Alerts
from streamgauge.engine.customers import Customers
from streamgauge.engine.dead_letters import DeadLetterBook
from streamgauge.engine.deliveries import Deliveries
from streamgauge.engine.destinations import Destinations
from streamgauge.engine.event_list import EventList
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.keys import Keys
from streamgauge.engine.meter_events import MeterEvents
from streamgauge.engine.meters import Meters
from streamgauge.engine.notifications import Notifications
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.redrive import Redrives
from streamgauge.engine.sessions import Sessions
from streamgauge.engine.status import Status
from streamgauge.engine.summaries import Summaries


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All of them block, and all may be called from several threads at once."""

    keys: Keys
    idempotency: Idempotency
    sessions: Sessions
    meters: Meters
    customers: Customers
    notifications: Notifications
    destinations: Destinations
    deliveries: Deliveries
    alerts: Alerts
    meter_events: MeterEvents
    adjustments: Adjustments
    summaries: Summaries
    receipts: Receipts
    dead_letters: DeadLetterBook
    redrives: Redrives
    event_list: EventList
    status: Status
