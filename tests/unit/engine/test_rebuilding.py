"""Rebuilding gives what was there, and a crash at any step of it leaves something that can be taken up again."""

from collections.abc import Callable, Generator
from decimal import Decimal

import pytest

from streamgauge.adapters.clickhouse import rollups as rollups_module
from streamgauge.adapters.clickhouse.preparation import prepare
from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.adapters.memory.event_log import MemoryEventLog, MemoryProgress
from streamgauge.domain.errors import StartRefused, Unavailable
from streamgauge.domain.meter import Formula, Meter
from streamgauge.domain.tally import Tally
from streamgauge.engine.ports.rebuild import OnProgress, Stage
from streamgauge.engine.rebuilding import Rebuilding, empty
from streamgauge.engine.verification import Verification
from tests.support.world import TENANT, Event, SettableClock, World


class State:
    """A mark in memory, and a list of what was done."""

    def __init__(self, stage: Stage | None = None, store_format: int | None = 2) -> None:
        self.at = stage
        self.format = store_format
        self.done: list[str] = []

    def stage(self) -> Stage | None:
        return self.at

    def mark(self, stage: Stage) -> None:
        self.at = stage
        self.done.append(str(stage))

    def unmark(self) -> None:
        self.at = None
        self.done.append("complete")

    def store_format(self) -> int | None:
        return self.format

    def note_store_format(self, number: int) -> None:
        self.format = number

    def sync_store(self) -> None:
        self.done.append("synced")

    def delete(self) -> None:
        self.done.append("deleted")
        self.format = None


NEW_LOG = MemoryEventLog(SettableClock())


class NoRollups:
    """Of a store that has none."""

    def rebuild(self, sync: Callable[[], None], on_progress: OnProgress | None = None) -> None:
        """Nothing to do."""

    def renew(self, sync: Callable[[], None]) -> Generator[tuple[int, int], None, None]:
        yield from ()


def lived(store: ClickHouseStore) -> World:
    world = World(store=store)
    world.add_customer()
    for formula in Formula:
        world.add_meter(f"{formula}s", formula)
    for number in range(30):
        world.clock.at_ms += 60_000
        world.accept(
            *(Event(f"{formula}-{number}", value=str(number), event_name=f"{formula}s") for formula in Formula)
        )
    for number in (3, 29):
        for formula in Formula:
            world.accept_cancel(f"{formula}-{number}", f"{formula}s")
    world.apply()
    return world


def rebuilding(world: World, state: State, rollups: object = None) -> Rebuilding:
    assert isinstance(world.store, ClickHouseStore)
    return Rebuilding(
        state,
        world.log,
        world.progress,
        rollups or world.store.rollups,  # type: ignore[arg-type]  # of the tests
        world.applier,
        world.deduplication,
    )


def differences(world: World) -> list[str]:
    assert isinstance(world.store, ClickHouseStore)
    audit, catalogue = world.store.audit, world.catalogue.settled()
    return list(Verification(world.log, world.progress, audit, catalogue).run().differences)


def test_rebuilt_rollups_are_what_they_were(new_clickhouse_store: Callable[[], ClickHouseStore]) -> None:
    store = new_clickhouse_store()
    world = lived(store)
    store._writer.command(f"INSERT INTO {store._database}.sums SELECT * FROM {store._database}.sums LIMIT 1")
    assert differences(world)
    state, told = State(), list[tuple[int, int]]()
    work = rebuilding(world, state)
    work.begin_rollups()
    assert work.finish(lambda done, total: told.append((done, total)))
    assert differences(world) == []
    assert state.done == ["rollups", "synced", "synced", "complete"] and told[-1] == (90, 90)
    # And what comes afterwards is folded into them once.
    world.accept(Event("new", value="0.5", event_name="sums"))
    world.apply()
    assert differences(world) == []


