"""Verifying: everything that is stored and served of usage is compared with a recount from the log.

First the events. The log is read once for each share of identifiers, counted again by the plain definitions
(`domain/recount.py`), and compared row by row with the raw events and cancellations in the store. Shares bound the
memory, and an event's fate depends on nothing outside of its identifier's share. Then the rollups: minute by minute
they must be what the recounted events add up to. Since the raw events were equal to the recounted ones, that compares
the rollups with both. At last summaries are asked, of some customers on each day (`engine/served_totals.py`).

Of a log whose beginning was dropped, what it still has is compared. What it cannot know is taken from the store: that
an event of its first 35 days repeats one that was dropped. Rollups are compared by day from the first one on that no
dropped event can be part of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import CancelBlock, Cancellation, LoggedCancel
from streamgauge.domain.catalogue import Catalogue
from streamgauge.domain.fate import Fate
from streamgauge.domain.identifier_hash import hash_identifiers, hash_names
from streamgauge.domain.meter_event import TIMESTAMP_FUTURE_MAX_MS
from streamgauge.domain.received_events import LoggedBlock, ReceivedEvents, received
from streamgauge.domain.recount import RECOUNT_SCHEMA, Recount
from streamgauge.domain.summary import MINUTE_S, Range
from streamgauge.domain.tally import NOTHING, Tally
from streamgauge.engine.apply import STEP_BYTES_MAX, contents_of, logged_cancels, logged_events
from streamgauge.engine.expected_rollups import ExpectedRollups
from streamgauge.engine.ports.event_log import EventLog
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.rebuild import OnProgress
from streamgauge.engine.ports.usage_audit import UsageAudit
from streamgauge.engine.retention import DAY_MS, LOOKS_BACK_DAYS
from streamgauge.engine.served_totals import ServedTotals
from streamgauge.engine.table_difference import differing_cells

SHARE_EVENTS: Final = 500_000
DIFFERENCES_MAX: Final = 20
_READ_EVENTS: Final = 200_000
_HASHES: Final = 2**64
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared. `differences` are sentences that name place and both values; at most DIFFERENCES_MAX.

    `redriven` is how often events were judged once more. The log begins at `from_offset`; what came before was dropped.
    """

    events: int
    redriven: int
    cancellations: int
    windows: int
    unapplied: int
    from_offset: int
    differences: Sequence[str]


