"""Single meter events: validated, stored and told apart from repeats before they are answered.

A single event goes into the log like those of the stream, and its fate is decided there like theirs. What is special
is that the caller waits for it: the event is judged twice, before it is appended (what cannot be counted is refused and
not stored) and right after, with everything that stands before it in the log. The second time is exact: it is what
the applier will find.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from streamgauge.domain.account import Tenant
from streamgauge.domain.credential import Principal
from streamgauge.domain.errors import StreamgaugeError, Unavailable
from streamgauge.domain.event_block import EventBlock, block_of, columns_of_event, encode
from streamgauge.domain.fate import NO_REJECTION, REJECTION_CODES, Fate, RejectionCode
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.judgement import NO_METER, Judgement, judge
from streamgauge.domain.meter_event import MeterEvent
from streamgauge.domain.received_events import LoggedBlock, received
from streamgauge.domain.refusal import DuplicateEvent, EventRefused, Refusal
from streamgauge.domain.request_key import RequestKey
from streamgauge.engine.apply import contents_of
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.catalogue import CatalogueKeeper
from streamgauge.engine.logged_requests import LoggedRequests
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import EventLog, KeyedEntry, KnownRequest
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.unapplied import Unapplied

logger = logging.getLogger(__name__)

_GROUP_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that counts, from now on and whatever happens. Times are milliseconds since the epoch, UTC."""

    event: MeterEvent
    received_at_ms: int
    replayed: bool

    @property
    def timestamp_ms(self) -> int:
        return self.received_at_ms if self.event.timestamp_ms is None else self.event.timestamp_ms


Outcome: TypeAlias = Accepted | StreamgaugeError


@dataclass(frozen=True, slots=True, eq=False)
class _Submission:
    origin: Principal
    event: MeterEvent
    key: RequestKey | None


