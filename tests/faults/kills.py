"""One kill after the other on one server, each in another way or place; what it says is compared with the ledger.

Goal:   promises 1 and 2 of DESIGN.md wherever SIGKILL may come, also where chance would seldom bring it.
Method: every round has a seed of its own, which chooses what is killed and where. Clients send, cancel and make things
        meanwhile, and keep a ledger. Chosen points are calls of the C library on a named file, counted by a shim: it
        kills all processes from inside of the call. Afterwards the server is started, which must be possible, all that
        was not answered is sent again, and totals, receipts and objects must be the ledger's.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from tests.support.asked_rebuild import ask_for_a_rebuild
from tests.support.faults import FaultyServer, Point, Shim, wait_until
from tests.support.ledger import Ledger, Load, differences, send_again
from tests.support.program import children_of, is_running, run
from tests.support.server import Client

# Small steps, so that kills meet all stages: many intents, inserts and checkpoints.
SETTINGS: Final[dict[str, Any]] = {
    "apply_events_max": 2_000,
    "apply_interval_ms": 5,
    "session_lifetime_seconds": 86_400,
}
_POINT_SECONDS_MAX: Final = 4.0
# Deaths of an edge soon after its start: of five in a row the server ends, as it should.
_EDGE_DEATHS_MAX: Final = 3

# Call, part of the path, and up to which of these calls. Under load; the number decides whether it is an intent or a
# checkpoint, an event's table or a rollup's.
POINTS: Final[Mapping[str, tuple[tuple[str, str, int], ...]]] = {
    "append": (("write", "log.db-wal", 30),),
    "fsync": (("sync", "log.db-wal", 20),),
    "intent or checkpoint": (("write", "progress.db-wal", 20), ("sync", "progress.db-wal", 12)),
    "insert": (("write", "/store/store/", 400), ("sync", "/store/store/", 150), ("rename", "tmp_insert", 30)),
    "control store": (("write", "control.db-wal", 12), ("sync", "control.db-wal", 6)),
}
# While it starts. Of a server that was killed there is something to redo, to rebuild the filter from, and to migrate.
START_POINTS: Final = (
    ("write", "format", 2),
    ("read", "log.db", 10),
    ("read", "control.db", 10),
    ("write", "progress.db", 4),
    ("sync", "progress.db", 3),
    ("write", "/store/", 40),
    ("sync", "/store/", 60),
    ("read", "/store/store/", 200),
)
REBUILD_POINTS: Final = (("write", "/store/store/", 150), ("sync", "/store/", 120), ("rename", ".sql", 6))


class KillRounds:
    """Raises AssertionError, naming the round, when the server does not start or does not agree."""

    def __init__(self, root: Path, shim: Shim, seed: int, first_round: int = 0) -> None:
        self._root = root
        self._shim = shim
        self.seed = seed
        self.round = first_round
        self.kills: Counter[str] = Counter()
        self.points_met = 0
        self.slowest_start: tuple[float, str] = (0.0, "")  # seconds, and in which round
        self._doing = "at first"
        self._edge_deaths = 0
        self.server = FaultyServer(root / "data", environment=shim.environment, **SETTINGS)
        self._rng = random.Random(f"{seed}-{first_round}")
        self._start()
        with Client(self.server.url) as client:
            self.ledger = Ledger.opened(client, seed)

    @property
    def total(self) -> int:
        return sum(self.kills.values())

    def run(self, kind: str | None = None) -> None:
        """One round, of a `kind` that the seed chooses."""
        self._rng = random.Random(f"{self.seed}-{self.round}")
        kinds: dict[str, Callable[[], None]] = {
            "group": self._kill_group,
            "engine": self._kill_engine,
            "edge": self._kill_edge,
            "start": self._kill_start,
            "rebuild": self._kill_rebuild,
            "backup": self._kill_backup,
        } | {f"at {name}": lambda name=name: self._kill_at(name) for name in POINTS}
        weights = [3, 2, 3, 3, 1, 1] + [2] * len(POINTS)
        chosen = kind or self._rng.choices(list(kinds), weights)[0]
        if chosen == "edge" and self._edge_deaths >= _EDGE_DEATHS_MAX:
            chosen = "group"
        self._edge_deaths = self._edge_deaths + 1 if chosen == "edge" else 0
        self._doing = f"seed {self.seed}, round {self.round}: {chosen}"
        try:
            kinds[chosen]()
            self.kills[chosen] += 1
            self._recover()
        except BaseException as error:
            error.add_note(f"{self._doing}\nThe server's log:\n{self.server.said()[-4_000:]}")
            raise
        self.round += 1

    def end(self) -> None:
        """Compare all, and count again from the log."""
        with Client(self.server.url) as client:
            assert differences(client, self.ledger, self._rng, receipts=200) == []
        assert self.server.stop() == 0
        done = run("verify", "--data-dir", str(self.server.data_dir), seconds=600)
        assert done.code == 0, done

    # What is killed

    def _kill_group(self) -> None:
        load = self._load()
        time.sleep(self._rng.uniform(0.02, 0.6))
        self.server.kill()
        load.end()

    def _kill_engine(self) -> None:
        """The edge must then end by itself, and let go of the folder."""
        load = self._load()
        time.sleep(self._rng.uniform(0.02, 0.6))
        edges = children_of(self.server.process.pid)
        self.server.process.kill()
        self.server.ended()
        load.end()
        wait_until(lambda: not any(is_running(each) for each in edges), "the edge ends with its engine")

    def _kill_edge(self) -> None:
        """The engine starts another one; the server is not started anew."""
        load = self._load()
        time.sleep(self._rng.uniform(0.02, 0.6))
        (edge,) = children_of(self.server.process.pid)
        os.kill(edge, signal.SIGKILL)
        load.end()
        began = time.monotonic()
        wait_until(lambda: self._is_ready(edge), "another edge is ready")
        self._took(time.monotonic() - began)

    def _kill_at(self, name: str) -> None:
        self._arm(self._rng.choice(POINTS[name]))
        load = self._load()
        self._wait_for_the_end()
        load.end()

    def _kill_start(self) -> None:
        """Of a server that was killed under load just before, so that there is something to take up."""
        load = self._load()
        time.sleep(self._rng.uniform(0.02, 0.3))
        self.server.kill()
        load.end()
        if self._rng.random() < 0.3:
            # As one that a former version left, whose store has another format: it is made anew from the log.
            (self.server.data_dir / "store" / "format").write_text("1\n")
            self._doing += " (of a former version)"
        self._arm(self._rng.choice(START_POINTS))
        try:
            self.server.start()
        except AssertionError:  # it was killed before it was ready
            assert self.server.process.returncode == -signal.SIGKILL, self.server.said()[-4_000:]
            self.points_met += 1
        else:
            self._wait_for_the_end()

    def _kill_rebuild(self) -> None:
        told: list[object] = []
        load = self._load()
        asking = threading.Thread(target=ask_for_a_rebuild, args=(self.server.data_dir, told))
        self._arm(self._rng.choice(REBUILD_POINTS))
        asking.start()
        self._wait_for_the_end()
        asking.join()
        load.end()

    def _kill_backup(self) -> None:
        """The command, or the server beside it; what it made is whole, or refused."""
        copy, restored = self._root / "copy", self._root / "restored"
        load = self._load()
        command = [sys.executable, "-m", "streamgauge", "backup", str(copy), "--data-dir", str(self.server.data_dir)]
        if self._rng.random() < 0.5:
            command.append("--with-store")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: copy.exists() or process.poll() is not None, "the backup begins")
        time.sleep(self._rng.uniform(0, 0.1))
        if self._rng.random() < 0.5:
            process.kill()
        self.server.kill()
        load.end()
        process.wait()
        done = run("restore", str(copy), "--data-dir", str(restored), seconds=120)
        if (copy / "backup.json").exists():
            assert done.code == 0, done
            checked = run("verify", "--data-dir", str(restored), seconds=120)
            assert checked.code == 0, checked
        else:
            assert done.code == 2, done
        for folder in (copy, restored):
            shutil.rmtree(folder, ignore_errors=True)

    # Around it

    def _load(self) -> Load:
        return Load(self.server.url, self.ledger, self._rng)

    def _arm(self, point: tuple[str, str, int]) -> None:
        call, part, number_max = point
        chosen = Point(call, part, self._rng.randint(1, number_max), self._rng.choice(("before", "after")))
        self._doing += f", {chosen}"
        self._shim.kill_at(chosen)

    def _wait_for_the_end(self) -> None:
        """By the shim; when the point is not met in time, by a plain kill."""
        try:
            self.server.process.wait(_POINT_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.server.kill()
        else:
            # It was the edge, perhaps, that got there; the group is the same.
            self.server.ended()
            assert self.server.process.returncode == -signal.SIGKILL, self.server.said()[-4_000:]
            self.points_met += 1
        self._shim.heal()

    def _recover(self) -> None:
        if self.server.process.poll() is not None:
            self._shim.heal()
            self._start()
        send_again(self.server.url, self.ledger, self._rng)
        with Client(self.server.url) as client:
            assert differences(client, self.ledger, self._rng, receipts=10) == []

    def _start(self) -> None:
        began = time.monotonic()
        self.server.start()
        self._took(time.monotonic() - began)

    def _took(self, seconds: float) -> None:
        self.slowest_start = max(self.slowest_start, (seconds, self._doing))

    def _is_ready(self, former_edge: int) -> bool:
        if children_of(self.server.process.pid) in ([], [former_edge]):
            return False
        try:
            return httpx.get(f"{self.server.url}/readyz", trust_env=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return False