class Verification:
    """One comparison, of what lies below the checkpoint. Nothing may be applied meanwhile; nothing is changed."""

    def __init__(
        self,
        log: EventLog,
        progress: Progress,
        audit: UsageAudit,
        catalogue: Catalogue,
        *,
        share_events: int = SHARE_EVENTS,
    ) -> None:
        self._log = log
        self._progress = progress
        self._audit = audit
        self._catalogue = catalogue
        self._served = ServedTotals(audit.totals, catalogue)
        self._end = progress.checkpoint().next_offset
        self._beginning = log.beginning()
        self._shares = max(-(-(self._end - self._beginning.offset) // share_events), 1)
        self._differences: list[str] = []
        self._acknowledged = 0
        self._redriven = 0
        self._cancellations = 0
        self._windows = 0

    def run(self, on_progress: OnProgress | None = None) -> Verified:
        """Raises Corrupt, naming the offset, when a record of the log cannot be read. `on_progress` gets (entries
        read, entries in all), where the log counts once for each share."""
        rollups = ExpectedRollups()
        for share in range(self._shares):
            if self._is_enough():
                break
            self._verify_share(share, rollups, on_progress)
        for offset in self._audit.unnamed(DIFFERENCES_MAX):
            self._differences.append(f"offset {offset}: the event is in the store, and no look-up finds it")
        for day in sorted({*rollups.days(), *self._audit.days()}):
            if self._is_enough():
                break
            # What was dropped was received before; its timestamp may lie ahead of that, but no further.
            if (
                not self._beginning.offset
                or day * _DAY_S * 1000 >= self._beginning.received_from_ms + TIMESTAMP_FUTURE_MAX_MS
            ):
                self._verify_day(day, rollups)
        return Verified(
            self._acknowledged,
            self._redriven,
            self._cancellations,
            self._windows,
            self._log.end_offset() - self._end,
            self._beginning.offset,
            self._differences[:DIFFERENCES_MAX],
        )

    # Events

    def _verify_share(self, share: int, rollups: ExpectedRollups, on_progress: OnProgress | None) -> None:
        first, last = share * _HASHES // self._shares, (share + 1) * _HASHES // self._shares - 1
        stored = self._stored(first, last)
        recount = Recount(self._catalogue, self._log.partition, self._repeats(stored))
        tallies: dict[Tenant, Tally] = {}
        for part, next_offset in self._parts(tallies):
            if isinstance(part, ReceivedEvents):
                hashes = hash_identifiers(part.identifier, part.tenant, part.tenants)
                rows = np.flatnonzero((hashes >= np.uint64(first)) & (hashes <= np.uint64(last)))
                if len(rows):
                    recount.take_events(part.take(rows))
            else:
                numbers = hash_names([(each.request.origin.tenant, each.request.identifier) for each in part]).tolist()
                mine = [at for at, number in enumerate(numbers) if first <= number <= last]
                recount.take_cancels([part[at] for at in mine], [numbers[at] for at in mine])
            if on_progress is not None:
                done, size = next_offset - self._beginning.offset, self._end - self._beginning.offset
                on_progress(share * size + done, self._shares * size)
        if share == 0:
            self._acknowledged = sum(tally.events for tally in tallies.values())
            self._redriven = sum(tally.redriven for tally in tallies.values())
            self._compare_tallies(tallies)
        expected = pa.concat_tables([RECOUNT_SCHEMA.empty_table(), *recount.parts])
        self._compare_events(expected, stored)
        cancelled = [
            each for each in self._audit.cancellations(first, last) if each.event_offset >= self._beginning.offset
        ]
        self._compare_cancellations(recount.cancellations, cancelled)
        self._cancellations += len(recount.cancellations)
        rollups.add(expected, {each.event_offset for each in recount.cancellations})

    def _stored(self, first: int, last: int) -> pa.Table:
        """What the store has of this share and the log should have, too. Days that a crash left to be dropped are
        none of it."""
        stored = self._audit.events(first, last)
        if not self._beginning.offset:
            return stored
        return stored.filter(pc.greater_equal(stored["log_offset"], pa.scalar(self._beginning.offset, pa.uint64())))

    def _repeats(self, stored: pa.Table) -> frozenset[int]:
        if not self._beginning.offset:
            return frozenset()
        until_ms = self._beginning.received_from_ms + LOOKS_BACK_DAYS * DAY_MS
        repeats = pc.and_(
            pc.equal(stored["status"], Fate.DUPLICATE.value), pc.less(stored["first_received_at"], until_ms)
        )
        return frozenset(stored.filter(repeats)["log_offset"].to_pylist())

    def _parts(self, tallies: dict[Tenant, Tally]) -> Iterator[tuple[ReceivedEvents | list[LoggedCancel], int]]:
        """What the log holds below the checkpoint, in its order, each part with the offset after it."""
        offset = self._beginning.offset
        while offset < self._end:
            blocks: list[LoggedBlock] = []
            size = 0
            for record in self._log.read(offset, events_max=_READ_EVENTS):
                if record.first_offset >= self._end:
                    break
                block = contents_of(record)
                for tenant, tally in block.tallies.items():
                    tallies[tenant] = tallies.get(tenant, NOTHING) + tally
                size += block.size_bytes
                if blocks and (isinstance(block, CancelBlock) or size > STEP_BYTES_MAX):
                    yield received(blocks), record.first_offset
                    blocks, size = [], block.size_bytes
                if isinstance(block, CancelBlock):
                    yield logged_cancels(block, record), record.next_offset
                else:
                    blocks.append(logged_events(block, record))
                offset = record.next_offset
            if blocks:
                yield received(blocks), offset

    def _compare_tallies(self, tallies: dict[Tenant, Tally]) -> None:
        if self._beginning.offset:
            return  # those of the records that were dropped are not known
        applied = self._progress.applied()
        for tenant in {*tallies, *applied}:
            if tallies.get(tenant, NOTHING) != applied.get(tenant, NOTHING):
                self._differences.append(
                    f"{_whose(tenant.account_id, tenant.livemode)}: the log has {tallies.get(tenant, NOTHING)} below "
                    f"the checkpoint, {applied.get(tenant, NOTHING)} were applied"
                )

    def _compare_events(self, expected: pa.Table, stored: pa.Table) -> None:
        stored = stored.sort_by("log_offset")
        found = stored.column("log_offset").to_numpy()
        again = found[1:][found[1:] == found[:-1]]
        for offset in np.unique(again)[:DIFFERENCES_MAX].tolist():
            self._differences.append(f"offset {offset}: the log has one event, the store has it more than once")
        logged = expected.column("log_offset").to_numpy()
        for offset in np.setdiff1d(logged, found)[:DIFFERENCES_MAX].tolist():
            self._differences.append(f"offset {offset}: the event is in the log, and not in the store")
        for offset in np.setdiff1d(found, logged)[:DIFFERENCES_MAX].tolist():
            self._differences.append(f"offset {offset}: the event is in the store, and not in the log")
        left, right = expected, stored
        if not np.array_equal(logged, found):
            left = expected.filter(pa.array(np.isin(logged, found)))
            _, firsts = np.unique(found, return_index=True)
            right = stored.take(pa.array(firsts[np.isin(found[firsts], logged)]))
        for name, row in differing_cells(left, right, RECOUNT_SCHEMA.names, DIFFERENCES_MAX):
            self._differences.append(
                f"offset {left['log_offset'][row]}, identifier {left['identifier'][row].as_py()!r}: {name} is "
                f"{left[name][row].as_py()!r} by the log, {right[name][row].as_py()!r} in the store"
            )

    def _compare_cancellations(self, expected: Sequence[Cancellation], stored: Sequence[Cancellation]) -> None:
        wanted, found = sorted(expected, key=_place), sorted(stored, key=_place)
        if wanted == found:
            return
        known = {_place(each): each for each in wanted}
        for each in found:
            if known.pop(_place(each), None) != each:
                self._differences.append(f"offset {each.offset}: the store has {each}, and the log has not")
        for each in known.values():
            self._differences.append(f"offset {each.offset}: the log has {each}, and the store has not")
        if not self._differences:
            self._differences.append("a cancellation is in the store more than once")

    # Rollups

    def _verify_day(self, day: int, rollups: ExpectedRollups) -> None:
        whole, before = Range(day * _DAY_S, (day + 1) * _DAY_S), len(self._differences)
        self._compare_windows("rollups", MINUTE_S, rollups.sums(day), self._audit.sums(whole))
        for step_s in (MINUTE_S, _DAY_S):
            # By the day too, because a window is put together from what minutes know of their latest events.
            self._compare_windows("rollups", step_s, rollups.latests(day, step_s), self._audit.latests(whole, step_s))
        kept = self._audit.events_kept(whole)
        self._compare_windows("events kept for cancellations", MINUTE_S, rollups.events_kept(day), kept)
        if len(self._differences) > before:
            return  # summaries are made of what differs
        for each in self._served.differences(day, rollups):
            tenant = each.meter.tenant
            self._differences.append(
                f"{_whose(tenant.account_id, tenant.livemode)}, meter {each.meter.id}, customer {each.customer}, "
                f"{_window(day * _DAY_S, _DAY_S)}: a summary says "
                f"{'nothing' if each.served is None else f'{each.served:f}'}, the log and the raw events say "
                f"{each.expected:f}"
            )

    def _compare_windows(self, what: str, step_s: int, expected: pa.Table, served: pa.Table) -> None:
        keys, names = served.column_names[:5], served.column_names[5:]
        joined = expected.join(served, keys=keys, join_type="full outer", right_suffix=" served")
        self._windows += len(joined) if step_s == MINUTE_S else 0
        left = joined.select(names)
        right = joined.select([f"{name} served" for name in names]).rename_columns(names)
        for name, row in differing_cells(left, right, names, DIFFERENCES_MAX):
            account, livemode, meter, customer, start_s = (joined[key][row].as_py() for key in keys)
            self._differences.append(
                f"{_whose(account, livemode)}, meter {meter}, customer {customer}, {_window(start_s, step_s)}: {name} "
                f"is {_shown(left[name][row])} by the log and the raw events, {_shown(right[name][row])} in the {what}"
            )

    def _is_enough(self) -> bool:
        return len(self._differences) >= DIFFERENCES_MAX


def _place(cancellation: Cancellation) -> tuple[int, int]:
    return cancellation.offset, cancellation.event_offset


def _whose(account_id: str, livemode: bool) -> str:
    return f"{account_id} {'live' if livemode else 'test'} mode"


def _window(start_s: int, step_s: int) -> str:
    start, end = np.datetime64(start_s, "s"), np.datetime64(start_s + step_s, "s")
    return f"{start}Z to {end}Z"


def _shown(value: Any) -> str:
    return "nothing" if not value.is_valid else f"{value.as_py():f}" if pa.types.is_decimal(value.type) else str(value)
