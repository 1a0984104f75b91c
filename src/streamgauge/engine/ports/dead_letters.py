"""Reading dead letters: rejected events, as the usage store has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.redrive import DeadLetter


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterFilter:
    """What a dead letter must be like. None does not ask; of several values one is enough.

    Times bound the first receipt, half-open, in milliseconds since the epoch, UTC. `is_open` None: open and closed.
    """

    codes: frozenset[str] | None = None
    event_names: frozenset[str] | None = None
    customers: frozenset[str] | None = None
    identifier: str | None = None
    received_from_ms: int | None = None
    received_before_ms: int | None = None
    is_open: bool | None = True


@dataclass(frozen=True, slots=True)
class Places:
    """Of first offsets, half-open. `newest_first` says from which end."""

    first_offset: int = 0
    below_offset: int = 2**62
    newest_first: bool = False


class DeadLetters(Protocol):
    """Each acknowledged event is there once, as its newest rejection left it; none that was never rejected. Open is
    one whose identifier has not counted since it was received first, cancelled since or not.

    Raises Unavailable when the store is away.
    """

    def find(self, tenant: Tenant, wanted: LetterFilter, places: Places, *, limit: int) -> Sequence[DeadLetter]:
        """Up to `limit` of them, by the place in the log where each was received first."""

    def fates(self, first_offset: int, next_offset: int) -> Mapping[tuple[str, str], int]:
        """How many events that stand there in the log have which (fate, code); the code is "" unless rejected."""

    def close(self) -> None: ...
