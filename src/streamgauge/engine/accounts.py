"""Accounts: whom everything belongs to."""

import threading

from streamgauge.domain.account import Account
from streamgauge.engine.ports.clock import Clock, Entropy
from streamgauge.engine.ports.control_store import ControlStore

DEFAULT_NAME = "Default account"


class Accounts:
    """A self-hosted service starts with one account, made when it is first asked for."""

    def __init__(self, store: ControlStore, clock: Clock, entropy: Entropy) -> None:
        self._store = store
        self._clock = clock
        self._entropy = entropy
        self._lock = threading.Lock()

    def default(self) -> Account:
        """The oldest account; in an empty store one is made."""
        with self._lock:
            account = self._store.first_account()
            if account is None:
                account = Account(
                    id="acct_" + self._entropy.token(16), name=DEFAULT_NAME, created_ms=self._clock.now_ms()
                )
                self._store.add_account(account)
            return account
