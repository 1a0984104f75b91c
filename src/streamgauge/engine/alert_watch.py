"""The watch over billing alerts: follows the applier, and tells once when a customer's usage reaches a threshold."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from streamgauge.domain.alert import Alert, Firing, Recurrence, day_start_of, lowest_above
from streamgauge.domain.touched_usage import Touched
from streamgauge.engine.ports.alerts import AlertStore
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.marks import Marks
from streamgauge.engine.ports.progress import Progress
from streamgauge.engine.ports.usage_watch import UsageKey, UsageWatch
from streamgauge.engine.recently_touched import RecentlyTouched
from streamgauge.engine.watched_alerts import WatchedAlerts

logger = logging.getLogger(__name__)

MARK: Final = "alerts"
# Entries of the log that one step looks at, after a long time without looking.
STEP_ENTRIES_MAX: Final = 5_000_000
# Firings in one transaction: nobody else can write meanwhile.
TRANSACTION_FIRINGS_MAX: Final = 100
# Customers whose level is remembered; some 300 bytes each.
LEVELS_MAX: Final = 200_000

_ZERO: Final = Decimal(0)

# Tells everyone of a firing. Called inside of the transaction that records it.
Announce = Callable[[Firing], None]


@dataclass(slots=True)
class _Level:
    """A bound of some usage, and the total at which alerts have something to tell of it; None: they never will.
    `last_offset` is where it was touched last.

    Floats, since they are compared for everyone who is touched: the bound is rounded up, the total down.
    """

    at_most: float
    next_gte: float | None
    last_offset: int


class AlertWatch:
    """Looks at each part of the log once it is applied: whose usage did it touch, and has that reached a threshold?

    Firings, what tells of them, and the mark that says how far the log was looked at are one transaction, so a crash
    neither misses nor doubles. That transaction also looks for alerts that were changed since they were read, and the
    mark does not pass what one of them should be asked about.

    How much a customer has used is only asked for where it can have reached the next threshold. What is remembered
    for that is an upper bound and decides nothing else; a restart forgets it.
    """

    def __init__(
        self,
        control: ControlStore,
        alerts: AlertStore,
        marks: Marks,
        usage: UsageWatch,
        recently: RecentlyTouched,
        progress: Progress,
        clock: Clock,
        announce: Announce,
    ) -> None:
        self._control = control
        self._alerts = alerts
        self._marks = marks
        self._usage = usage
        self._recently = recently
        self._progress = progress
        self._clock = clock
        self._announce = announce
        self._watched = WatchedAlerts(control.get_meter)
        self._revision = 0
        self._levels: dict[UsageKey, _Level] = {}

    @property
    def is_watching(self) -> bool:
        """Whether any alert was active at the last look."""
        return bool(self._watched)

    def run_once(self) -> bool:
        """Look at what was applied since; False when there was nothing to look at.

        Raises Overloaded or Unavailable: the same step can be run again.
        """
        # The checkpoint first: what it covers is then in the store, and alerts that are read later know of it.
        next_offset = self._progress.checkpoint().next_offset
        self._read_changes()
        if not self._watched:
            return False
        first_offset = max(self._marks.get(MARK) or 0, self._watched.since_offset)
        next_offset = min(next_offset, first_offset + STEP_ENTRIES_MAX)
        due = [each for each in self._watched.due if each.since_offset <= next_offset]
        if first_offset >= next_offset and not due:
            return False
        try:
            reached = self._reached_by_touched(first_offset, next_offset) if first_offset < next_offset else []
            reached += self._reached_by_anyone(due)
            self._record(reached, due, max(next_offset, first_offset))
        except BaseException:
            # They take for told what was not.
            self._levels.clear()
            raise
        return True

    def _read_changes(self) -> None:
        revision = self._alerts.revision()
        if revision == self._revision:
            return
        changed = self._watched.put(self._alerts.changed_after(self._revision))
        self._recently.want(self._watched.meters.keys(), self._watched.with_periods)
        self._levels = {key: level for key, level in self._levels.items() if key[0] not in changed}
        self._revision = revision

    def _reached_by_touched(self, first_offset: int, next_offset: int) -> list[Firing]:
        meters = self._watched.meters
        touched = self._recently.between(first_offset, next_offset)
        if touched is None:
            touched = self._usage.touched(meters.keys(), first_offset, next_offset, by_day=self._watched.with_periods)
        asked = self._that_may_reach(touched)
        totals = self._usage.usage(meters, list(asked)) if asked else {}
        reached: list[Firing] = []
        for key, (alerts, last_offset) in asked.items():
            total = totals.get(key, _ZERO)
            known = [alert for alert in alerts if alert.since_offset <= last_offset]
            reached += self._firings(known, key, total)
            if len(known) == len(alerts):
                lowest = lowest_above(alerts, total)
                next_gte = None if lowest is None else math.nextafter(lowest, -math.inf)
                self._remember(key, _Level(math.nextafter(total, math.inf), next_gte, last_offset))
        return reached

    def _that_may_reach(self, touched: Sequence[Touched]) -> dict[UsageKey, tuple[Sequence[Alert], int]]:
        """The usage to ask for, with the alerts that look at it and the last offset that touched it.

        This is what a look costs per customer, so it does little for those whose level is known.
        """
        asked: dict[UsageKey, tuple[Sequence[Alert], int]] = {}
        levels, by_meter, rounded_up = self._levels, self._watched.by_meter, math.nextafter
        for meter_id, customer_id, day_start_ms, events, rise, highest, last_offset in touched:
            watched = by_meter[meter_id]
            for recurrence, alerts in watched.of(customer_id):
                period = None if recurrence is Recurrence.ONE_TIME else recurrence.period_of(day_start_ms)
                key = (meter_id, customer_id, period)
                level = levels.get(key)
                if level is None:
                    # Days that belong to the same sum come one by one.
                    before = asked[key][1] if key in asked else 0
                    asked[key] = (alerts, max(before, last_offset))
                    continue
                if level.next_gte is None:
                    continue
                if watched.keeps_highest:
                    if highest > level.at_most:
                        level.at_most = highest
                else:
                    level.at_most = rounded_up(level.at_most + (events if watched.counts else rise), math.inf)
                if last_offset > level.last_offset:
                    level.last_offset = last_offset
                if level.at_most >= level.next_gte:
                    asked[key] = (alerts, level.last_offset)
        return asked

    def _remember(self, key: UsageKey, level: _Level) -> None:
        self._levels.pop(key, None)
        watched = self._watched.by_meter[key[0]]
        if watched.meter.keeps_latest and not watched.keeps_highest and level.next_gte is not None:
            # By how much such usage rises cannot be told from what touched it.
            return
        while len(self._levels) >= LEVELS_MAX:
            del self._levels[next(iter(self._levels))]
        self._levels[key] = level

    def _reached_by_anyone(self, due: Sequence[Alert]) -> list[Firing]:
        """Alerts that were activated, and all customers who have reached them, by all usage or that of today."""
        today_ms = day_start_of(self._clock.now_ms())
        meters = self._watched.meters
        reached: list[Firing] = []
        for alert in due:
            threshold = alert.threshold
            period = threshold.recurrence.period_of(today_ms)
            totals: Mapping[str, Decimal]
            if threshold.customer_id is None:
                totals = self._usage.reaching(meters[threshold.meter_id], period, threshold.gte)
            else:
                key = (threshold.meter_id, threshold.customer_id, period)
                totals = {each: total for (_, each, _), total in self._usage.usage(meters, [key]).items()}
            for customer_id, total in totals.items():
                reached += self._firings([alert], (threshold.meter_id, customer_id, period), total)
        return reached

    def _firings(self, alerts: Sequence[Alert], key: UsageKey, total: Decimal) -> list[Firing]:
        _, customer_id, period = key
        fired_ms = self._clock.now_ms()
        return [
            Firing(alert=alert, customer_id=customer_id, step=step, period=period, total=total, fired_ms=fired_ms)
            for alert in alerts
            if (step := alert.threshold.step(total, period)) is not None
        ]

    def _record(self, reached: Sequence[Firing], due: Sequence[Alert], next_offset: int) -> None:
        # One that is due and touched reaches the same twice.
        firings = list({firing.key: firing for firing in reached}.values())
        starts = range(0, max(len(firings), 1), TRANSACTION_FIRINGS_MAX)
        looked_at: list[Alert] = []
        for start in starts:
            with self._control.transaction():
                # Nobody can change an alert until this is committed; whoever did since they were read is respected.
                changed = {alert.id: alert for alert in self._alerts.changed_after(self._revision)}
                part = firings[start : start + TRANSACTION_FIRINGS_MAX]
                self._fire([firing for firing in part if firing.alert.id not in changed])
                if start == starts[-1]:
                    looked_at = [alert for alert in due if alert.id not in changed]
                    self._alerts.looked_at([alert.id for alert in looked_at])
                    # What comes after a new alert must be looked at again, with that one.
                    self._marks.put(MARK, min([next_offset, *(alert.since_offset for alert in changed.values())]))
        self._watched.looked_at(looked_at)

    def _fire(self, firings: Sequence[Firing]) -> None:
        """Those that are new. A total that fell below its threshold and reaches it again is not."""
        told = self._alerts.fired([firing.key for firing in firings])
        highest = self._alerts.highest_steps([_pair(each) for each in firings if _is_every(each)])
        new = [
            firing
            for firing in firings
            if firing.key not in told and not (_is_every(firing) and highest.get(_pair(firing), 0) >= firing.step)
        ]
        self._alerts.add_firings(new)
        for firing in new:
            self._announce(firing)
        if new:
            logger.info("alerts fired count=%d", len(new))


def _is_every(firing: Firing) -> bool:
    return firing.alert.threshold.recurrence is Recurrence.EVERY


def _pair(firing: Firing) -> tuple[str, str]:
    return firing.alert.id, firing.customer_id
