"""The edge as tests drive it: the real application over the real engine services on memory adapters.

What counts, sums up or reports events is a small double: what those do is tested with the engine. Every answer that is
seen here is held against the contract, so that each test of the edge is one of its shapes too.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote_plus

import httpx
import msgspec
from starlette.types import ASGIApp

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.dead_letters import MemoryDeadLetters
from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.adapters.memory.event_search import MemoryEventSearch
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.adapters.system.clock import SystemEntropy
from streamgauge.api.app import control_app
from streamgauge.api.error_report import window_start_ms_of
from streamgauge.api.services import Services
from streamgauge.api.v1.meters import meter_snapshot
from streamgauge.domain.account import Account, Tenant
from streamgauge.domain.counting_rules import CountingRules, RulesHistory
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import NotFound
from streamgauge.domain.event_block import block_of, columns_of_event, encode
from streamgauge.domain.meter import EventTimeWindow
from streamgauge.domain.meter_event import MeterEvent
from streamgauge.domain.receipt import Receipt
from streamgauge.domain.request_key import RequestKey
from streamgauge.domain.summary import SummaryRow
from streamgauge.engine.adjustments import Adjustment, Adjustments
from streamgauge.engine.alerts import Alerts
from streamgauge.engine.apply import Applier
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.customers import Customers
from streamgauge.engine.dead_letters import DeadLetterBook
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.deliveries import Deliveries
from streamgauge.engine.destinations import Destinations
from streamgauge.engine.event_list import EventList
from streamgauge.engine.explanations import Explanations
from streamgauge.engine.idempotency import Idempotency
from streamgauge.engine.judging import Judging
from streamgauge.engine.keys import Keys
from streamgauge.engine.meter_events import Accepted, MeterEvents
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.control_store import ControlStore, Listed, Page
from streamgauge.engine.receipts import Receipts
from streamgauge.engine.recently_touched import RecentlyTouched
from streamgauge.engine.redrive import Redrives
from streamgauge.engine.sessions import Sessions
from streamgauge.engine.status import Status, StatusReport
from streamgauge.engine.summaries import Summaries
from streamgauge.engine.unapplied import Unapplied
from tests.support.alerting import alerts_on
from tests.support.notifying import notifications_on, on

from .contract import faults_of_response

NOW_MS = 1_717_243_200_123  # 2024-06-01T12:00:00.123Z
ACCOUNT = Account(id="acct_1", name="Test", created_ms=NOW_MS)
TEST_MODE = Tenant(ACCOUNT.id, False)
LIVE_MODE = Tenant(ACCOUNT.id, True)
SIGNING_ROOT = bytes(32)


@dataclass
class ManualClock:
    """Advances by a second whenever it is read, so that lists have an order."""

    at_ms: int = NOW_MS

    def now_ms(self) -> int:
        self.at_ms += 1_000
        return self.at_ms - 1_000


class SummariesDouble(Summaries):
    """Answers with `values`, one row each, and keeps what it was asked."""

    def __init__(self) -> None:
        self.values: list[Decimal] = []
        self.asked: list[tuple[object, ...]] = []
        self.fails_with: Exception | None = None

    def query(
        self,
        tenant: Tenant,
        meter_id: str,
        customer_id: str,
        start_s: int,
        end_s: int,
        grouping: EventTimeWindow | None,
        page: Page,
    ) -> Listed[SummaryRow]:
        self.asked.append((tenant, meter_id, customer_id, start_s, end_s, grouping, page))
        if self.fails_with is not None:
            raise self.fails_with
        rows = tuple(
            SummaryRow(id=f"mtrusg_{at}", meter_id=meter_id, start_s=start_s, end_s=end_s, value=value)
            for at, value in enumerate(self.values)
        )
        return Listed(rows, False)


class ReceiptsDouble(Receipts):
    def __init__(self) -> None:
        self.known: dict[tuple[Tenant, str], Receipt] = {}

    def find(self, tenant: Tenant, identifier: str) -> Receipt:
        try:
            return self.known[tenant, identifier]
        except KeyError:
            raise NotFound(f"No meter event with identifier '{identifier}'.", param="identifier") from None


class StatusDouble(Status):
    def __init__(self) -> None:
        self.report = StatusReport(
            accepted_events=12, applied_events=10, backlog_events=2, refreshed_at_ms=NOW_MS, failure=None
        )
        self.not_ready: str | None = None

    def of(self, tenant: Tenant) -> StatusReport:
        return self.report

    def ready(self) -> str | None:
        return self.not_ready


class MeterEventsDouble(MeterEvents):
    """Accepts every event, or fails, and keeps what was submitted."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Principal, MeterEvent, RequestKey | None]] = []
        self.fails_with: Exception | None = None
        self.replays = False

    async def submit(self, origin: Principal, event: MeterEvent, key: RequestKey | None) -> Accepted:
        self.submitted.append((origin, event, key))
        if self.fails_with is not None:
            raise self.fails_with
        return Accepted(event, NOW_MS, replayed=self.replays)


