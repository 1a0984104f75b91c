"""Occasions: what is done along the way, at most once in a while."""

import threading


class Occasion:
    """Due the first time and then whenever `interval_ms` have passed. Safe to ask from any thread."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._lock = threading.Lock()
        self._last_ms: int | None = None

    def is_due(self, now_ms: int) -> bool:
        """Whether the caller is the one to do it now."""
        with self._lock:
            # A clock that was set back must not put this off until it has caught up.
            is_recent = self._last_ms is not None and 0 <= now_ms - self._last_ms < self._interval_ms
            if is_recent:
                return False
            self._last_ms = now_ms
            return True
