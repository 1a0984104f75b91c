"""A look at everything that the usage store holds, for comparing it with the log."""

from collections.abc import Sequence
from typing import Final, Protocol

import pyarrow as pa

from streamgauge.domain.cancellation import Cancellation
from streamgauge.domain.summary import Range
from streamgauge.engine.ports.usage_store import SummaryQuery, WindowTotal

_KEY: Final = (
    pa.field("account", pa.string()),
    pa.field("livemode", pa.bool_()),
    pa.field("meter", pa.string()),
    pa.field("customer", pa.string()),
    pa.field("start_s", pa.int64()),  # where the window begins, Unix seconds
)

SUMS_SCHEMA: Final = pa.schema([*_KEY, pa.field("events", pa.int64()), pa.field("total", pa.decimal256(76, 15))])

LATESTS_SCHEMA: Final = pa.schema(
    [
        *_KEY,
        pa.field("last", pa.decimal128(38, 15)),  # of the event with the greatest timestamp, ties by log order
        pa.field("survivor_at_ms", pa.int64()),  # of the event that was logged last: its timestamp
        pa.field("survivor", pa.decimal128(38, 15)),  # and its value
    ]
)

EVENTS_KEPT_SCHEMA: Final = pa.schema([*_KEY, pa.field("events", pa.int64())])


class UsageAudit(Protocol):
    """What is read here is what summaries and receipts are made of. Nothing may be inserted meanwhile.

    Rows come in any order. Ranges of time are whole windows of the rows that they ask for. Raises like the store.
    """

    def events(self, first_hash: int, last_hash: int) -> pa.Table:
        """Every stored event whose identifier's hash lies in [first_hash, last_hash] (RECOUNT_SCHEMA).

        A cancelled one stands as it was stored, as counted.
        """

    def unnamed(self, limit: int) -> Sequence[int]:
        """Offsets of stored events that no identifier leads to, at most so many: `events` does not list them."""

    def cancellations(self, first_hash: int, last_hash: int) -> Sequence[Cancellation]:
        """Every stored cancellation of an identifier with such a hash."""

    def days(self) -> Sequence[int]:
        """Days (since the epoch, UTC) that any rollup has a row in."""

    def sums(self, range: Range) -> pa.Table:
        """The rollups of `sum` and `count` by minute (SUMS_SCHEMA), without minutes of no event and no value."""

    def latests(self, range: Range, step_s: int) -> pa.Table:
        """The rollups of meters that keep the latest, by windows of `step_s` seconds (LATESTS_SCHEMA), as summaries
        read them: past what was cancelled."""

    def events_kept(self, range: Range) -> pa.Table:
        """By minute, how many events that still count are kept for minutes that hold a cancellation, or will
        (EVENTS_KEPT_SCHEMA)."""

    def totals(self, query: SummaryQuery) -> Sequence[WindowTotal]:
        """What is served: as `UsageStore.totals`."""
