"""Half-open intervals of time, in milliseconds since the epoch, UTC."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """[start_ms, end_ms); `end_ms` None means that it has not ended."""

    start_ms: int
    end_ms: int | None = None

    def __contains__(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms and (self.end_ms is None or at_ms < self.end_ms)
