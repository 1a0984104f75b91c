"""Summaries: totals per customer and window, read from rollups."""

from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import UnknownCursor
from streamgauge.domain.meter import EventTimeWindow
from streamgauge.domain.summary import SummaryRow, aligned_range, summary_id
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.usage_store import SummaryQuery, UsageStore, WindowTotal

# More windows than a range can hold: ten years of hours.
_WINDOWS_MAX: Final = 100_000


class Summaries:
    def __init__(self, meters: Meters, store: UsageStore) -> None:
        self._meters = meters
        self._store = store

    def query(
        self,
        tenant: Tenant,
        meter_id: str,
        customer_id: str,
        start_s: int,
        end_s: int,
        grouping: EventTimeWindow | None,
        page: Page,
    ) -> Listed[SummaryRow]:
        """Newest window first; windows without an event are left out. A customer that never existed has none.

        Raises NotFound for the meter, InvalidRequest for a range that is not aligned, UnknownCursor.
        """
        meter = self._meters.get(tenant, meter_id)
        asked = aligned_range(start_s, end_s, grouping)

        def windows(limit: int) -> list[WindowTotal]:
            query = SummaryQuery(meter=meter, customer_id=customer_id, range=asked, grouping=grouping, limit=limit)
            return list(self._store.totals(query))

        def row(total: WindowTotal) -> SummaryRow:
            return SummaryRow(
                id=summary_id(meter.id, customer_id, total.window),
                meter_id=meter.id,
                start_s=total.window.start_s,
                end_s=total.window.end_s,
                value=total.value,
            )

        cursor = page.starting_after or page.ending_before
        if cursor is None:
            found = windows(page.limit + 1)
            return Listed(tuple(map(row, found[: page.limit])), len(found) > page.limit)
        # A cursor is a row of the same list, so that is read whole: some 840 hours at most in the 35 days that events
        # can lie back; older ranges only hold what was counted then.
        found = windows(_WINDOWS_MAX)
        at = next((at for at, total in enumerate(found) if row(total).id == cursor), None)
        if at is None:
            raise UnknownCursor(cursor, param="starting_after" if page.starting_after else "ending_before")
        if page.starting_after:
            after = found[at + 1 :]
            return Listed(tuple(map(row, after[: page.limit])), len(after) > page.limit)
        before = found[:at]
        return Listed(tuple(map(row, before[-page.limit :])), len(before) > page.limit)
