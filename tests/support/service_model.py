"""A state machine that drives the whole service beside an oracle: whatever is done in whatever order, both agree.

Requests meet by chance only when names and moments are few, so identifiers, event names and customers come from small
pools, and the clock likes to step to where something ends: a cancellation's 24 hours, a request key's, the
deduplication window, the 35 days that a timestamp may lie back.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from streamgauge.domain.counting_rules import CountingRules
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.usage_store import UsageStore
from tests.support.oracle import (
    DAY_MS,
    PAST_MAX_MS,
)
from tests.support.service import DiskStorage, Storage
from tests.support.service_callers import CallerRules
from tests.support.service_drafts import CRASHES, STEPS_MS, WINDOWS_MS, picks
from tests.support.service_operators import OperatorRules


class ServiceModel(CallerRules, OperatorRules):
    """With what happens to the service: steps of applying, failures, restarts, and a clock that jumps."""

    @rule()
    def apply_one_step(self) -> None:
        self.running.applier.run_once()

    @rule()
    def apply(self) -> None:
        self.running.apply()

    @rule(point=st.sampled_from(CRASHES), before=st.booleans(), restarts=st.booleans(), filled=st.booleans())
    def fail_while_applying(self, point: str, before: bool, restarts: bool, filled: bool) -> None:
        """The process ends, or what failed passes and the same step is tried again."""
        self.fail_once(point, before=before)
        if restarts:
            self.running.restart(is_filter_filled=filled)

    @rule(filled=st.booleans())
    def restart(self, filled: bool) -> None:
        self.running.restart(is_filter_filled=filled)

    @rule(window_ms=st.sampled_from(WINDOWS_MS), accept_unknown=st.booleans(), filled=st.booleans())
    def restart_with_other_settings(self, window_ms: int, accept_unknown: bool, filled: bool) -> None:
        """Events that wait in the log, or are applied again by a rebuild, keep the rules that they were received by."""
        before, after = (
            self.running.rules,
            CountingRules(accept_unknown_customers=accept_unknown, dedup_window_ms=window_ms),
        )
        if before != after:
            self.oracle.stamp()
        self.oracle.window_ms, self.oracle.accept_unknown_customers = window_ms, accept_unknown
        self.running.rules = after
        self.running.restart(is_filter_filled=filled)

    @rule()
    def fill_filter(self) -> None:
        self.running.fill_filter()

    @rule(step_ms=st.sampled_from(STEPS_MS), back=st.sampled_from((False, False, False, True)))
    def step_clock(self, step_ms: int, back: bool) -> None:
        self.set_clock(self.clock.at_ms + (-step_ms if back else step_ms))

    @precondition(lambda self: self.oracle.entries)
    @rule(pick=picks, span=st.sampled_from(("day", "day", "window", "window", "past")), past_it=st.integers(-1, 1))
    def step_clock_to_where_something_ends(self, pick: int, span: str, past_it: int) -> None:
        began_ms = [each.at_ms for each in self.key_uses.values()] if span == "day" and pick < 3 else []
        began_ms = began_ms or [each.received_at_ms for each in self.oracle.entries]
        spans_ms = {"day": DAY_MS, "window": self.oracle.window_ms, "past": PAST_MAX_MS}
        self.set_clock(began_ms[-1 - pick % len(began_ms)] + spans_ms[span] + past_it)


def model_on_disk(new_store: Callable[[], UsageStore]) -> type[ServiceModel]:
    """The same on files in a folder of their own for each history, and stores that `new_store` makes empty."""

    def on_disk(clock: Clock, stack: ExitStack) -> Storage:
        return DiskStorage(Path(stack.enter_context(TemporaryDirectory())), new_store)

    class OnDisk(ServiceModel):
        new_storage: ClassVar[Callable[[Clock, ExitStack], Storage]] = staticmethod(on_disk)

    return OnDisk
