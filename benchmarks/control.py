"""What a benchmark asks the server besides the stream: meters, customers, sessions, status, summaries."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlencode

from benchmarks.failure import BenchmarkFailed
from benchmarks.server import SECRET_KEY
from benchmarks.workload import Meter, TotalKey

SETUP_CONNECTIONS = 4
VISIBLE_POLL_SECONDS = 0.01
# While so much waits that it cannot be gone in that time: a poll costs the server 1 to 2 ms of CPU, and asked a hundred
# times a second it lost a tenth of a core to being asked.
FAR_BACKLOG_EVENTS, FAR_POLL_SECONDS = 200_000, 0.1
IDLE_SECONDS_MAX = 1
PAGE_SIZE = 100  # the most that a page may have
ALERT_THRESHOLD = 10**12  # more than any run adds up to
STUCK_SECONDS_MAX = 60  # without any progress of the backlog, or of what is reported
REPORTED_POLL_SECONDS = 0.1
REPORTS = (
    "/v2/core/events?limit=100&types[0]=v1.billing.meter.error_report_triggered"
    "&types[1]=v1.billing.meter.no_meter_found"
)


class Control:
    """One keep-alive connection with a secret key. Every refusal raises BenchmarkFailed with the server's answer."""

    def __init__(self, port: int, secret_key: str = SECRET_KEY) -> None:
        self._port = port
        self._secret_key = secret_key
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._used_at = time.monotonic()

    def close(self) -> None:
        self._connection.close()

    def create_meters(self) -> dict[Meter, str]:
        """Create the workload's meters; ids by meter."""
        return {
            meter: str(
                self._call(
                    "POST",
                    "/v1/billing/meters",
                    form={
                        "display_name": meter.event_name,
                        "event_name": meter.event_name,
                        "default_aggregation[formula]": meter.formula,
                    },
                )["id"]
            )
            for meter in Meter
        }

    def create_customers(self, count: int) -> list[str]:
        """Create `count` customers over a few connections; their ids."""
        shares = [range(first, count, SETUP_CONNECTIONS) for first in range(SETUP_CONNECTIONS)]
        with ThreadPoolExecutor(SETUP_CONNECTIONS) as pool:
            return [customer for share in pool.map(self._create_share, shares) for customer in share]

    def create_alerts(self, meters: Sequence[str], customers: Sequence[str], count: int) -> None:
        """Create `count` alerts of one meter and customer each, too high to fire: they are looked at and no more."""
        shares = [range(first, count, SETUP_CONNECTIONS) for first in range(SETUP_CONNECTIONS)]
        with ThreadPoolExecutor(SETUP_CONNECTIONS) as pool:
            list(pool.map(lambda share: self._create_alerts_share(meters, customers, share), shares))

    def create_alert(self, meter: str, customer: str, threshold: int) -> None:
        """An alert of this meter and customer."""
        form = {
            "alert_type": "usage_threshold",
            "title": f"Load {threshold}",
            "usage_threshold[gte]": str(threshold),
            "usage_threshold[recurrence]": "one_time",
            "usage_threshold[meter]": meter,
            "usage_threshold[filters][0][type]": "customer",
            "usage_threshold[filters][0][customer]": customer,
        }
        self._call("POST", "/v1/billing/alerts", form=form)

    def fired_alerts(self) -> int:
        """How many alerts were told, of up to a page."""
        return len(self._call("GET", f"/v1/events?type=billing.alert.triggered&limit={PAGE_SIZE}")["data"])

    def open_session(self) -> str:
        """A fresh meter event session's token."""
        return str(self._call("POST", "/v2/billing/meter_event_session", json_body={})["authentication_token"])

    def backlog_events(self) -> int:
        """Events acknowledged but not yet visible."""
        return int(self._call("GET", "/streamgauge/status")["backlog_events"])

    def accepted_events(self) -> int:
        """Events acknowledged since the folder was made."""
        return int(self._call("GET", "/streamgauge/status")["accepted_events"])

    def applied_events(self) -> int:
        """Events that are visible, since the folder was made."""
        return int(self._call("GET", "/streamgauge/status")["applied_events"])

    def receipt(self, identifier: str) -> dict[str, Any]:
        """What became of the event with this identifier."""
        return self._call("GET", f"/streamgauge/meter_events/{quote(identifier, safe='')}")

    def hourly_page(
        self, meter_id: str, customer: str, range_seconds: tuple[int, int], after: str | None = None
    ) -> tuple[int, str | None]:
        """Up to PAGE_SIZE hourly summaries: how many, and after which the next page begins, if there is one."""
        start_time, end_time = range_seconds
        fields = {"customer": customer, "start_time": start_time, "end_time": end_time, "limit": PAGE_SIZE}
        query = urlencode({**fields, "value_grouping_window": "hour", **({"starting_after": after} if after else {})})
        page = self._call("GET", f"/v1/billing/meters/{meter_id}/event_summaries?{query}")
        return len(page["data"]), page["data"][-1]["id"] if page["has_more"] else None

    def listed_page(self, wanted: Mapping[str, str], limit: int, after: str | None = None) -> tuple[int, str | None]:
        """Up to `limit` events of the list, newest first: how many, and after which it goes on, if it does."""
        query = urlencode({**wanted, "limit": limit, **({"starting_after": after} if after else {})})
        page = self._call("GET", f"/streamgauge/meter_events?{query}")
        return len(page["data"]), page["next_position"]

    def wait_until_visible(self) -> int:
        """Poll until the backlog is 0 and return the first reading: what was waiting when this was called.

        Raises BenchmarkFailed when the backlog does not shrink for STUCK_SECONDS_MAX.
        """
        first = lowest = self.backlog_events()
        backlog, moved_at = first, time.monotonic()
        while backlog:
            time.sleep(FAR_POLL_SECONDS if backlog > FAR_BACKLOG_EVENTS else VISIBLE_POLL_SECONDS)
            backlog = self.backlog_events()
            if backlog < lowest:
                lowest, moved_at = backlog, time.monotonic()
            elif time.monotonic() - moved_at >= STUCK_SECONDS_MAX:
                raise BenchmarkFailed(f"the backlog stands at {backlog:,} events for {STUCK_SECONDS_MAX} s")
        return first

    def wait_until_reported(self, rejected: int) -> None:
        """Poll until the error reports tell of so many events.

        Raises BenchmarkFailed when they tell of more, or of no more for STUCK_SECONDS_MAX.
        """
        reported, moved_at = self._reported_events(), time.monotonic()
        while reported < rejected:
            time.sleep(REPORTED_POLL_SECONDS)
            now_reported = self._reported_events()
            if now_reported > reported:
                reported, moved_at = now_reported, time.monotonic()
            elif time.monotonic() - moved_at >= STUCK_SECONDS_MAX:
                break
        if reported != rejected:
            raise BenchmarkFailed(f"error reports tell of {reported:,} events, and {rejected:,} were rejected")

    def total(self, meter_id: str, customer: str, range_seconds: tuple[int, int]) -> Decimal:
        """The summary of one meter and customer over the whole range, exactly as printed in the JSON; none is 0."""
        start_time, end_time = range_seconds
        query = urlencode({"customer": customer, "start_time": start_time, "end_time": end_time})
        summaries = self._call("GET", f"/v1/billing/meters/{meter_id}/event_summaries?{query}")["data"]
        return sum((Decimal(summary["aggregated_value"]) for summary in summaries), start=Decimal(0))

    def _reported_events(self) -> int:
        reported, url = 0, REPORTS
        while url:
            page = self._call("GET", url)
            reported += sum(int(report["data"]["reason"]["error_count"]) for report in page["data"])
            url = page["next_page_url"]
        return reported

    def _create_share(self, indexes: Iterable[int]) -> list[str]:
        with closing(Control(self._port, self._secret_key)) as own:
            return [str(own._call("POST", "/v1/customers", form={"name": f"Load {index}"})["id"]) for index in indexes]

    def _create_alerts_share(self, meters: Sequence[str], customers: Sequence[str], numbers: Iterable[int]) -> None:
        with closing(Control(self._port, self._secret_key)) as own:
            for number in numbers:
                customer = customers[number // len(meters) % len(customers)]
                own.create_alert(meters[number % len(meters)], customer, ALERT_THRESHOLD + number)

    def _call(
        self,
        method: str,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        json_body: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._secret_key}"}
        body: str | None = None
        if form is not None:
            headers["Content-Type"], body = "application/x-www-form-urlencoded", urlencode(form)
        elif json_body is not None:
            headers["Content-Type"], body = "application/json", json.dumps(json_body)
        # Servers close connections that idle; one that idled for a whole run is opened anew rather than found closed.
        if time.monotonic() - self._used_at > IDLE_SECONDS_MAX:
            self._connection.close()
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            raise BenchmarkFailed(f"{method} {path} got no answer: {error!r}") from error
        self._used_at = time.monotonic()
        if answer.status != 200:
            raise BenchmarkFailed(f"{method} {path} answered {answer.status}: {text.decode(errors='replace')}")
        # Never through a float: 0.1 + 0.2 would pass for 0.3 or fail for it.
        decoded = json.loads(text, parse_float=Decimal)
        if not isinstance(decoded, dict):
            raise BenchmarkFailed(f"{method} {path} answered no object: {text.decode(errors='replace')}")
        return decoded


def check_totals(
    control: Control,
    meters: Mapping[Meter, str],
    customers: Mapping[int, str],
    expected: Mapping[TotalKey, Decimal],
    range_seconds: tuple[int, int],
) -> int:
    """Compare the summaries of the given customers (ids by index) on every meter; return how many were compared.

    Raises BenchmarkFailed that lists the first totals that differ.
    """
    wrong: list[str] = []
    for meter, meter_id in meters.items():
        for customer_index, customer in customers.items():
            total = control.total(meter_id, customer, range_seconds)
            right = expected[TotalKey(meter, customer_index)]
            if total != right:
                wrong.append(f"{meter.event_name} of customer {customer_index}: {total}, expected {right}")
    if wrong:
        raise BenchmarkFailed(f"{len(wrong)} totals are wrong:\n" + "\n".join(wrong[:10]))
    return len(meters) * len(customers)
