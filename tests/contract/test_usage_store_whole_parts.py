"""What the embedded engine could not write is noticed before it is called stored, and stored when it is done again."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from streamgauge.adapters.clickhouse.store import ClickHouseStore
from streamgauge.domain.errors import DurabilityLost, Unavailable
from tests.support.settled import Settled, settled

FILE_BYTES_MAX = 60  # the start of a file is written, and the rest is not


@contextmanager
def failing_writes() -> Iterator[None]:
    """By the system itself: writes beyond a file's largest size fail, as they do on a disk that is full or broken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def events(first: int) -> list[Settled]:
    return [Settled(identifier=f"event-{number}", offset=number) for number in range(first, first + 10)]


def test_an_insert_that_is_not_whole_is_told_and_whole_when_it_is_done_again(
    new_clickhouse_store: Callable[[], ClickHouseStore],
) -> None:
    store = new_clickhouse_store()
    store.insert(settled(events(0)), step=0)
    with failing_writes(), pytest.raises(Unavailable):
        store.insert(settled(events(10)), step=10)
    for _ in range(2):
        store.insert(settled(events(10)), step=10, again=True)
    assert store.count_events() == store.count_claimed(since_ms=0) == 20
    assert [row[0] for row in store._writer.query(f"SELECT sum(events) FROM {store._database}.sums").result_rows] == [
        20
    ]


def test_a_merge_that_is_not_whole_ends_the_process_before_its_sources_are_gone(
    new_clickhouse_store: Callable[[], ClickHouseStore],
) -> None:
    store = new_clickhouse_store()
    for first in (0, 10):
        store.insert(settled(events(first)), step=first)
    with failing_writes():
        store._writer.command(f"OPTIMIZE TABLE {store._database}.events FINAL")
    with pytest.raises(DurabilityLost, match="rebuild --all"):
        store.insert(settled(events(20)), step=20)


def test_a_large_merged_part_with_empty_files_is_whole(new_clickhouse_store: Callable[[], ClickHouseStore]) -> None:
    """A merge that is large enough gives each column files of its own, and those of nothing but defaults are empty."""
    store = new_clickhouse_store()
    store._writer.command(f"ALTER TABLE {store._database}.events MODIFY SETTING min_bytes_for_wide_part = 0")
    for first in (0, 10):
        store.insert(settled(events(first)), step=first)
    store._writer.command(f"OPTIMIZE TABLE {store._database}.events FINAL")
    ((path,),) = store._writer.query(
        "SELECT path FROM system.parts WHERE active AND table = 'events' AND database = {database:String}",
        parameters={"database": store._database},
    ).result_rows
    assert any(each.stat().st_size == 0 for each in Path(path).iterdir())
    store.insert(settled(events(20)), step=20)
    assert store.count_events() == 30
