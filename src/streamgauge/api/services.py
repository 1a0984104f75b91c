"""What the HTTP edge calls: the engine's services, as one value."""

from dataclasses import dataclass

from streamgauge.engine.adjustments import Adjustments
from streamgauge.engine.customers import Customers
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.keys import Keys
from streamgauge.engine.meter_events import MeterEvents
from streamgauge.engine.meters import Meters
from streamgauge.engine.receipts import Receipts
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
    meter_events: MeterEvents
    adjustments: Adjustments
    summaries: Summaries
    receipts: Receipts
    status: Status
