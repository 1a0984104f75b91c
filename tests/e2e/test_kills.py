"""SIGKILL at random moments under load: nothing acknowledged is lost, nothing is counted twice.

Goal:   promise 1 and 2 of DESIGN.md, on the installed program with its real disk, processes and engine.
Method: clients stream numbered events, report single ones under request keys, take some back, make meters and
        customers, and keep a ledger of what they were told. At random moments the whole process group is killed,
        started again, and everything that was not answered is sent again, shuffled into other batches, with some that
        was answered mixed in. At the end every total of every formula must be the ledger's.
"""

import os
import random
import time
from pathlib import Path

import pytest

from tests.support.ledger import Ledger, Load, differences, send_again
from tests.support.server import Client, Server

KILLS = 20


@pytest.mark.timeout(600)
def test_kills_under_load_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("STREAMGAUGE_TEST_SEED", random.randrange(10**6)))
    rng = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201  # pytest shows it when the test fails
    # Small steps, so that kills meet all stages: many intents, inserts and checkpoints.
    server = Server(tmp_path / "data", apply_events_max=2_000, apply_interval_ms=5).start()
    with Client(server.url) as client:
        ledger = Ledger.opened(client, seed)

    for _ in range(KILLS):
        load = Load(server.url, ledger, rng)
        time.sleep(rng.uniform(0.02, 1.0))
        server.kill()
        load.end()
        server.start()
        send_again(server.url, ledger, rng)

    with Client(server.url) as client:
        assert ledger.answered == set(ledger.sent)
        assert ledger.cancelled
        assert ledger.singles
        assert ledger.made
        assert differences(client, ledger, rng, receipts=50) == []
    assert server.stop() == 0
