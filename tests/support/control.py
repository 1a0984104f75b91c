"""What tests of the control plane's services stand on: a clock that is told, tokens that are counted, stamps."""

from typing import cast

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.domain.account import Account
from streamgauge.domain.counting_rules import CountingRules, RulesHistory
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.ports.event_log import EventLog

NOW_MS = 1_700_000_000_000


class SettableClock:
    def __init__(self, ms: int = NOW_MS) -> None:
        self.ms = ms

    def now_ms(self) -> int:
        return self.ms


class CountingEntropy:
    """Tokens that never repeat: the number of the call, filled up with zeros."""

    def __init__(self) -> None:
        self.calls = 0

    def token(self, length: int) -> str:
        self.calls += 1
        return f"{self.calls:0{length}d}"


class StampingLog:
    """The one thing a catalogue needs of the log: stamps that only rise."""

    def __init__(self) -> None:
        self.last_ms = 0

    def stamp(self, at_least_ms: int) -> int:
        self.last_ms = max(self.last_ms + 1, at_least_ms)
        return self.last_ms


def store_with_accounts(*account_ids: str) -> MemoryControlStore:
    made = MemoryControlStore()
    for account_id in account_ids:
        made.add_account(Account(id=account_id, name=account_id, created_ms=1))
    return made


def keeper(store: MemoryControlStore) -> CatalogueKeeper:
    log = cast(EventLog, StampingLog())
    return CatalogueKeeper(store, log, SettableClock(), RulesHistory.of(CountingRules()))