@pytest.mark.parametrize("inserted", (False, True), ids=("before the insert", "after the insert"))
def test_a_step_that_a_crash_left_behind_is_completed_before_and_counts_once(
    inserted: bool, new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_clickhouse_store()
    world = lived(store)
    world.accept(Event("late", value="0.5", event_name="sums"))

    def killed(*_: object, **__: object) -> None:
        raise Unavailable("killed")

    with monkeypatch.context() as patched, pytest.raises(Unavailable):
        patched.setattr(*((world.progress, "advance", killed) if inserted else (store, "insert", killed)))
        world.apply()
    world.restart()
    assert world.progress.intent() is not None
    work = rebuilding(world, State())
    work.begin_rollups()
    work.finish()
    world.apply()
    assert differences(world) == []
    assert world.progress.intent() is None


def test_a_rebuild_of_the_rollups_that_was_cut_short_begins_anew(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_clickhouse_store()
    world = lived(store)

    def cut(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rollups_module, "_READ_EVENTS", 20)
    state = State()
    work = rebuilding(world, state)
    work.begin_rollups()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            work.finish(cut)
        assert state.at is Stage.ROLLUPS
    assert differences(world)  # most events are missing
    assert work.finish()
    assert differences(world) == []


def test_from_the_log_everything_comes_back_also_in_two_goes(
    new_clickhouse_store: Callable[[], ClickHouseStore],
) -> None:
    world = lived(new_clickhouse_store())
    before = {formula: world.total(_meter(world, formula)) for formula in Formula}
    state = State(Stage.EMPTYING)
    empty(state, 2, NEW_LOG)
    assert state.done == ["deleted", "applying"]
    world.store, world.progress, world.step_events_max = new_clickhouse_store(), MemoryProgress(), 10
    world.restart()

    def cut(done: int, _total: int) -> None:
        if done > 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuilding(world, state, NoRollups()).finish(cut)
    assert state.at is Stage.APPLYING
    empty(state, 2, NEW_LOG)  # deletes nothing now
    world.restart()
    assert rebuilding(world, state, NoRollups()).finish()
    assert state.done == ["deleted", "applying", "complete"]
    assert {formula: world.total(_meter(world, formula)) for formula in Formula} == before
    assert before[Formula.SUM] == Decimal(sum(range(30)) - 3 - 29)
    assert differences(world) == []


def test_without_a_mark_there_is_nothing_to_finish(new_clickhouse_store: Callable[[], ClickHouseStore]) -> None:
    state = State()
    empty(state, 2, NEW_LOG)
    assert not rebuilding(World(store=new_clickhouse_store()), state).finish()
    assert state.done == []


def _meter(world: World, formula: Formula) -> Meter:
    (meter,) = (each for each in world.control.all_meters() if each.formula is formula)
    return meter


def test_a_store_of_an_older_format_is_made_anew_from_the_log() -> None:
    state = State(store_format=1)
    empty(state, 2, NEW_LOG)
    assert state.done == ["emptying", "deleted", "applying"]


def test_a_store_of_this_format_or_none_is_left_alone() -> None:
    for number in (2, None):
        state = State(store_format=number)
        empty(state, 2, NEW_LOG)
        assert state.done == []


def test_a_store_of_a_newer_format_is_refused_and_left_alone() -> None:
    state = State(store_format=3)
    with pytest.raises(StartRefused, match="has format 3, and this program knows up to 2"):
        empty(state, 2, NEW_LOG)
    assert state.done == []


def test_what_a_shortened_log_cannot_give_back_is_not_deleted() -> None:
    log = MemoryEventLog(SettableClock())
    log.append(b"", {TENANT: Tally(3)})
    assert log.drop(before_ms=2**60, below_offset=3)
    state = State(store_format=1)
    with pytest.raises(StartRefused, match="begins at offset 3, since older records were dropped"):
        empty(state, 2, log)
    assert state.done == []


def renewing(store: ClickHouseStore) -> Generator[tuple[int, int], None, None]:
    return store.rollups.renew(lambda: None)


def test_rollups_made_anew_while_events_are_applied_hold_each_once(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups_module, "_READ_EVENTS", 20)
    store = new_clickhouse_store()
    world = lived(store)
    store._writer.command(f"INSERT INTO {store._database}.sums SELECT * FROM {store._database}.sums LIMIT 1")
    damaged = differences(world)
    portions = 0
    for done, total in renewing(store):
        portions += 1
        assert done <= total
        if portions < 6:
            # What is served until the end is as it was before; new events and cancellations are in it, too.
            assert differences(world) == damaged
            world.accept(
                *(Event(f"{formula}-new-{portions}", value="0.5", event_name=f"{formula}s") for formula in Formula)
            )
            world.accept_cancel(f"sum-{portions + 4}", "sums")
            world.accept_cancel(f"last-{portions + 4}", "lasts")
            world.apply()
    assert portions > 3
    assert differences(world) == []
    world.accept(Event("after", value="0.5", event_name="sums"))
    world.apply()
    assert differences(world) == []


def test_a_renewal_that_was_cut_short_changed_nothing_and_leaves_nothing(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups_module, "_READ_EVENTS", 20)
    store = new_clickhouse_store()
    world = lived(store)
    portions = renewing(store)
    next(portions)
    portions.close()
    assert differences(world) == []
    assert any(name.endswith("_renewed") for name in tables(store))
    prepare(store._writer, store._database)  # as a start does
    assert not any(name.endswith("_renewed") for name in tables(store))
    assert differences(world) == []


@pytest.mark.parametrize("exchanges", range(4))
def test_a_renewal_cut_between_two_exchanges_serves_whole_rollups(
    exchanges: int, new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_clickhouse_store()
    world = lived(store)
    command, made = store._writer.command, list[str]()

    def killed(statement: str, **more: object) -> object:
        if statement.startswith("EXCHANGE"):
            if len(made) == exchanges:
                raise KeyboardInterrupt
            made.append(statement)
        return command(statement, **more)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(store._writer, "command", killed)
        for _ in renewing(store):
            pass
    assert len(made) == exchanges
    prepare(store._writer, store._database)
    assert differences(world) == []


@pytest.mark.parametrize("beside_serving", [False, True])
def test_new_tables_take_the_place_of_old_rollups_with_durable_names_before_and_after(
    new_clickhouse_store: Callable[[], ClickHouseStore], monkeypatch: pytest.MonkeyPatch, beside_serving: bool
) -> None:
    """Nor are the old ones emptied: what is dropped from a table that stays may be there again after a start."""
    store = new_clickhouse_store()
    lived(store)
    command, done = store._writer.command, list[str]()

    def noted(statement: str, **more: object) -> object:
        done.append(statement.split()[0])
        return command(statement, **more)

    monkeypatch.setattr(store._writer, "command", noted)
    if beside_serving:
        for _ in store.rollups.renew(lambda: done.append("sync")):
            pass
    else:
        store.rollups.rebuild(lambda: done.append("sync"))
    order = [what for what in done if what in ("CREATE", "sync", "EXCHANGE", "DROP", "TRUNCATE")][4:]
    assert order == ["CREATE"] * 4 + ["sync"] + ["EXCHANGE"] * 4 + ["sync"] + ["DROP"] * 4


def tables(store: ClickHouseStore) -> list[str]:
    return [str(row[0]) for row in store._writer.query(f"SHOW TABLES FROM {store._database}").result_rows]
