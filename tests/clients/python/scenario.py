"""The scenario of tests/clients with the official Python client, which knows no more than another base address."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import stripe

URL = os.environ["STREAMGAUGE_URL"]
KEY = os.environ["STREAMGAUGE_KEY"]
EXPIRED_TOKEN = os.environ["STREAMGAUGE_EXPIRED_TOKEN"]
RUN = os.environ["STREAMGAUGE_RUN"]
EVENT_NAME = f"{RUN}_units"

VALUES = ("1", "2", "0.5")  # in turn; all of them are exact as binary fractions, as is every sum of them
EVENTS = 250
BATCH_EVENTS_MAX = 100
SESSION_LIFETIME = timedelta(minutes=15)
POLL_SECONDS_MAX = 20

Error = TypeVar("Error", bound=stripe.StripeError)


def connect(credential: str) -> stripe.StripeClient:
    return stripe.StripeClient(credential, base_addresses={"api": URL, "meter_events": URL})


class Scenario:
    """The steps in their order. `expected` is what the customer's total must be, kept from step to step."""

    def __init__(self) -> None:
        self.client = connect(KEY)
        self.expected = Decimal(0)
        self.start_s = int(time.time()) // 60 * 60 - 3600
        self.meter = self.customer = ""
        self.streaming: stripe.StripeClient
        self.events: list[dict[str, Any]] = []

    def meter_life(self) -> None:
        meters = self.client.v1.billing.meters
        made = meters.create(
            {"display_name": "Units", "event_name": EVENT_NAME, "default_aggregation": {"formula": "sum"}}
        )
        self.meter = made.id
        check(made.object == "billing.meter" and made.status == "active", made)
        same(meters.retrieve(made.id).event_name, EVENT_NAME)
        same(meters.update(made.id, {"display_name": "Renamed"}).display_name, "Renamed")
        same(meters.retrieve(made.id).display_name, "Renamed")
        check(any(each.id == made.id for each in meters.list({"limit": 100}).auto_paging_iter()), "not in the list")
        stopped = meters.deactivate(made.id)
        same(stopped.status, "inactive")
        check(type(stopped.status_transitions.deactivated_at) is int, stopped.status_transitions)
        same(meters.reactivate(made.id).status, "active")

    def customer_made(self) -> None:
        made = self.client.v1.customers.create({"name": "Ada", "metadata": {"run": RUN}})
        self.customer = made.id
        check(made.object == "customer" and made.name == "Ada", made)

    def session(self) -> None:
        made = self.client.v2.billing.meter_event_session.create()
        self.streaming = connect(made.authentication_token)
        same(made.object, "v2.billing.meter_event_session")
        check(made.livemode is False, f"livemode is {made.livemode!r}")
        same(datetime.fromisoformat(made.expires_at) - datetime.fromisoformat(made.created), SESSION_LIFETIME)
        check(bool(made.authentication_token), "the token is empty")

    def stream(self) -> None:
        moment = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
        for number in range(EVENTS):
            when = {"timestamp": moment} if number % 2 else {}
            self.events.append(self.event(f"stream-{number}", VALUES[number % 3], **when))
        self.send_events()
        self.expected += sum(Decimal(VALUES[number % 3]) for number in range(EVENTS))

    def totals(self) -> None:
        self.wait_for_total()

    def duplicates(self) -> None:
        self.send_events()
        # The log keeps the order of what one client sends: once this one is counted, so would the repeats be.
        send(self.streaming, [self.event("new", "2")])
        self.expected += 2
        self.wait_for_total()

    def synchronous(self) -> None:
        first: Any = self.event("v1", "1", timestamp=int(time.time()))
        second: Any = self.event("v2", "2")
        made = self.client.v1.billing.meter_events.create(first)
        check(made.object == "billing.meter_event" and made.identifier == f"{RUN}-v1", made)
        made_v2 = self.client.v2.billing.meter_events.create(second)
        check(made_v2.object == "v2.billing.meter_event" and made_v2.identifier == f"{RUN}-v2", made_v2)

        error = raised(stripe.InvalidRequestError, lambda: self.client.v1.billing.meter_events.create(first))
        same(error.http_status, 400)
        check(error.error is not None and error.error.type == "invalid_request_error", error.json_body)
        same(error.user_message, f"An event already exists with identifier {RUN}-v1.")
        error = raised(stripe.InvalidRequestError, lambda: self.client.v2.billing.meter_events.create(second))
        same((error.http_status, error.code), (400, "duplicate_meter_event"))
        self.expected += 3
        self.wait_for_total()

    def idempotency(self) -> None:
        create = self.client.v1.billing.meter_events.create
        params: Any = self.event("replayed", "2")
        options: Any = {"idempotency_key": f"{RUN}-key"}
        same(create(params, options).to_dict(), create(params, options).to_dict())
        other: Any = {**params, "payload": {**params["payload"], "value": "1"}}
        error = raised(stripe.IdempotencyError, lambda: create(other, options))
        check(error.error is not None and error.error.type == "idempotency_error", error.json_body)
        self.expected += 2
        self.wait_for_total()

    def cancel(self) -> None:
        v1 = self.client.v1.billing.meter_event_adjustments.create(
            {"event_name": EVENT_NAME, "type": "cancel", "cancel": {"identifier": f"{RUN}-v1"}}
        )
        check(v1.object == "billing.meter_event_adjustment" and v1.status in ("pending", "complete"), v1)
        v2 = self.client.v2.billing.meter_event_adjustments.create(
            {"event_name": EVENT_NAME, "type": "cancel", "cancel": {"identifier": f"{RUN}-v2"}}
        )
        check(v2.object == "v2.billing.meter_event_adjustment" and v2.status in ("pending", "complete"), v2)
        self.expected -= 3
        self.wait_for_total()

    def expired(self) -> None:
        late = [self.event("late", "1")]
        raised(stripe.TemporarySessionExpiredError, lambda: send(connect(EXPIRED_TOKEN), late))

    def refused(self) -> None:
        too_many = [self.event(f"refused-{number}", "1") for number in range(BATCH_EVENTS_MAX + 1)]
        raised(stripe.InvalidRequestError, lambda: send(self.streaming, too_many))
        # Counted after anything of the refused call would have been.
        send(self.streaming, [self.event("after", "2")])
        self.expected += 2
        self.wait_for_total()

    def event(self, name: str, value: str, **more: Any) -> dict[str, Any]:
        payload = {"stripe_customer_id": self.customer, "value": value}
        return {"event_name": EVENT_NAME, "identifier": f"{RUN}-{name}", "payload": payload, **more}

    def send_events(self) -> None:
        for first in range(0, EVENTS, BATCH_EVENTS_MAX):
            send(self.streaming, self.events[first : first + BATCH_EVENTS_MAX])

    def total(self) -> Decimal:
        """The customer's total over whole minutes, from an hour before the run until some time after now."""
        listed = self.client.v1.billing.meters.event_summaries.list(
            self.meter,
            {"customer": self.customer, "start_time": self.start_s, "end_time": int(time.time()) // 60 * 60 + 120},
        )
        return sum((Decimal(str(row.aggregated_value)) for row in listed.data), Decimal(0))

    def wait_for_total(self) -> None:
        deadline = time.monotonic() + POLL_SECONDS_MAX
        while (total := self.total()) != self.expected:
            check(time.monotonic() < deadline, f"the total is {total}, not {self.expected}")
            time.sleep(0.1)

    def steps(self) -> Mapping[str, Callable[[], None]]:
        return {
            "meter_life": self.meter_life,
            "customer": self.customer_made,
            "session": self.session,
            "stream": self.stream,
            "totals": self.totals,
            "duplicates": self.duplicates,
            "synchronous": self.synchronous,
            "idempotency": self.idempotency,
            "cancel": self.cancel,
            "expired": self.expired,
            "refused": self.refused,
        }

    def play(self) -> bool:
        """True when every step passed. After a failure the total is read anew, so that one fault fails one step."""
        passed = True
        for name, step in self.steps().items():
            try:
                step()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is this step's outcome
                passed = False
                report(step=name, outcome="failed", detail=f"{type(error).__name__}: {error}")
                traceback.print_exc()
                self.take_the_total_as_it_is()
            else:
                report(step=name, outcome="passed")
        return passed

    def take_the_total_as_it_is(self) -> None:
        try:
            self.expected = self.total()
        except Exception:  # noqa: BLE001  # there may be no meter yet; the steps after this one will say so
            self.expected = Decimal(0)


def send(client: stripe.StripeClient, events: Any) -> None:
    client.v2.billing.meter_event_stream.create({"events": events})


def check(holds: bool, otherwise: object) -> None:
    if not holds:
        raise AssertionError(str(otherwise))


def same(got: object, wanted: object) -> None:
    check(got == wanted, f"{got!r}, not {wanted!r}")


def raised(kind: type[Error], call: Callable[[], object]) -> Error:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def report(**line: str) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    report(client="stripe-python", version=stripe.VERSION)
    sys.exit(0 if Scenario().play() else 1)
