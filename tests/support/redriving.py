"""Dead letters and redrives of a `World`, on the reading side of whatever store it has."""

from dataclasses import replace

from streamgauge.adapters.clickhouse.dead_letters import ClickHouseDeadLetters
from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.dead_letters import MemoryDeadLetters
from streamgauge.adapters.memory.usage_audit import MemoryUsageAudit
from streamgauge.adapters.memory.usage_store import MemoryUsageStore
from streamgauge.domain.receipt import StoredEvent
from streamgauge.domain.redrive import DeadLetter, acknowledged
from streamgauge.engine.backlog import Backlog
from streamgauge.engine.ports.dead_letters import DeadLetters, LetterFilter, Places
from streamgauge.engine.ports.usage_audit import UsageAudit
from streamgauge.engine.ports.usage_store import UsageStore
from streamgauge.engine.redrive import Redriven, Redrives, all_of
from streamgauge.engine.verification import Verification
from tests.support.settled import hash_of
from tests.support.world import TENANT, World

ANY = LetterFilter(is_open=None)
OPEN = LetterFilter()


def letters_of(store: UsageStore) -> DeadLetters:
    if isinstance(store, MemoryUsageStore):
        return MemoryDeadLetters(store)
    assert isinstance(store, ClickHouseStore)
    return ClickHouseDeadLetters(store._reader, store._database)


def redrives_of(world: World, *, backlog_events_max: int = 1_000_000) -> Redrives:
    backlog = Backlog(world.log, world.progress, events_max=backlog_events_max)
    return Redrives(world.log, world.progress, letters_of(world.store), world.judging, world.unapplied, backlog)


def redrive(world: World, wanted: LetterFilter = OPEN) -> list[Redriven]:
    """All that there are now, and apply them."""
    portions = list(all_of(redrives_of(world), TENANT, wanted))
    world.apply()
    return portions


def dead_letters(world: World, wanted: LetterFilter = OPEN) -> list[DeadLetter]:
    """Oldest first."""
    return list(letters_of(world.store).find(TENANT, wanted, Places(), limit=1_000))


def fates(world: World, identifier: str) -> list[str]:
    """Of each acknowledged event with this identifier, in the order of receipt; a rejected one's as its code."""
    return [each.code or str(each.status) for each in events_of(world, identifier)]


def events_of(world: World, identifier: str) -> list[StoredEvent]:
    rows = acknowledged(world.store.events_of(TENANT, identifier, hash_of(identifier)))
    return [_as_received(each) for each in rows]


def _as_received(event: StoredEvent) -> StoredEvent:
    """With the place and the moment of its first receipt."""
    if event.first_offset is None or event.first_received_at_ms is None:
        return event
    return replace(event, log_offset=event.first_offset, received_at_ms=event.first_received_at_ms)


def differences(world: World) -> list[str]:
    """Between what is stored and an independent recount of the log."""
    audit: UsageAudit
    if isinstance(world.store, MemoryUsageStore):
        audit = MemoryUsageAudit(world.store)
    else:
        assert isinstance(world.store, ClickHouseStore)
        audit = world.store.audit
    return list(Verification(world.log, world.progress, audit, world.catalogue.settled()).run().differences)
