"""What an operator sets and fates depend on, with its history: an event is judged by what held when it was received."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingRules:
    """`dedup_window_ms`: how long a counted event's identifier makes repeats of others, from its receipt on."""

    accept_unknown_customers: bool = False
    dedup_window_ms: int = 35 * 24 * _HOUR_MS

    def __str__(self) -> str:
        unknown = "accept" if self.accept_unknown_customers else "reject"
        return f"unknown_customers={unknown} dedup_window_hours={self.dedup_window_ms // _HOUR_MS}"


@dataclass(frozen=True, slots=True)
class DatedRules:
    """`valid_from_ms` is a stamp of the log, so every event was received before it or at a later one."""

    valid_from_ms: int
    rules: CountingRules


class RulesHistory:
    """At least one set of rules, oldest first; the first holds from the beginning. Times: milliseconds of receipt."""

    def __init__(self, dated: Sequence[DatedRules]) -> None:
        if not dated:
            raise ValueError("there are always rules")
        self.dated = tuple(dated)
        self._changes_ms = [each.valid_from_ms for each in dated[1:]]
        self._accepts = np.array([each.rules.accept_unknown_customers for each in dated])
        self._windows_ms = np.array([each.rules.dedup_window_ms for each in dated], np.int64)

    @classmethod
    def of(cls, rules: CountingRules) -> "RulesHistory":
        """Rules that never changed."""
        return cls([DatedRules(0, rules)])

    @property
    def latest(self) -> CountingRules:
        return self.dated[-1].rules

    def at(self, at_ms: int) -> CountingRules:
        return self.dated[bisect_right(self._changes_ms, at_ms)].rules

    def accepts_unknown_customers(self, at_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        accepts: NDArray[np.bool_] = self._accepts[self._place(at_ms)]
        return accepts

    def claims_from_ms(self, at_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """For events received then: what was counted at this moment or later makes them duplicates."""
        since: NDArray[np.int64] = at_ms - self._windows_ms[self._place(at_ms)] + 1
        return since

    def looks_back_to_ms(self, at_ms: int) -> int:
        """No event that is received at this moment or later is a duplicate of what was counted before the answer."""
        ahead = [each for each in self._changes_ms if each > at_ms]
        return int(self.claims_from_ms(np.array([at_ms, *ahead], np.int64)).min())

    def _place(self, at_ms: NDArray[np.int64]) -> Any:
        return np.searchsorted(self._changes_ms, at_ms, side="right")
