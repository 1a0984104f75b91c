"""Error reports over the data plane driven by hand: the reports, and what they told, of any technology's search."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamgauge.adapters.memory.control_store import MemoryControlStore
from streamgauge.adapters.memory.event_search import MemoryEventSearch
from streamgauge.adapters.memory.marks import MemoryMarks
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.error_report import ErrorReport
from streamgauge.engine.error_reports import ErrorReports
from tests.support.world import START_MS, Event, World


class Told:
    """Stands where reports are announced, and is undone with the transaction around it. `fails_after` lets so many
    more be told and then raises."""

    def __init__(self, control: MemoryControlStore) -> None:
        rows: dict[int, ErrorReport] = {}
        self._rows = control.table(rows)
        self.fails_after: int | None = None

    def __call__(self, report: ErrorReport) -> None:
        if self.fails_after is not None:
            if self.fails_after == 0:
                self.fails_after = None
                raise Cut
            self.fails_after -= 1
        self._rows[len(self._rows)] = report

    @property
    def reports(self) -> list[ErrorReport]:
        return list(self._rows.values())


class Cut(Exception):
    """What happens instead of the next report."""


@dataclass
class ReportingWorld:
    """A world with one meter and one customer; events of other names or customers are rejected."""

    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        self.world.add_meter()
        self.world.add_customer()
        self.told = Told(self.world.control)
        self.marks = MemoryMarks(self.world.control)
        self.restart()

    def restart(self) -> None:
        """Forget everything that is not stored."""
        world = self.world
        assert isinstance(world.store, MemoryUsageStore)
        self.search = MemoryEventSearch(world.store)
        self.reports = ErrorReports(world.control, self.marks, self.search, world.log, world.progress, self.told)

    def at(self, seconds: float) -> None:
        """So long after the start, which is the start of a window."""
        self.world.clock.at_ms = START_MS + round(seconds * 1_000)

    def receive(self, *events: Event) -> None:
        self.world.accept(*events)
        self.world.apply()

    def tell(self) -> int:
        """Run until there is nothing to do; how many steps did something."""
        steps = 0
        while self.reports.run_once():
            steps += 1
            assert steps < 1_000, "it goes on for ever"
        return steps


def shown(reports: Sequence[ErrorReport]) -> list[tuple[int, str, dict[str, int]]]:
    """(seconds from the start to the window, meter, count by code) of each."""
    return [
        (
            (each.window_start_ms - START_MS) // 1_000,
            each.meter_id,
            {str(part.code): part.count for part in each.rejections},
        )
        for each in reports
    ]
