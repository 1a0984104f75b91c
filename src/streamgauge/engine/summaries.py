"""Summaries: totals per customer and window, read from rollups."""

from functools import partial
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import UnknownCursor
from streamgauge.domain.meter import EventTimeWindow
from streamgauge.domain.summary import SummaryRow, aligned_range, summary_id
from streamgauge.engine.meters import Meters
from streamgauge.engine.ports.control_store import Listed, Page
from streamgauge.engine.ports.usage_store import SummaryQuery, UsageStore, WindowTotal
from streamgauge.engine.summary_walks import ROWS_MAX, SummaryWalks, Walk

# More windows than a range can hold: ten years of hours.
_WINDOWS_MAX: Final = 100_000


class Summaries:
    def __init__(self, meters: Meters, store: UsageStore, walks: SummaryWalks) -> None:
        self._meters = meters
        self._store = store
        self._walks = walks

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
        # As it was asked for: then a list that is kept was found good.
        key = (tenant, meter_id, customer_id, start_s, end_s, grouping)

        def read(limit: int) -> Walk:
            meter = self._meters.get(tenant, meter_id)
            asked = aligned_range(start_s, end_s, grouping)
            query = SummaryQuery(meter=meter, customer_id=customer_id, range=asked, grouping=grouping, limit=limit)
            return self._walks.read(key, lambda: self._store.totals(query), partial(_row, meter_id, customer_id))

        cursor = page.starting_after or page.ending_before
        if cursor is None:
            # Whatever the page's size, the store adds up all windows.
            return _page(read(ROWS_MAX + 1), 0, page.limit)
        # A cursor is a row of the same list, so that is read whole: some 840 hours at most in the 35 days that events
        # can lie back; older ranges only hold what was counted then.
        walk = self._walks.continued(key) or read(_WINDOWS_MAX)
        at = walk.place_of(cursor)
        if at is None:
            raise UnknownCursor(cursor, param="starting_after" if page.starting_after else "ending_before")
        if page.starting_after:
            return _page(walk, at + 1, page.limit)
        start = max(at - page.limit, 0)
        return Listed(walk.rows(start, at), start > 0)


def _page(walk: Walk, start: int, limit: int) -> Listed[SummaryRow]:
    return Listed(walk.rows(start, start + limit), len(walk) > start + limit)


def _row(meter_id: str, customer_id: str, total: WindowTotal) -> SummaryRow:
    return SummaryRow(
        id=summary_id(meter_id, customer_id, total.window),
        meter_id=meter_id,
        start_s=total.window.start_s,
        end_s=total.window.end_s,
        value=total.value,
    )
