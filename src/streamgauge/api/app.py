"""The application of everything but the stream: one table of what stands where, and what surrounds it."""

from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import ASGIApp

from streamgauge.api import health, metrics
from streamgauge.api.failures import FailuresAnswered, unrouted
from streamgauge.api.openapi.routes import openapi_routes
from streamgauge.api.operation import Operation, endpoint
from streamgauge.api.request_id import RequestIds
from streamgauge.api.services import Services
from streamgauge.api.streamgauge import dead_letters, deliveries, meter_events, receipts, signing_secrets, status
from streamgauge.api.v1 import alerts, customers, event_summaries, meters, webhook_endpoints
from streamgauge.api.v1 import events as v1_events
from streamgauge.api.v1 import meter_event_adjustments as v1_meter_event_adjustments
from streamgauge.api.v1 import meter_events as v1_meter_events
from streamgauge.api.v2 import meter_event_adjustments as v2_meter_event_adjustments
from streamgauge.api.v2 import meter_event_session
from streamgauge.api.v2 import meter_events as v2_meter_events
from streamgauge.api.v2.core import event_destinations
from streamgauge.api.v2.core import events as v2_events


class AnyTextConvertor(PathConvertor):
    """Everything up to the end. Starlette's own `path` stops at a line break, and identifiers may hold one."""

    regex = r"(?s:.+)"


register_url_convertor("any_text", AnyTextConvertor())

OPERATIONS: Mapping[str, Mapping[str, Operation]] = {
    "/v1/billing/meters": {"GET": meters.list_page, "POST": meters.create},
    "/v1/billing/meters/{id}": {"GET": meters.retrieve, "POST": meters.update},
    "/v1/billing/meters/{id}/deactivate": {"POST": meters.deactivate},
    "/v1/billing/meters/{id}/reactivate": {"POST": meters.reactivate},
    "/v1/billing/meters/{id}/event_summaries": {"GET": event_summaries.list_page},
    "/v1/billing/meter_events": {"POST": v1_meter_events.create},
    "/v1/billing/meter_event_adjustments": {"POST": v1_meter_event_adjustments.create},
    "/v1/billing/alerts": {"GET": alerts.list_page, "POST": alerts.create},
    "/v1/billing/alerts/{id}": {"GET": alerts.retrieve},
    "/v1/billing/alerts/{id}/activate": {"POST": alerts.activate},
    "/v1/billing/alerts/{id}/archive": {"POST": alerts.archive},
    "/v1/billing/alerts/{id}/deactivate": {"POST": alerts.deactivate},
    "/v1/customers": {"GET": customers.list_page, "POST": customers.create},
    "/v1/customers/{customer}": {"GET": customers.retrieve, "POST": customers.update, "DELETE": customers.delete},
    "/v2/billing/meter_event_session": {"POST": meter_event_session.create},
    "/v2/billing/meter_events": {"POST": v2_meter_events.create},
    "/v2/billing/meter_event_adjustments": {"POST": v2_meter_event_adjustments.create},
    "/v1/events": {"GET": v1_events.list_page},
    "/v1/events/{id}": {"GET": v1_events.retrieve},
    "/v1/webhook_endpoints": {"GET": webhook_endpoints.list_page, "POST": webhook_endpoints.create},
    "/v1/webhook_endpoints/{webhook_endpoint}": {
        "GET": webhook_endpoints.retrieve,
        "POST": webhook_endpoints.update,
        "DELETE": webhook_endpoints.delete,
    },
    "/v2/core/events": {"GET": v2_events.list_page},
    "/v2/core/events/{id}": {"GET": v2_events.retrieve},
    "/v2/core/event_destinations": {"GET": event_destinations.list_page, "POST": event_destinations.create},
    "/v2/core/event_destinations/{id}": {
        "GET": event_destinations.retrieve,
        "POST": event_destinations.update,
        "DELETE": event_destinations.delete,
    },
    "/v2/core/event_destinations/{id}/disable": {"POST": event_destinations.disable},
    "/v2/core/event_destinations/{id}/enable": {"POST": event_destinations.enable},
    "/v2/core/event_destinations/{id}/ping": {"POST": event_destinations.ping},
    "/streamgauge/dead_letters": {"GET": dead_letters.list_page},
    "/streamgauge/dead_letters/redrive": {"POST": dead_letters.redrive},
    "/streamgauge/dead_letters/{id:any_text}": {"GET": dead_letters.retrieve},
    "/streamgauge/deliveries": {"GET": deliveries.list_page},
    "/streamgauge/deliveries/{id}/resend": {"POST": deliveries.resend},
    "/streamgauge/event_destinations/{id}/roll_secret": {"POST": signing_secrets.roll},
    "/streamgauge/status": {"GET": status.retrieve},
    "/streamgauge/meter_events": {"GET": meter_events.list_page},
    "/streamgauge/meter_events/{identifier:any_text}": {"GET": receipts.retrieve},
}


def control_app(services: Services, on_fatal: Callable[[BaseException], None]) -> ASGIApp:
    """Every answer carries a request id, and every failure one of the two envelopes, also of unknown URLs."""
    app = Starlette(
        routes=[
            Route("/healthz", health.alive),
            Route("/readyz", health.readiness(services)),
            Route("/metrics", metrics.exposition(services)),
            *openapi_routes(OPERATIONS),
            *(Route(url, endpoint(services, each), methods=list(each)) for url, each in OPERATIONS.items()),
        ],
        middleware=[Middleware(RequestIds), Middleware(FailuresAnswered, on_fatal=on_fatal)],
        exception_handlers={HTTPException: unrouted},
    )
    # A redirect to a URL without its last slash would lose the body of a POST in many clients.
    app.router.redirect_slashes = False
    return app
