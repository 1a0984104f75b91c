"""How far the log has been applied: the checkpoint, and the intent that makes a redo exact."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from streamgauge.domain.account import Tenant
from streamgauge.domain.tally import Tally


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every entry below `next_offset` has its effect in the usage store; `received_at_ms` is the last one's."""

    next_offset: int = 0
    received_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Intent:
    """The range [first_offset, next_offset) is about to be inserted, or was and is not known to be."""

    first_offset: int
    next_offset: int

    def __str__(self) -> str:
        return f"{self.first_offset}-{self.next_offset}"


class Progress(Protocol):
    """Each write would survive a power cut on return. Raises StorageFull or DurabilityLost like the event log."""

    def checkpoint(self) -> Checkpoint: ...

    def intent(self) -> Intent | None:
        """The intent beyond the checkpoint, if one was written and not completed."""

    def intend(self, intent: Intent) -> None:
        """Write it before the insert. It begins at the checkpoint's offset."""

    def advance(self, checkpoint: Checkpoint, applied: Mapping[Tenant, Tally]) -> None:
        """Complete the intent: its effects are in the store. `applied` adds to each tenant's tally."""

    def applied(self) -> Mapping[Tenant, Tally]:
        """How many entries of each tenant lie below the checkpoint."""

    def close(self) -> None: ...
