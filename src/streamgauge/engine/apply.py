"""Applying: from the event log, in its order, into the usage store. Each event gets its fate here."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CancelBlock, Cancellation, LoggedCancel, effective
from streamgauge.domain.errors import Corrupt, Overloaded, Unavailable
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
from streamgauge.engine.recently_touched import RecentlyTouched

logger = logging.getLogger(__name__)

# Within one step no claim can leave the deduplication window, and the step's parts stay few.
STEP_SPAN_MAX_MS: Final = 3_600_000
# Nor has it more than so many bytes of events, or one record: a column of text holds 2 GiB, and it stands in memory
# several times.
STEP_BYTES_MAX: Final = 2**28

# So many entries must wait behind a step for the next one to be judged beside its insert. With fewer, what arrives
# meanwhile belongs in the next step, too: of steps half as large each event takes a tenth more CPU.
AHEAD_ENTRIES_MIN: Final = 200_000


@dataclass(slots=True)
class _Step:
    """What one range of the log comes to. `again`: an attempt that did not come to its end may have stored some of it.
    `claimed_in`: the deduplication filter that knows its claims, by how often one was made anew."""

    intent: Intent
    last_ms: int
    settled: SettledEvents | None
    cancellations: Sequence[Cancellation]
    tallies: dict[Tenant, Tally]
    again: bool
    claimed_in: int | None = None


class Applier:
    """Applies one partition of the log, one range at a time.

    The order is what makes it exact: the intent is written, the range is inserted, then the checkpoint advances. After
    a crash at any point, or an error, the same range is judged again, gives the same rows, and the store, which is told
    so, leaves out those that it has. Judging looks only at what lies before the range, so the second time nothing has
    changed.

    While a long log waits, the next range is judged beside the insert of this one, which the store does in other
    threads. Of what lies before it, it then finds this range's claims among the recent ones, and all else in the store.
    """

    def __init__(
        self,
        log: EventLog,
        progress: Progress,
        store: UsageStore,
        judging: Judging,
        deduplication: Deduplication,
        *,
        recently: RecentlyTouched,
        step_events_max: int,
        step_bytes_max: int = STEP_BYTES_MAX,
        ahead_entries_min: int = AHEAD_ENTRIES_MIN,
    ) -> None:
        self._log = log
        self._progress = progress
        self._store = store
        self._judging = judging
        self._deduplication = deduplication
        self._recently = recently
        self._step_events_max = step_events_max
        self._step_bytes_max = step_bytes_max
        self._ahead_entries_min = ahead_entries_min
        self._checkpoint = progress.checkpoint()
        self._next: _Step | None = None  # judged, and not begun or not ended
        self._inserting = ThreadPoolExecutor(1, thread_name_prefix="insert")
        if (left_behind := progress.intent()) is not None:
            logger.info("redo offset=%d next_offset=%d", left_behind.first_offset, left_behind.next_offset)

    @property
    def checkpoint(self) -> Checkpoint:
        return self._checkpoint

    @property
    def waiting(self) -> int:
        """How many entries of the log are not applied yet. Raises Corrupt or Unavailable."""
        return self._log.end_offset() - self._checkpoint.next_offset

    def run_once(self) -> int:
        """Apply the next range; how many entries it had, 0 when the log has no more.

        Raises Corrupt (naming the offset), StorageFull or Unavailable: the same step can be run again.
        """
        step, self._next = self._next, None
        if step is None:
            step = self._judged(*self._range(self._progress.intent()))
        if step is None:
            return 0
        if step.again and self._progress.checkpoint().next_offset == step.intent.next_offset:
            return self._completed(step)  # the error came after its end had been written
        if step.settled is not None and step.claimed_in != self._deduplication.rebuilds:
            self._deduplication.claim(step.settled, step.last_ms)
            step.claimed_in = self._deduplication.rebuilds
        try:
            if self._log.end_offset() - step.intent.next_offset < self._ahead_entries_min:
                self._store_step(step)
            else:
                self._next = self._judged_beside(step)
        except BaseException:
            step.again, self._next = True, step
            raise
        return self._completed(step)

    def _completed(self, step: _Step) -> int:
        self._checkpoint = Checkpoint(step.intent.next_offset, step.last_ms)
        self._deduplication.complete(self._checkpoint)
        return step.intent.next_offset - step.intent.first_offset

    def _store_step(self, step: _Step) -> None:
        """In this order: what was intended and is not complete is done again."""
        intent, again = step.intent, step.again
        self._progress.intend(intent)
        if step.settled is not None:
            self._store.insert(step.settled, step=intent.first_offset, again=again)
        if step.cancellations:
            # After the events, because a range may cancel what it holds itself.
            self._store.cancel(step.cancellations, step=intent.first_offset, again=again)
        self._recently.add(intent, step.settled, step.cancellations)
        self._progress.advance(Checkpoint(intent.next_offset, step.last_ms), step.tallies)

    def _judged_beside(self, step: _Step) -> _Step | None:
        """Store the step, and judge the one behind it meanwhile. Raises what storing raises."""
        storing = self._inserting.submit(self._store_step, step)
        following = None
        try:
            records = self._log.read(step.intent.next_offset, events_max=self._step_events_max)
            following = self._judged(step.intent.next_offset, within_an_hour(records), beside=True)
        except (Corrupt, Overloaded, Unavailable) as error:
            logger.info("judging ahead of offset=%d failed, and is done again: %s", step.intent.next_offset, error)
        finally:
            storing.result()
        return following

    def _range(self, left_behind: Intent | None) -> tuple[int, Sequence[LogRecord], bool]:
        """The range of an intent that a crash left behind, exactly; else what follows the checkpoint."""
        offset = self._checkpoint.next_offset
        if left_behind is not None:
            size = left_behind.next_offset - left_behind.first_offset
            records = self._log.read(left_behind.first_offset, events_max=size)
            if not records or records[-1].next_offset != left_behind.next_offset:
                raise Corrupt(f"event log, offset {offset}: the range {left_behind} of the intent is not there")
            return left_behind.first_offset, records, True
        return offset, within_an_hour(self._log.read(offset, events_max=self._step_events_max)), False

    def _judged(
        self, offset: int, records: Sequence[LogRecord], again: bool = False, *, beside: bool = False
    ) -> _Step | None:
        """None when there are no records; or, `beside` the insert of the step before, when the store must be asked for
        more than claims."""
        events: list[LoggedBlock] = []
        cancels: list[LoggedCancel] = []
        tallies: dict[Tenant, Tally] = {}
        size = 0
        for number, record in enumerate(records):
            block = contents_of(record)
            if beside and not isinstance(block, EventBlock):
                return None
            size += block.size_bytes
            if size > self._step_bytes_max and number and not again:  # what is done again has the range it had
                records = records[:number]
                break
            for tenant, tally in block.tallies.items():
                tallies[tenant] = tallies.get(tenant, NOTHING) + tally
            if isinstance(block, CancelBlock):
                cancels += logged_cancels(block, record)
            else:
                events.append(logged_events(block, record))
        if not records:
            return None
        settled = self._judging.settled(received(events), below_offset=offset) if events else None
        return _Step(
            Intent(offset, records[-1].next_offset),
            records[-1].received_at_ms,
            settled,
            self._cancellations(cancels, settled, offset),
            tallies,
            again,
        )

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


def within_an_hour(records: Sequence[LogRecord]) -> Sequence[LogRecord]:
    """The first of them, up to STEP_SPAN_MAX_MS after the first one was received."""
    if not records:
        return records
    last_ms = records[0].received_at_ms + STEP_SPAN_MAX_MS
    return [record for record in records if record.received_at_ms < last_ms]


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
