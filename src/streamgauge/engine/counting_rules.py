"""The counting rules of a data folder: which have held since when, and the settings of a new start taken up."""

import logging

from streamgauge.domain.counting_rules import CountingRules, DatedRules, RulesHistory
from streamgauge.engine.ports.clock import Clock
from streamgauge.engine.ports.control_store import ControlStore
from streamgauge.engine.ports.event_log import EventLog

logger = logging.getLogger(__name__)


def kept_rules(store: ControlStore, otherwise: CountingRules) -> RulesHistory:
    """As they are stored; `otherwise` for a folder on which no server has started since they are."""
    dated = store.counting_rules()
    return RulesHistory(dated) if dated else RulesHistory.of(otherwise)


def take_up(wanted: CountingRules, store: ControlStore, log: EventLog, clock: Clock) -> RulesHistory:
    """Let these hold from now on, before anything is accepted or judged; what was received keeps its rules.

    They are stamped by the log like a change of the catalogue. Killed between stamp and write, nothing has changed.
    """
    history = kept_rules(store, wanted)
    if not store.counting_rules():
        # A new folder, or one from before they were stored, which was run with the same settings, as far as we know.
        store.add_counting_rules(history.dated[0])
    if history.latest == wanted:
        return history
    changed = DatedRules(log.stamp(clock.now_ms()), wanted)
    store.add_counting_rules(changed)
    logger.info("counting rules changed from_ms=%d %s before: %s", changed.valid_from_ms, wanted, history.latest)
    return RulesHistory([*history.dated, changed])
