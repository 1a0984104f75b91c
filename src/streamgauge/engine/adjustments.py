"""Adjustments: a caller takes back one event that it reported."""

import threading
from dataclasses import dataclass

from streamgauge.domain.account import Tenant
from streamgauge.domain.cancellation import (
    CancelBlock,
    CancelOutcome,
    CancelRequest,
    CancelVerdict,
    LoggedCancel,
    adjustment_id,
    encode_cancels,
    judge_cancels,
)
from streamgauge.domain.credential import Principal
from streamgauge.domain.identifier_hash import hash_names
from streamgauge.domain.refusal import CannotCancel
from streamgauge.domain.request_key import RequestKey
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.logged_requests import LoggedRequests
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.event_log import EventLog, KeyedEntry
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.unapplied import Unapplied

# A cancel request that is only asked about stands after everything that is in the log.
_END_OFFSET = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """An event that is taken back. `is_complete`: no total holds it any more. Times are milliseconds, UTC."""

    id: str
    tenant: Tenant
    event_name: str
    identifier: str
    created_ms: int
    is_complete: bool
    replayed: bool


class Adjustments:
    """One cancellation at a time, so that what one has found still holds when it is appended: only an event that
    counts is taken back, and only once."""

    def __init__(
        self,
        log: EventLog,
        progress: Progress,
        store: UsageStore,
        unapplied: Unapplied,
        backlog: Backlog,
        clock: Clock,
    ) -> None:
        self._log = log
        self._progress = progress
        self._store = store
        self._unapplied = unapplied
        self._backlog = backlog
        self._requests = LoggedRequests(log, clock)
        self._lock = threading.Lock()

    def cancel(self, origin: Principal, event_name: str, identifier: str, key: RequestKey | None) -> Adjustment:
        """Take an event back. It counts for nothing within a moment; asked again, the answer is the same.

        Raises CannotCancel when no counted event of that name has the identifier, or when it was received more than
        24 hours ago; IdempotencyKeyReused, Overloaded, Unavailable.
        """
        self._backlog.check()
        request = CancelRequest(origin, event_name, identifier)
        with self._lock:
            known = self._requests.known(origin.tenant, key)
            if known is not None:
                # As it was then: by now another event may have counted under the identifier.
                place = known.first_offset + known.position
                verdict = self._judge(LoggedCancel(request, place, known.received_at_ms))
            else:
                verdict = self._judge(LoggedCancel(request, _END_OFFSET, self._log.next_stamp_ms()))
                if verdict.outcome is CancelOutcome.EFFECTIVE:
                    verdict = self._append(request, key)
        event = verdict.event
        if event is None or event.cancelled_at_ms is None or verdict.outcome is CancelOutcome.OTHER_EVENT_NAME:
            raise CannotCancel(_reason(verdict, request))
        return Adjustment(
            id=adjustment_id(origin.tenant, identifier, event.offset),
            tenant=origin.tenant,
            event_name=event_name,
            identifier=identifier,
            created_ms=event.cancelled_at_ms,
            is_complete=self._is_applied(event.cancelled_at_ms),
            replayed=known is not None,
        )

    def _append(self, request: CancelRequest, key: RequestKey | None) -> CancelVerdict:
        block = CancelBlock((request,))
        keys = [] if key is None else [KeyedEntry(request.origin.tenant, key, 0)]
        record = self._log.append(encode_cancels(block), block.tallies, keys)
        # Judged again as the applier will: the log may have been slow to take it, and 24 hours may be over by now.
        return self._judge(LoggedCancel(request, record.first_offset, record.received_at_ms))

    def _judge(self, asked: LoggedCancel) -> CancelVerdict:
        """What becomes of this request after everything that stands before it in the log."""
        hashes = hash_names([(asked.request.origin.tenant, asked.request.identifier)])
        ahead = self._unapplied.find(hashes)
        counted = list(self._store.counted(hashes, since_ms=0, below_offset=ahead.checkpoint))
        settled = self._unapplied.judged(ahead)
        if settled is not None:
            counted += settled.counted(hashes)
        before = [each for each in ahead.cancels if each.offset < asked.offset]
        return judge_cancels([*before, asked], counted)[-1]

    def _is_applied(self, cancelled_at_ms: int) -> bool:
        return self._progress.checkpoint().received_at_ms >= cancelled_at_ms


def _reason(verdict: CancelVerdict, request: CancelRequest) -> str:
    match verdict.outcome:
        case CancelOutcome.OTHER_EVENT_NAME:
            return (
                f"The meter event with identifier {request.identifier} has another event_name than "
                f"{request.event_name}."
            )
        case CancelOutcome.TOO_LATE:
            return (
                f"The meter event with identifier {request.identifier} was received more than 24 hours ago, and only "
                "events of the last 24 hours can be cancelled."
            )
        case _:
            return f"No counted meter event with identifier {request.identifier} was found."