class MeterEvents:
    """While one group of submissions is stored, those that arrive form the next one: a group shares one sync of the
    disk and one look at the log. One thread does the work, so no two requests with one request key are under way at
    once. Lives on one event loop.
    """

    def __init__(
        self,
        log: EventLog,
        store: UsageStore,
        catalogue: CatalogueKeeper,
        unapplied: Unapplied,
        backlog: Backlog,
        clock: Clock,
    ) -> None:
        self._log = log
        self._store = store
        self._catalogue = catalogue
        self._unapplied = unapplied
        self._backlog = backlog
        self._requests = LoggedRequests(log, clock)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="submit")
        self._pending: list[tuple[_Submission, asyncio.Future[Accepted]]] = []
        self._working: asyncio.Task[None] | None = None
        self._closed = False

    async def submit(self, origin: Principal, event: MeterEvent, key: RequestKey | None) -> Accepted:
        """Store one event; it would survive a power cut on return.

        Raises EventRefused or DuplicateEvent, IdempotencyKeyReused, Overloaded, Unavailable. A request with a key
        that was used before is answered as then, also when that was DuplicateEvent.
        """
        self._backlog.check()
        if self._closed:
            raise Unavailable("The server is stopping.")
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._pending.append((_Submission(origin, event, key), answer))
        if self._working is None:
            # A task begins after the other requests of this turn of the loop: they come along.
            self._working = asyncio.create_task(self._work())
        return await answer

    def close(self) -> None:
        """Refuse what comes and finish what is being stored."""
        self._closed = True
        self._thread.shutdown()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                group, self._pending = self._pending[:_GROUP_MAX], self._pending[_GROUP_MAX:]
                outcomes = await loop.run_in_executor(self._thread, self._outcomes, [each for each, _ in group])
                for (_, answer), outcome in zip(group, outcomes, strict=True):
                    if answer.done():  # its client went away
                        continue
                    if isinstance(outcome, Accepted):
                        answer.set_result(outcome)
                    else:
                        answer.set_exception(outcome)
        finally:
            self._working = None

    def _outcomes(self, group: Sequence[_Submission]) -> list[Outcome]:
        """What becomes of each submission. Those that share a request key take turns."""
        outcomes: dict[_Submission, Outcome] = {}
        waiting = list(group)
        while waiting:
            turn: list[_Submission] = []
            rest: list[_Submission] = []
            seen: set[object] = set()
            for each in waiting:
                key = None if each.key is None else (each.origin.tenant, each.key.digest)
                (turn if key not in seen else rest).append(each)
                seen |= {key} - {None}
            try:
                outcomes |= self._of_one_turn(turn)
            except Exception as error:
                if not isinstance(error, StreamgaugeError):
                    logger.exception("single events failed")
                    error = StreamgaugeError("single events failed")
                outcomes |= dict.fromkeys((each for each in turn if each not in outcomes), error)
            waiting = rest
        return [outcomes[each] for each in group]

    def _of_one_turn(self, group: Sequence[_Submission]) -> dict[_Submission, Outcome]:
        outcomes = self._known(group)
        outcomes |= self._refused([each for each in group if each not in outcomes])
        return outcomes | self._appended([each for each in group if each not in outcomes])

    def _known(self, group: Sequence[_Submission]) -> dict[_Submission, Outcome]:
        """The answers of requests that were made before."""
        outcomes: dict[_Submission, Outcome] = {}
        for each in group:
            try:
                known = self._requests.known(each.origin.tenant, each.key)
                if known is not None:
                    outcomes[each] = self._as_then(each.origin, known)
            except StreamgaugeError as error:
                outcomes[each] = error
        return outcomes

    def _as_then(self, origin: Principal, known: KnownRequest) -> Outcome:
        """What the request was answered: the log still says it."""
        (record, *_) = self._log.read(known.first_offset, events_max=1)
        block = contents_of(record)
        assert isinstance(block, EventBlock), "the key of an event names a record of events"
        event = block.event(known.position)
        (fate,) = self._fates([(origin.tenant, event.identifier)], [known.first_offset + known.position])
        return _outcome(event, record.received_at_ms, *fate, replayed=True)

    def _refused(self, group: Sequence[_Submission]) -> dict[_Submission, Outcome]:
        """What cannot be counted as things are now, with the reason."""
        if not group:
            return {}
        # Not the clock's now, which may lie before a change of the catalogue that was stamped a moment ago.
        now_ms = self._log.next_stamp_ms()
        block = block_of([columns_of_event(each.origin, each.event) for each in group])
        judgement = judge(received([LoggedBlock(block, 0, now_ms)]), self._catalogue.settled())
        return {
            group[at]: EventRefused(_refusal(group[at].event, judgement, at, now_ms))
            for at in np.flatnonzero(judgement.code != NO_REJECTION).tolist()
        }

    def _appended(self, group: Sequence[_Submission]) -> dict[_Submission, Outcome]:
        if not group:
            return {}
        block = block_of([columns_of_event(each.origin, each.event) for each in group])
        keys = [KeyedEntry(each.origin.tenant, each.key, at) for at, each in enumerate(group) if each.key is not None]
        record = self._log.append(encode(block), block.tallies, keys)
        fates = self._fates(
            [(each.origin.tenant, each.event.identifier) for each in group],
            range(record.first_offset, record.next_offset),
        )
        return {
            each: _outcome(each.event, record.received_at_ms, *fate, replayed=False)
            for each, fate in zip(group, fates, strict=True)
        }

    def _fates(self, names: Sequence[tuple[Tenant, str]], offsets: Sequence[int]) -> list[tuple[Fate, str]]:
        """Fate and code of the events with these identifiers at these offsets."""
        hashes = hash_names(names)
        settled = self._unapplied.judged(self._unapplied.find(hashes))
        ahead: dict[int, tuple[Fate, str]] = {}
        if settled is not None:
            rows = settled.table.select(["log_offset", "status", "code"]).to_pylist()
            ahead = {row["log_offset"]: (Fate(row["status"]), row["code"]) for row in rows}
        return [
            ahead[offset] if offset in ahead else self._fate_in_store(tenant, identifier, int(number), offset)
            for (tenant, identifier), number, offset in zip(names, hashes, offsets, strict=True)
        ]

    def _fate_in_store(self, tenant: Tenant, identifier: str, number: int, offset: int) -> tuple[Fate, str]:
        """Of an event that was applied before we looked."""
        stored = self._store.events_of(tenant, identifier, number)
        return next((each.status, each.code) for each in stored if each.log_offset == offset)


def _outcome(event: MeterEvent, received_at_ms: int, fate: Fate, code: str, *, replayed: bool) -> Outcome:
    if fate is Fate.DUPLICATE:
        return DuplicateEvent(event.identifier)
    if fate is Fate.REJECTED:
        # Only what changed between the two looks gets here: a meter was deactivated, a customer deleted.
        return EventRefused(
            Refusal(
                code=RejectionCode(code),
                event_name=event.event_name,
                meter=None,
                customer=None,
                received_at_ms=received_at_ms,
            )
        )
    return Accepted(event, received_at_ms, replayed)


def _refusal(event: MeterEvent, judgement: Judgement, at: int, received_at_ms: int) -> Refusal:
    meter = judgement.meter[at]
    return Refusal(
        code=RejectionCode(REJECTION_CODES[judgement.code[at]]),
        event_name=event.event_name,
        meter=None if meter == NO_METER else judgement.meters[meter],
        customer=judgement.customer[at].as_py(),
        received_at_ms=received_at_ms,
    )
