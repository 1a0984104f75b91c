"""A receiver of error reports that repairs what it can: missing customers are created, and their usage counts.

    STREAMGAUGE_URL=http://127.0.0.1:8420 STREAMGAUGE_SECRET_KEY=sk_test_... WEBHOOK_SECRET=whsec_... \\
        python examples/error_report_receiver.py

It needs the official client (`pip install stripe`) and nothing else. Let an event destination with thin events post to
it: http://127.0.0.1:4242/ for the type v1.billing.meter.error_report_triggered, on a server that was started with
STREAMGAUGE_WEBHOOK_ALLOW_PRIVATE=true.

A real one would ask its own records whether it knows the customer. This one takes every id that begins with `cus_`.
"""

import os
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stripe import InvalidRequestError, SignatureVerificationError, StripeClient

ERROR_REPORT = "v1.billing.meter.error_report_triggered"
MISSING_CUSTOMER = "meter_event_customer_not_found"


class Repairs:
    """What follows from a report. All of it may be done again: reports come at least once."""

    def __init__(self, client: StripeClient) -> None:
        self._client = client

    def of_report(self, report: Any) -> int:
        """How many events count now that did not before."""
        reason = report.data.reason
        if all(each.code != MISSING_CUSTOMER for each in reason.error_types):
            return 0
        counted = 0
        # A report shows some events of each code; the dead letters are all of them.
        for customer in set(self._missing_customers()):
            if customer.startswith("cus_"):
                self._create(customer)
                counted += self._redrive(customer)
        return counted

    def _missing_customers(self) -> Iterator[str]:
        cursor = ""
        while True:
            query = f"code={MISSING_CUSTOMER}&limit=100{cursor}"
            page: Any = self._client.raw_request("get", f"/streamgauge/dead_letters?{query}").data
            yield from (letter["customer"] for letter in page["data"])
            if not page["has_more"]:
                return
            cursor = f"&starting_after={page['data'][-1]['id']}"

    def _create(self, customer: str) -> None:
        try:
            self._client.raw_request("post", "/v1/customers", id=customer)
        except InvalidRequestError as error:
            if error.code != "resource_already_exists":
                raise

    def _redrive(self, customer: str) -> int:
        counted: int = 0
        wanted = {"customer": customer, "code": MISSING_CUSTOMER}
        while True:
            done: Any = self._client.raw_request("post", "/streamgauge/dead_letters/redrive", **wanted).data
            counted += int(done["counted"])
            if not done["has_more"]:
                return counted
            wanted["cursor"] = done["cursor"]


def receiver(client: StripeClient, webhook_secret: str, port: int) -> ThreadingHTTPServer:
    """Answers 400 to what is not signed with the secret, and 500 to what could not be repaired: it is sent again."""
    repairs = Repairs(client)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                notification = client.parse_event_notification(
                    body.decode(), self.headers.get("Stripe-Signature", ""), webhook_secret
                )
            except (SignatureVerificationError, ValueError):
                self._answer(400)
                return
            try:
                if notification.type == ERROR_REPORT:
                    counted = repairs.of_report(notification.fetch_event())
                    print(f"{notification.id}: {counted} events count now", flush=True)
            except Exception as error:
                print(f"{notification.id}: {error!r}", file=sys.stderr, flush=True)
                self._answer(500)
                return
            self._answer(200)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    url = os.environ["STREAMGAUGE_URL"]
    client = StripeClient(
        os.environ["STREAMGAUGE_SECRET_KEY"], base_addresses={"api": url, "meter_events": url, "files": url}
    )
    server = receiver(client, os.environ["WEBHOOK_SECRET"], int(os.environ.get("PORT", "4242")))
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
