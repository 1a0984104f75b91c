"""What docs/operating.md tells an operator to do, done."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streamgauge.cli import cli
from tests.docs.pages import page
from tests.support.server import Client, Server

EVENTS = 1_500
CUSTOMERS = 3
DAY_S = 86_400


def _visible(client: Client, meters: list[str], customers: list[str]) -> list[Any]:
    """Summaries by hour of every meter and customer, and receipts."""
    client.wait_until_applied()
    day = int(time.time()) // DAY_S * DAY_S
    summaries = [
        client.get(
            f"/v1/billing/meters/{meter}/event_summaries",
            customer=customer,
            start_time=day - 2 * DAY_S,
            end_time=day + 2 * DAY_S,
            value_grouping_window="hour",
            limit=100,
        )
        for meter in meters
        for customer in customers
    ]
    assert all(each["data"] for each in summaries)
    return [*summaries, *_receipts(client)]


def _receipts(client: Client) -> list[Any]:
    """Every hundredth. One of a rejected event names its error report, which is made when its 10 seconds are over."""
    deadline = time.monotonic() + 60
    while True:
        found = [client.receipt(f"event-{number}") for number in range(0, EVENTS, 100)]
        if all(each["error_report"] for each in found if each["status"] == "rejected"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_a_store_deleted_as_the_page_says_comes_back_equal(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    now_s = int(time.time())
    with Server(folder) as server, Client(server.url) as client:
        names = {"sum": "rebuilt_sum", "count": "rebuilt_count", "last": "rebuilt_last"}
        meters = [client.meter(name, formula) for formula, name in names.items()]
        customers = [client.customer(name=f"c{number}") for number in range(CUSTOMERS)]
        token = client.session()
        # Each event twice, and some that are rejected: of an unknown customer, and of no meter.
        for start in [*range(0, EVENTS, 100), *range(0, EVENTS, 100)]:
            client.stream(
                token,
                [
                    {
                        "event_name": "unknown" if number % 97 == 0 else list(names.values())[number % 3],
                        "identifier": f"event-{number}",
                        "timestamp": now_s - 60 * number,
                        "payload": {
                            "stripe_customer_id": [*customers, "cus_stranger"][number // 3 % (CUSTOMERS + 1)],
                            "value": f"{number}.1",
                        },
                    }
                    for number in range(start, start + 100)
                ],
            )
        before = _visible(client, meters, customers)

    assert "delete `store/` and `progress.db`" in page("docs/operating.md").section("Rebuild")
    shutil.rmtree(folder / "store")
    for path in folder.glob("progress.db*"):
        path.unlink()

    with Server(folder) as server, Client(server.url) as client:
        assert _visible(client, meters, customers) == before


def test_an_option_wins_over_the_environment_which_wins_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMGAUGE_DATA_DIR", "from_environment")
    assert "wins over the environment, which wins over the default" in page("docs/operating.md").section("Settings")
    for arguments, folder in (((), "from_environment"), (("--data-dir", "from_option"), "from_option")):
        result = CliRunner().invoke(cli, ["keys", "create", *arguments])
        assert result.exit_code == 0, result.output
        assert (tmp_path / folder / "control.db").exists()


def test_nothing_in_the_data_folder_is_open_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Server(folder) as server, Client(server.url) as client:
        client.customer(name="Ada")
        found = {path.name: path.lstat().st_mode for path in (folder, *folder.iterdir())}
        assert {"control.db", "log.db", "progress.db", "engine.sock", "store"} <= set(found)
        assert not [name for name, mode in found.items() if mode & 0o077]
