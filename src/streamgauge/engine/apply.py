"""Applying: from the event log, in its order, into the usage store. Each event gets its fate here."""

import logging
from collections.abc import Sequence
from typing import Final

from streamgauge.domain.errors import Corrupt
from streamgauge.domain.event_block import ReceivedEvents, decode, received
from streamgauge.domain.identifier_hash import hash_identifiers
from streamgauge.domain.judgement import judge
from streamgauge.domain.settled_events import SettledEvents, settled_events
from streamgauge.domain.settlement import settle
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.deduplication import Deduplication
from streamgauge.engine.ports.event_log import EventLog, LogRecord
from streamgauge.engine.ports.progress import Checkpoint, Intent, Progress
from streamgauge.engine.ports.usage_store import UsageStore

logger = logging.getLogger(__name__)

# Within one step no claim can leave the deduplication window, and the step's parts stay few.
STEP_SPAN_MAX_MS: Final = 3_600_000


class Applier:
    """Applies one partition of the log, one range at a time.

    The order is what makes it exact: the intent is written, the range is inserted under the intent's token, then the
    checkpoint advances. After a crash at any point the same range is judged again, gives the same rows, and the store
    drops those that it has. Judging looks only at what lies before the range, so the second time nothing has changed.
    """

    def __init__(
        self,
        log: EventLog,
        progress: Progress,
        store: UsageStore,
        catalogue: CatalogueKeeper,
        deduplication: Deduplication,
        *,
        step_events_max: int,
    ) -> None:
        self._log = log
        self._progress = progress
        self._store = store
        self._catalogue = catalogue
        self._deduplication = deduplication
        self._step_events_max = step_events_max
        self._checkpoint = progress.checkpoint()
        if (left_behind := progress.intent()) is not None:
            logger.info("redo offset=%d next_offset=%d", left_behind.first_offset, left_behind.next_offset)

    @property
    def checkpoint(self) -> Checkpoint:
        return self._checkpoint

    def run_once(self) -> int:
        """Apply the next range; how many events it had, 0 when the log has no more.

        Raises Corrupt (naming the offset), StorageFull or Unavailable: the same step can be run again.
        """
        intent, records = self._next_range()
        if not records:
            return 0
        settled = self._settle(records)
        self._progress.intend(intent)
        self._store.insert(settled, intent.token)
        self._deduplication.claim(settled.claimed_hashes, settled.last_received_at_ms)
        self._checkpoint = Checkpoint(intent.next_offset, settled.last_received_at_ms)
        self._progress.advance(self._checkpoint, settled.events_per_tenant)
        return intent.next_offset - intent.first_offset

    def _next_range(self) -> tuple[Intent, Sequence[LogRecord]]:
        """The range of an intent that a crash left behind, exactly; else what follows the checkpoint."""
        offset = self._checkpoint.next_offset
        left_behind = self._progress.intent()
        if left_behind is not None:
            size = left_behind.next_offset - left_behind.first_offset
            records = self._log.read(left_behind.first_offset, events_max=size)
            if not records or records[-1].next_offset != left_behind.next_offset:
                raise Corrupt(f"event log, offset {offset}: the range {left_behind.token} of the intent is not there")
            return left_behind, records
        records = self._log.read(offset, events_max=self._step_events_max)
        if records:
            last_ms = records[0].received_at_ms + STEP_SPAN_MAX_MS
            records = [record for record in records if record.received_at_ms < last_ms]
        return Intent(offset, records[-1].next_offset if records else offset), records

    def _settle(self, records: Sequence[LogRecord]) -> SettledEvents:
        events = _received(records)
        # After the records were read: then every change that was stamped before them is in it.
        catalogue = self._catalogue.settled()
        judgement = judge(events, catalogue)
        hashes = hash_identifiers(events.identifier, events.tenant, events.tenants)
        claimed = self._deduplication.claimed(events, hashes, below_offset=records[0].first_offset)
        settlement = settle(events, judgement.code, hashes, claimed)
        return settled_events(events, judgement, settlement, hashes, self._log.partition)


def _received(records: Sequence[LogRecord]) -> ReceivedEvents:
    blocks = []
    for record in records:
        try:
            block = decode(record.block)
        except ValueError as error:
            raise Corrupt(f"event log, offset {record.first_offset}: {error}") from error
        if block.events.num_rows != record.next_offset - record.first_offset:
            raise Corrupt(
                f"event log, offset {record.first_offset}: {block.events.num_rows} events, offsets say otherwise"
            )
        blocks.append(block)
    return received(blocks, [record.received_at_ms for record in records], records[0].first_offset)
