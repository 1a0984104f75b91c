"""Error reports: the events of one validation window that could not be counted, by meter."""

from dataclasses import dataclass
from typing import Final

from streamgauge.domain.account import Tenant
from streamgauge.domain.fate import RejectionCode

# Of receipt, aligned to UTC.
VALIDATION_WINDOW_MS: Final = 10_000
# For each code of a report: the first ones in the log.
SAMPLES_MAX: Final = 10


def window_start_of(at_ms: int) -> int:
    return at_ms - at_ms % VALIDATION_WINDOW_MS


@dataclass(frozen=True, slots=True)
class RejectedSample:
    """One event that was rejected; `customer` is what its payload named, or ""."""

    identifier: str
    event_name: str
    customer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejections:
    """All events of one validation window and meter (`meter_id` "": of none) with one code; `samples` are the first
    SAMPLES_MAX of them, in log order."""

    window_start_ms: int
    tenant: Tenant
    meter_id: str
    code: RejectionCode
    count: int
    samples: tuple[RejectedSample, ...]


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What is told of one window and meter: its rejections, at least of one code, in order of precedence."""

    rejections: tuple[Rejections, ...]

    @property
    def tenant(self) -> Tenant:
        return self.rejections[0].tenant

    @property
    def meter_id(self) -> str:
        """ "" when the events reached no meter."""
        return self.rejections[0].meter_id

    @property
    def window_start_ms(self) -> int:
        return self.rejections[0].window_start_ms

    @property
    def window_end_ms(self) -> int:
        return self.window_start_ms + VALIDATION_WINDOW_MS

    @property
    def count(self) -> int:
        return sum(each.count for each in self.rejections)
