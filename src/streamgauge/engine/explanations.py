"""What a receipt tells beyond its own events: what a code means, which report told of it, and hints at mistakes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.error_message import error_message
from streamgauge.domain.error_report import VALIDATION_WINDOW_MS, window_start_of
from streamgauge.domain.fate import Fate, RejectionCode
from streamgauge.domain.meter import Meter
from streamgauge.domain.notification import ERROR_REPORT_TRIGGERED, NO_METER_FOUND, Notification, Style
from streamgauge.domain.receipt import Hint, HintKind, Receipt
from streamgauge.engine.ports.control_store import Page
from streamgauge.engine.ports.event_search import EventSearch, Usage
from streamgauge.engine.ports.notifications import NotificationFilter, NotificationStore

# Entries of the log on either side of an event in which the same usage under another identifier is looked for.
NEARBY_ENTRIES: Final = 50_000
# A report is written soon after its window; one that came later, after a pause, is not looked for.
_REPORTED_WITHIN_MS: Final = 10 * 60_000
_REPORTS_LOOKED_AT: Final = 100

MeterOf = Callable[[Tenant, str], Meter | None]
# The window's start that a notification of an error report is about, ms.
WindowOf = Callable[[Notification], int | None]


class Explanations:
    def __init__(
        self, search: EventSearch, meter_of: MeterOf, notifications: NotificationStore, window_of: WindowOf
    ) -> None:
        self._search = search
        self._meter_of = meter_of
        self._notifications = notifications
        self._window_of = window_of

    def of(self, tenant: Tenant, receipts: Sequence[Receipt]) -> list[Receipt]:
        """The receipts, each with message, error report and hints. Asks for all of them together."""
        meters = {name: self._meter_of(tenant, name) for each in receipts if (name := each.meter) and each.code}
        reports = self._reports(tenant, receipts)
        others = self._under_other_identifiers(tenant, receipts)
        return [
            replace(
                each,
                message=_message(each, meters.get(each.meter or "")),
                error_report_id=None if (key := _report_key(each)) is None else reports.get(key),
                hints=(*each.hints, *others.get(each.log_offset, ())),
            )
            for each in receipts
        ]

    def _reports(self, tenant: Tenant, receipts: Sequence[Receipt]) -> dict[tuple[str, int], str]:
        """Ids by meter ("" for none) and window's start."""
        found: dict[tuple[str, int], str] = {}
        for meter, start_ms in {key for each in receipts if (key := _report_key(each)) is not None}:
            created_ms = start_ms + VALIDATION_WINDOW_MS
            wanted = NotificationFilter(
                style=Style.THIN,
                types=(ERROR_REPORT_TRIGGERED if meter else NO_METER_FOUND,),
                object_id=meter or None,
                created_from_ms=created_ms,
                created_before_ms=created_ms + _REPORTED_WITHIN_MS,
            )
            for each in self._notifications.list(tenant, Page(limit=_REPORTS_LOOKED_AT), wanted).items:
                if self._window_of(each) == start_ms:
                    found[meter, start_ms] = each.id
        return found

    def _under_other_identifiers(self, tenant: Tenant, receipts: Sequence[Receipt]) -> dict[int, tuple[Hint, ...]]:
        usages = {each.log_offset: usage for each in receipts if (usage := _usage(each)) is not None}
        if not usages:
            return {}
        known = {
            each.log_offset: (usage, each.identifier)
            for each in receipts
            # A redriven event counts at another place in the log than where it was received.
            if (usage := usages.get(each.log_offset)) is not None and each.redriven_at_ms is None
        }
        alike = self._search.alike(tenant, list(set(usages.values())), _around(list(usages)), known)
        hints: dict[int, tuple[Hint, ...]] = {}
        for each in receipts:
            usage = usages.get(each.log_offset)
            others = () if usage is None else tuple(name for name in alike.get(usage, ()) if name != each.identifier)
            if others:
                hints[each.log_offset] = (Hint(HintKind.SAME_USAGE_UNDER_OTHER_IDENTIFIERS, others),)
        return hints


def _message(receipt: Receipt, meter: Meter | None) -> str | None:
    if not receipt.code:
        return None
    return error_message(
        RejectionCode(receipt.code), event_name=receipt.event_name, meter=meter, customer=receipt.customer or ""
    )


def _report_key(receipt: Receipt) -> tuple[str, int] | None:
    """Meter ("" for none) and window's start of the report that told of it; None: none did. A redriven event was
    reported for what it was rejected with at first, and is not reported again."""
    if receipt.redriven_at_ms is not None:
        code, meter = receipt.first_code, receipt.first_meter
    else:
        code, meter = receipt.code, receipt.meter
    return None if not code else (meter or "", window_start_of(receipt.received_at_ms))


def _usage(receipt: Receipt) -> Usage | None:
    """Of an event that counted at a moment that its client named: one without would only be alike by its receipt."""
    if receipt.status not in (Fate.COUNTED, Fate.CANCELLED) or receipt.value is None or not receipt.timestamp_given:
        return None
    return Usage(receipt.meter or "", receipt.customer or "", receipt.value, receipt.timestamp_ms)


def _around(offsets: Sequence[int]) -> list[tuple[int, int]]:
    """What is near them, joined where it overlaps."""
    ranges: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        first, end = max(offset - NEARBY_ENTRIES, 0), offset + NEARBY_ENTRIES + 1
        if ranges and first <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], end)
        else:
            ranges.append((first, end))
    return ranges
