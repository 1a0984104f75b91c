"""The keys of a data folder, for the command line."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from streamgauge.adapters.system.clock import SystemClock, SystemEntropy
from streamgauge.adapters.system.data_folder import DataFolder
from streamgauge.bootstrap.data_plane import open_control_store
from streamgauge.domain.account import Account
from streamgauge.engine.accounts import Accounts
from streamgauge.engine.keys import Keys


@contextmanager
def open_keys(folder: DataFolder) -> Iterator[tuple[Keys, Account]]:
    """The keys of a data folder, whether or not a server runs on it."""
    with ExitStack() as stack:
        control = open_control_store(folder, stack)
        clock, entropy = SystemClock(), SystemEntropy()
        yield Keys(control, clock, entropy), Accounts(control, clock, entropy).default()
