"""Redriving: dead letters are put into the log once more, and judged by the meters and customers of today.

It goes through the log, so that a rebuild comes to the same. Nothing is counted twice by it, whatever is redriven at
the same time or again: only what counts claims its identifier, and what has counted since is a duplicate.
"""

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamgauge.domain.account import Tenant
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.redrive import DeadLetter, encode_redrive, redrive_of
from streamgauge.domain.settled_events import SettledEvents
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.judging import Judging
from streamgauge.engine.ports.dead_letters import DeadLetters, LetterFilter, Places
from streamgauge.engine.ports.event_log import EventLog, LogRecord
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.retention import RetentionPeriod
from streamgauge.engine.unapplied import Unapplied

logger = logging.getLogger(__name__)

# One record of the log: appended whole or not at all, and soon applied.
REDRIVE_EVENTS_MAX: Final = 10_000
# Of a trial, which appends nothing: it remembers what it would have counted.
TRIAL_EVENTS_MAX: Final = 1_000_000
# Where a trial's events would stand: behind everything.
_END_OFFSET: Final = 2**62

Fates = Mapping[tuple[str, str], int]  # how many by (fate, code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redriven:
    """What became of the letters that were selected, or would have. `rest`: where more may be; None: nowhere."""

    counted: int
    duplicates: int
    rejected: Mapping[str, int]
    rest: Places | None

    @property
    def selected(self) -> int:
        return self.counted + self.duplicates + sum(self.rejected.values())


class Redrives:
    """One redrive at a time, so that two at once do not put the same letters into the log."""

    def __init__(
        self,
        log: EventLog,
        progress: Progress,
        letters: DeadLetters,
        judging: Judging,
        unapplied: Unapplied,
        backlog: Backlog,
        period: RetentionPeriod | None = None,
    ) -> None:
        self._period = RetentionPeriod(log, None) if period is None else period
        self._log = log
        self._progress = progress
        self._letters = letters
        self._judging = judging
        self._unapplied = unapplied
        self._backlog = backlog
        self._lock = threading.Lock()

    def redrive(
        self, tenant: Tenant, wanted: LetterFilter, places: Places | None = None, *, limit: int = REDRIVE_EVENTS_MAX
    ) -> Redriven:
        """Redrive up to `limit` open letters, in the order of their first receipt; they would survive a power cut on
        return, and what is told of them is what the applier finds.

        Raises Overloaded or Unavailable: nothing was done.
        """
        self._backlog.check()
        with self._lock:
            places = places or self._all_applied()
            letters = self._letters.find(tenant, wanted, places, limit=limit)
            rest = _rest(letters, places, limit)
            letters = self._not_waiting(self._with_known_past(letters))
            if not letters:
                return _redriven({}, rest)
            block = redrive_of(letters)
            record = self._log.append(encode_redrive(block), block.tallies)
        fates = self._fates(record, letters)
        logger.info("redriven events=%d offset=%d", len(letters), record.first_offset)
        return _redriven(fates, rest)

    def trial(
        self, tenant: Tenant, wanted: LetterFilter, places: Places | None = None, *, limit: int = TRIAL_EVENTS_MAX
    ) -> Redriven:
        """What redriving them now would come to; nothing is written. What waits in the log is not looked at."""
        fates: Counter[tuple[str, str]] = Counter()
        counted = np.empty(0, np.uint64)
        rest = places or self._all_applied()
        looked_at = 0
        while looked_at < limit:
            portion = min(REDRIVE_EVENTS_MAX, limit - looked_at)
            letters = self._letters.find(tenant, wanted, rest, limit=portion)
            if known := self._with_known_past(letters):
                settled = self._judged_now(known)
                # A letter of an earlier portion has the claim. By hash, since this is only told: nothing is decided.
                late = settled.is_counted & np.isin(settled.hashes, counted)
                fates += Counter(_fates_of(settled, ~late))
                fates[str(Fate.DUPLICATE), ""] += int(late.sum())
                counted = np.concatenate([counted, settled.hashes[settled.is_counted]])
            looked_at += len(letters)
            behind = _rest(letters, rest, portion)
            if behind is None:
                return _redriven(fates, None)
            rest = behind
        return _redriven(fates, rest)

    def _all_applied(self) -> Places:
        return Places(below_offset=self._progress.checkpoint().next_offset)

    def _with_known_past(self, letters: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
        """Without those whose identifiers may have counted in events that retention drops."""
        from_ms = self._period.redrivable_from_ms()
        return [each for each in letters if each.received_at_ms >= from_ms]

    def _not_waiting(self, letters: Sequence[DeadLetter]) -> Sequence[DeadLetter]:
        """Without those that stand in the log to be judged once more already."""
        if not letters:
            return letters
        waiting = self._unapplied.find(_hashes(letters)).events
        if waiting is None or waiting.first_receipt is None:
            return letters
        known = set(waiting.first_offset[waiting.first_offset != waiting.offset].tolist())
        return [each for each in letters if each.first_offset not in known]

    def _judged_now(self, letters: Sequence[DeadLetter]) -> SettledEvents:
        block = redrive_of(letters)
        logged = LoggedBlock(block.events, _END_OFFSET, self._log.next_stamp_ms(), block.first_receipt)
        return self._judging.settled(received([logged]), below_offset=_END_OFFSET)

    def _fates(self, record: LogRecord, letters: Sequence[DeadLetter]) -> Fates:
        """Of the events of this record. It is applied as a whole or not at all."""
        ahead = self._unapplied.find(_hashes(letters))
        if record.first_offset < ahead.checkpoint:
            return self._letters.fates(record.first_offset, record.next_offset)
        settled = self._unapplied.judged(ahead)
        assert settled is not None, "what was appended and is not applied waits"
        offset = settled.table["log_offset"].to_numpy()
        return _fates_of(settled, (offset >= record.first_offset) & (offset < record.next_offset))


def all_of(redrives: Redrives, tenant: Tenant, wanted: LetterFilter) -> Iterator[Redriven]:
    """Redrive all letters that are there now, portion by portion."""
    rest: Places | None = None
    while True:
        portion = redrives.redrive(tenant, wanted, rest)
        yield portion
        rest = portion.rest
        if rest is None:
            return


def _hashes(letters: Sequence[DeadLetter]) -> NDArray[np.uint64]:
    return np.unique(hash_names([(each.tenant, each.identifier) for each in letters]))


def _rest(letters: Sequence[DeadLetter], places: Places, limit: int) -> Places | None:
    return Places(letters[-1].first_offset + 1, places.below_offset) if len(letters) == limit else None


def _fates_of(settled: SettledEvents, rows: NDArray[np.bool_]) -> Fates:
    table = settled.table.filter(rows).select(["status", "code"])
    return Counter(zip(table["status"].to_pylist(), table["code"].to_pylist(), strict=True))


def _redriven(fates: Fates, rest: Places | None) -> Redriven:
    rejected = {code: count for (fate, code), count in sorted(fates.items()) if fate == Fate.REJECTED}
    return Redriven(
        counted=sum(count for (fate, _), count in fates.items() if fate == Fate.COUNTED),
        duplicates=fates.get((str(Fate.DUPLICATE), ""), 0),
        rejected=rejected,
        rest=rest,
    )
