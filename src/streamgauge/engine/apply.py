"""Applying: from the event log, in its order, into the usage store. Each event gets its fate here."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CancelBlock, Cancellation, LoggedCancel, effective
from streamgauge.domain.errors import Corrupt
from streamgauge.domain.event_block import EventBlock
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.log_block import LogBlock, decode_block
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.redrive import RedriveBlock
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.domain.tally import NOTHING, Tally
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.judging import Judging
from streamgauge.engine.ports.event_log import EventLog, LogRecord
from streamgauge.engine.ports.progress import Checkpoint, Intent, Progress
from streamgauge.engine.ports.usage_store import UsageStore

logger = logging.getLogger(__name__)

# Within one step no claim can leave the deduplication window, and the step's parts stay few.
STEP_SPAN_MAX_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class _Step:
    """What one range of the log comes to."""

    settled: SettledEvents | None
    cancellations: Sequence[Cancellation]
    tallies: dict[Tenant, Tally]


class Applier:
    """Applies one partition of the log, one range at a time.

    The order is what makes it exact: the intent is written, the range is inserted, then the checkpoint advances. After
    a crash at any point, or an error, the same range is judged again, gives the same rows, and the store, which is told
    so, leaves out those that it has. Judging looks only at what lies before the range, so the second time nothing has
    changed.
    """

    def __init__(
        self,
        log: EventLog,
        progress: Progress,
        store: UsageStore,
        judging: Judging,
        deduplication: Deduplication,
        *,
        step_events_max: int,
    ) -> None:
        self._log = log
        self._progress = progress
        self._store = store
        self._judging = judging
        self._deduplication = deduplication
        self._step_events_max = step_events_max
        self._checkpoint = progress.checkpoint()
        if (left_behind := progress.intent()) is not None:
            logger.info("redo offset=%d next_offset=%d", left_behind.first_offset, left_behind.next_offset)

    @property
    def checkpoint(self) -> Checkpoint:
        return self._checkpoint

    def run_once(self) -> int:
        """Apply the next range; how many entries it had, 0 when the log has no more.

        Raises Corrupt (naming the offset), StorageFull or Unavailable: the same step can be run again.
        """
        left_behind = self._progress.intent()
        intent, records = self._next_range(left_behind)
        if not records:
            return 0
        step = self._judged(records)
        self._progress.intend(intent)
        last_ms = records[-1].received_at_ms
        if step.settled is not None:
            self._store.insert(step.settled, step=intent.first_offset, again=left_behind is not None)
        if step.cancellations:
            # After the events, because a range may cancel what it holds itself.
            self._store.cancel(step.cancellations, step=intent.first_offset, again=left_behind is not None)
        if step.settled is not None:
            self._deduplication.claim(step.settled, last_ms)
        self._checkpoint = Checkpoint(intent.next_offset, last_ms)
        self._progress.advance(self._checkpoint, step.tallies)
        self._deduplication.complete(self._checkpoint)
        return intent.next_offset - intent.first_offset

    def _next_range(self, left_behind: Intent | None) -> tuple[Intent, Sequence[LogRecord]]:
        """The range of an intent that a crash left behind, exactly; else what follows the checkpoint."""
        offset = self._checkpoint.next_offset
        if left_behind is not None:
            size = left_behind.next_offset - left_behind.first_offset
            records = self._log.read(left_behind.first_offset, events_max=size)
            if not records or records[-1].next_offset != left_behind.next_offset:
                raise Corrupt(f"event log, offset {offset}: the range {left_behind} of the intent is not there")
            return left_behind, records
        records = self._log.read(offset, events_max=self._step_events_max)
        if records:
            last_ms = records[0].received_at_ms + STEP_SPAN_MAX_MS
            records = [record for record in records if record.received_at_ms < last_ms]
        return Intent(offset, records[-1].next_offset if records else offset), records

    def _judged(self, records: Sequence[LogRecord]) -> _Step:
        events: list[LoggedBlock] = []
        cancels: list[LoggedCancel] = []
        tallies: dict[Tenant, Tally] = {}
        for record in records:
            block = contents_of(record)
            for tenant, tally in block.tallies.items():
                tallies[tenant] = tallies.get(tenant, NOTHING) + tally
            if isinstance(block, CancelBlock):
                cancels += logged_cancels(block, record)
            else:
                events.append(logged_events(block, record))
        below_offset = records[0].first_offset
        settled = self._judging.settled(received(events), below_offset=below_offset) if events else None
        return _Step(settled, self._cancellations(cancels, settled, below_offset), tallies)

    def _cancellations(
        self, cancels: Sequence[LoggedCancel], settled: SettledEvents | None, below_offset: int
    ) -> Sequence[Cancellation]:
        if not cancels:
            return ()
        hashes = np.unique(hash_names([(each.request.origin.tenant, each.request.identifier) for each in cancels]))
        # All of them, since also what is too old to be cancelled must be told from what never was.
        counted = list(self._store.counted(hashes, since_ms=0, below_offset=below_offset))
        if settled is not None:
            counted += settled.counted(hashes)
        return effective(cancels, counted)


def logged_events(block: EventBlock | RedriveBlock, record: LogRecord) -> LoggedBlock:
    """The block with its place in the log."""
    if isinstance(block, RedriveBlock):
        return LoggedBlock(block.events, record.first_offset, record.received_at_ms, block.first_receipt)
    return LoggedBlock(block, record.first_offset, record.received_at_ms)


def logged_cancels(block: CancelBlock, record: LogRecord) -> list[LoggedCancel]:
    """Each request of the block with its place in the log."""
    return [
        LoggedCancel(request, record.first_offset + at, record.received_at_ms)
        for at, request in enumerate(block.requests)
    ]


def contents_of(record: LogRecord) -> LogBlock:
    """What the record holds. Raises Corrupt, naming the offset, when that cannot be read."""
    try:
        block = decode_block(record.block)
    except ValueError as error:
        raise Corrupt(f"event log, offset {record.first_offset}: {error}") from error
    if len(block) != record.next_offset - record.first_offset:
        raise Corrupt(f"event log, offset {record.first_offset}: {len(block)} entries, offsets say otherwise")
    return block