class AdjustmentsDouble(Adjustments):
    """Takes back every event, or fails, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Principal, str, str, RequestKey | None]] = []
        self.fails_with: Exception | None = None
        self.is_complete = True
        self.replays = False

    def cancel(self, origin: Principal, event_name: str, identifier: str, key: RequestKey | None) -> Adjustment:
        self.asked.append((origin, event_name, identifier, key))
        if self.fails_with is not None:
            raise self.fails_with
        return Adjustment(
            id="mtr_event_adj_1",
            tenant=origin.tenant,
            event_name=event_name,
            identifier=identifier,
            created_ms=NOW_MS,
            is_complete=self.is_complete,
            replayed=self.replays,
        )


class UsageBehind:
    """Events that reach the log, and what the applier makes of them when it is told to."""

    def __init__(self, log: MemoryEventLog, catalogue: CatalogueKeeper) -> None:
        self.log, self.progress, store = log, MemoryProgress(), MemoryUsageStore()
        self.store = store
        deduplication = Deduplication(store, RulesHistory.of(CountingRules()))
        self.letters = MemoryDeadLetters(store)
        self._judging = Judging(catalogue, deduplication, log.partition)
        self._applier = Applier(
            log, self.progress, store, self._judging, deduplication, recently=RecentlyTouched(), step_events_max=1_000
        )

    def redrives(self) -> Redrives:
        unapplied = Unapplied(self.log, self.progress, self._judging)
        backlog = Backlog(self.log, self.progress, events_max=1_000)
        return Redrives(self.log, self.progress, self.letters, self._judging, unapplied, backlog)

    def accept(self, *events: MeterEvent, tenant: Tenant = TEST_MODE) -> None:
        block = block_of([columns_of_event(Principal(tenant, "key_1", "mes_1"), each) for each in events])
        self.log.append(encode(block), block.tallies)

    def apply(self) -> None:
        while self._applier.run_once():
            pass


class ControlEdge:
    """The application, a key of each mode, and requests to it. Each request may bring parameters as nested values."""

    def __init__(self, store: ControlStore | None = None) -> None:
        store, clock, entropy = store or MemoryControlStore(), ManualClock(), SystemEntropy()
        self.store, self.clock = store, clock
        if store.find_account(ACCOUNT.id) is None:
            store.add_account(ACCOUNT)
        log = MemoryEventLog(clock)
        catalogue = CatalogueKeeper(store, log, clock, RulesHistory.of(CountingRules()))
        self.keys = Keys(store, clock, entropy)
        self.sessions = Sessions(store, clock, entropy, lifetime_seconds=900)
        self.meter_events = MeterEventsDouble()
        self.adjustments = AdjustmentsDouble()
        self.summaries = SummariesDouble()
        self.receipts = ReceiptsDouble()
        self.status = StatusDouble()
        self.key, self.secret = self.keys.create(TEST_MODE)
        _, self.live_secret = self.keys.create(LIVE_MODE)
        self.stores = on(store)
        # With a clock of their own: announcing must not change the times of what is announced.
        self.telling = telling = ManualClock()
        self.notifications = notifications_on(store, telling, entropy)
        self.destinations = Destinations(
            store, self.stores.destinations, self.notifications, telling, entropy, SIGNING_ROOT
        )
        # The data plane behind dead letters, applied by hand.
        self.usage = UsageBehind(log, catalogue)
        search = MemoryEventSearch(self.usage.store)
        explanations = Explanations(search, store.get_meter, self.stores.notifications, window_start_ms_of)
        self.services = Services(
            keys=self.keys,
            idempotency=Idempotency(store, clock),
            sessions=self.sessions,
            meters=Meters(store, catalogue, entropy, self.notifications, meter_snapshot),
            customers=Customers(store, catalogue, entropy),
            alerts=Alerts(store, alerts_on(store), log, clock, entropy, accept_unknown_customers=False),
            notifications=self.notifications,
            destinations=self.destinations,
            deliveries=Deliveries(store, self.stores.outbox, telling, lambda: None),
            meter_events=self.meter_events,
            adjustments=self.adjustments,
            summaries=self.summaries,
            receipts=self.receipts,
            event_list=EventList(search, log, self.usage.progress, self.receipts, explanations),
            dead_letters=DeadLetterBook(self.usage.letters),
            redrives=self.usage.redrives(),
            status=self.status,
        )
        self.fatal: list[BaseException] = []
        self.app: ASGIApp = control_app(self.services, self.fatal.append)

    def get(self, path: str, params: Mapping[str, Any] | None = None, **options: Any) -> httpx.Response:
        return self.send("GET", path + (f"?{encoded(params)}" if params else ""), **options)

    def post(self, path: str, params: Mapping[str, Any] | None = None, **options: Any) -> httpx.Response:
        headers = {"content-type": "application/x-www-form-urlencoded"} | dict(options.pop("headers", {}))
        return self.send("POST", path, content=encoded(params or {}), headers=headers, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.send("DELETE", path, **options)

    def send(
        self,
        method: str,
        url: str,
        *,
        content: bytes | str | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        secret: str | None = None,
        app: ASGIApp | None = None,
    ) -> httpx.Response:
        """One request with the test key, unless `secret` is another one or empty for none."""
        bearer = self.secret if secret is None else secret
        sent: dict[str, Any] = ({"authorization": f"Bearer {bearer}"} if bearer else {}) | dict(headers or {})

        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app or self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://streamgauge") as client:
                return await client.request(method, url, content=content, headers=sent)

        response = asyncio.run(once())
        faults = faults_of_response(method, url, response.status_code, response.content)
        assert not faults, faults
        return response

    def meter(self, **changes: Any) -> dict[str, Any]:
        """A meter, created over the wire."""
        given = {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}} | changes
        return document(self.post("/v1/billing/meters", given))

    def customer(self, **given: Any) -> dict[str, Any]:
        """A customer, created over the wire."""
        return document(self.post("/v1/customers", given))


def encoded(params: Mapping[str, Any]) -> str:
    """Nested values in form encoding: brackets escaped as the Python client does, lists by index."""
    return "&".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in _flat(params, ""))


def _flat(value: Any, at: str) -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [pair for key, each in value.items() for pair in _flat(each, f"{at}[{key}]" if at else str(key))]
    if isinstance(value, (list, tuple)):
        return [pair for index, each in enumerate(value) for pair in _flat(each, f"{at}[{index}]")]
    return [(at, str(value))]


def document(response: httpx.Response, status: int = 200) -> dict[str, Any]:
    """The JSON object of an answer that has this status."""
    assert response.status_code == status, response.text
    return msgspec.json.decode(response.content, type=dict[str, Any])


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """What stands in the error envelope of an answer that has this status."""
    answer = document(response, status)
    assert list(answer) == ["error"]
    error = answer["error"]
    assert isinstance(error, dict) and None not in error.values()
    return error
