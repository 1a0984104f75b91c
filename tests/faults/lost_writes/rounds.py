"""One power cut after the other on one server, with load before each and a comparison with the ledger after it."""

import random
import time
from typing import Any, Final

from tests.faults.lost_writes.disk import Mood
from tests.faults.lost_writes.program import PoweredServer
from tests.support.ledger import Ledger, Load, differences, send_again
from tests.support.server import Client

_MOODS: Final = (Mood.FORGETFUL, Mood.HOLLOW, Mood.PICKY, Mood.SCATTERED, Mood.TEARING)

# Small steps, so that cuts meet all stages: many intents, inserts and checkpoints.
SETTINGS: Final[dict[str, Any]] = {
    "apply_events_max": 2_000,
    "apply_interval_ms": 5,
    "session_lifetime_seconds": 86_400,
}


class Rounds:
    """Raises AssertionError, with what the disk lost, when the server does not start or does not agree."""

    def __init__(self, powered: PoweredServer, seed: int) -> None:
        self._powered = powered
        self._rng = random.Random(seed)
        self.cuts = 0
        self.slowest_start_seconds = 0.0
        powered.start()
        with Client(powered.url) as client:
            self.ledger = Ledger.opened(client, seed)

    def run(self) -> None:
        load = Load(self._powered.url, self.ledger, self._rng)
        time.sleep(self._rng.uniform(0.05, 1.0))
        mood = self._rng.choice(_MOODS)
        self._powered.server.kill()
        load.end()
        lost = self._powered.forget(mood, self._rng)
        self.cuts += 1
        try:
            began = time.monotonic()
            self._powered.start()
            self.slowest_start_seconds = max(self.slowest_start_seconds, time.monotonic() - began)
            send_again(self._powered.url, self.ledger, self._rng)
            with Client(self._powered.url) as client:
                assert differences(client, self.ledger, self._rng) == []
        except AssertionError as error:
            error.add_note(f"cut {self.cuts}, of what was not synced {mood.value}; lost of " + ", ".join(lost.files))
            self.kill()
            raise

    def kill(self) -> None:
        if self._powered.server.process.poll() is None:
            self._powered.server.kill()

    def end(self) -> None:
        assert self._powered.server.stop() == 0
