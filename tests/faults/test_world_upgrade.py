"""A data folder of the version before cancellations, in use when that version was killed: today's server takes it
over. tests/data/README.md says how it was made and what is in it."""

import json
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import FaultyServer, Point, Shim, event, start_until_killed
from tests.support.server import Client, Server

ARCHIVE = Path(__file__).parents[1] / "data" / "folder-before-cancellations.tar.xz"
NAMES = ("old_sum", "old_count", "old_last", "old_hourly")
EVENTS = 1_000
HOUR_S = 3_600
# In the order in which they come, since each kill leaves the rest to the next start.
UPGRADE_POINTS = (
    Point("write", "log.db-wal", 1, "before"),
    Point("write", "log.db-wal", 3, "after"),
    Point("write", "control.db-wal", 2, "after"),
    Point("rename", "tmp_insert", 1, "before"),
    Point("rename", "tmp_insert", 2, "after"),
    Point("write", "progress.db-wal", 2, "after"),
    Point("sync", "control.db-wal", 1, "before"),
)


@dataclass(frozen=True)
class Former:
    """What was sent to the former version: event `old-<n>` for n below 1,000, those below 40 and from 780 to 819
    twice, and two that were rejected. Those from 800 on had not been applied when it was killed."""

    data_dir: Path
    meters: dict[str, str]
    customers: Sequence[str]
    start_s: int

    def event(self, number: int) -> dict[str, Any]:
        return {
            "event_name": NAMES[number % 4],
            "identifier": f"old-{number}",
            "timestamp": self.start_s + number * 7,
            "payload": {"stripe_customer_id": self.customers[number // 4 % 3], "value": str(Decimal(number) / 8)},
        }

    def expected(self, name: str, customer: str, without: Sequence[int] = ()) -> Decimal:
        """What the formula of that meter gives for its events, computed here one by one, in the order sent."""
        own = [
            event
            for event in (self.event(number) for number in range(EVENTS) if number not in without)
            if event["event_name"] == name and event["payload"]["stripe_customer_id"] == customer
        ]
        values = [Decimal(event["payload"]["value"]) for event in own]
        if name == "old_count":
            return Decimal(len(own))
        if name == "old_last":
            return values[-1]
        if name == "old_hourly":  # of each hour only the one received last
            hours = {event["timestamp"] // HOUR_S: value for event, value in zip(own, values, strict=True)}
            values = list(hours.values())
        return sum(values, Decimal(0))

    def assert_totals(self, client: Client, without: Sequence[int] = ()) -> None:
        for name in NAMES:
            for customer in self.customers:
                found = client.total(self.meters[name], customer, self.start_s)
                assert Decimal(found) == self.expected(name, customer, without), (name, customer)


@pytest.fixture
def former(tmp_path: Path) -> Former:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    facts = json.loads((tmp_path / "facts.json").read_text())
    return Former(tmp_path / "data", facts["meters"], facts["customers"], facts["start"])


def test_a_folder_of_the_former_version_is_applied_to_its_end_and_counts_on(former: Former) -> None:
    with Server(former.data_dir) as server, Client(server.url) as client:
        status = client.wait_until_applied()
        assert status["accepted_events"] == status["applied_events"] == EVENTS + 2 * 40 + 2
        former.assert_totals(client)
        for identifier, fate, repeats in (
            ("old-0", "counted", 1),
            ("old-500", "counted", 0),
            ("old-790", "counted", 1),  # repeated by what had not been applied
            ("old-810", "counted", 1),
            ("old-999", "counted", 0),
            ("old-gone", "rejected", 0),
            ("old-no-meter", "rejected", 0),
        ):
            receipt = client.receipt(identifier)
            assert (receipt["status"], receipt["repeats"]) == (fate, repeats), identifier

        # Today's, into yesterday's meters, and taken back again.
        meter, customer = former.meters["old_sum"], client.customer(name="new")
        client.stream(client.session(), [event(f"new {value}", customer, value, "old_sum") for value in ("1", "20")])
        answer = client.http.post(
            "/v2/billing/meter_event_adjustments",
            json={"event_name": "old_sum", "type": "cancel", "cancel": {"identifier": "new 20"}},
            headers={"Authorization": f"Bearer {client.key}"},
        )
        assert answer.status_code == 200
        client.wait_until_applied()
        assert client.total(meter, customer) == 1
        former.assert_totals(client)
    assert server.process.returncode == 0


def test_events_of_the_former_version_are_repeats_when_sent_again_and_can_be_cancelled(
    former: Former, shim: Shim
) -> None:
    """On the clock of the day when they were received: both have their time."""
    shim.shift_clock(former.start_s + 4 * HOUR_S - int(time.time()))
    # Of all formulas, applied or not, and the latest ones too.
    taken_back = (0, 4, 401, 402, 403, 797, 798, 799, 801, 998, 999)
    with FaultyServer(former.data_dir, environment=shim.environment) as server, Client(server.url) as client:
        token = client.session()
        for number in taken_back:
            body = {"event_name": NAMES[number % 4], "type": "cancel", "cancel": {"identifier": f"old-{number}"}}
            for _ in range(2):
                answer = client.http.post(
                    "/v2/billing/meter_event_adjustments",
                    json=body,
                    headers={"Authorization": f"Bearer {client.key}"},
                )
                assert answer.status_code == 200, answer.text
        for first in range(0, EVENTS, 100):
            client.stream(token, [former.event(number) for number in range(first, first + 100)])
        client.wait_until_applied()
        former.assert_totals(client, without=taken_back)
        assert client.receipt("old-999")["status"] == "cancelled"
        assert client.receipt("old-500")["repeats"] == 1
    assert server.process.returncode == 0


def test_kills_while_the_folder_is_brought_up_to_date_lose_nothing(former: Former, shim: Shim) -> None:
    """While the log is migrated, and the control store; while the store is made anew, and the log applied to it."""
    server = FaultyServer(former.data_dir, environment=shim.environment, apply_events_max=100, apply_interval_ms=0)
    for point in UPGRADE_POINTS:
        start_until_killed(server, shim, point)
    with server, Client(server.url) as client:
        client.wait_until_applied()
        former.assert_totals(client)
        assert client.receipt("old-810")["repeats"] == 1
    assert server.process.returncode == 0
