"""The contract of `Progress`, run on every adapter."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamgauge.adapters.memory.event_log import MemoryProgress
from streamgauge.adapters.sqlite import progress as sqlite_progress
from streamgauge.adapters.sqlite.progress import SqliteProgress
from streamgauge.domain.account import Tenant
from streamgauge.domain.errors import Corrupt
from streamgauge.domain.tally import Tally
from streamgauge.engine.ports.progress import Checkpoint, Intent, Progress
from tests.support.world import TENANT

LIVE = Tenant(TENANT.account_id, livemode=True)


@pytest.fixture(params=["memory", "sqlite"])
def progress(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Progress]:
    opened: Progress = MemoryProgress() if request.param == "memory" else SqliteProgress(tmp_path / "progress.db")
    yield opened
    opened.close()


def test_nothing_is_applied_in_the_beginning(progress: Progress) -> None:
    assert (progress.checkpoint(), progress.intent(), dict(progress.applied())) == (Checkpoint(0, 0), None, {})


def test_an_intent_stays_until_it_is_completed(progress: Progress) -> None:
    progress.intend(Intent(0, 7))
    assert (progress.intent(), progress.checkpoint()) == (Intent(0, 7), Checkpoint())
    progress.advance(Checkpoint(7, 1_000), {TENANT: Tally(7)})
    assert (progress.intent(), progress.checkpoint()) == (None, Checkpoint(7, 1_000))


def test_the_same_intent_may_be_written_again(progress: Progress) -> None:
    progress.intend(Intent(0, 7))
    progress.intend(Intent(0, 7))
    assert progress.intent() == Intent(0, 7)


@pytest.mark.parametrize("first_offset", [0, 6, 8])
def test_an_intent_begins_at_the_checkpoint(progress: Progress, first_offset: int) -> None:
    progress.intend(Intent(0, 7))
    progress.advance(Checkpoint(7, 1_000), {TENANT: Tally(7)})
    with pytest.raises(Corrupt, match="checkpoint 7"):
        progress.intend(Intent(first_offset, 20))
    assert progress.intent() is None


def test_applied_adds_up_for_each_tenant_apart(progress: Progress) -> None:
    progress.advance(Checkpoint(7, 1_000), {TENANT: Tally(5), LIVE: Tally(2)})
    progress.advance(Checkpoint(10, 2_000), {TENANT: Tally(3)})
    assert dict(progress.applied()) == {TENANT: Tally(8), LIVE: Tally(2)}


def test_the_same_range_makes_the_same_token_and_another_range_another() -> None:
    assert Intent(3, 5).token == Intent(3, 5).token
    assert len({Intent(*each).token for each in ((1, 23), (12, 3), (1, 2), (0, 12), (0, 1))}) == 5


def test_reopening_keeps_checkpoint_intent_and_counts(tmp_path: Path) -> None:
    first = SqliteProgress(tmp_path / "progress.db")
    first.advance(Checkpoint(7, 1_000), {TENANT: Tally(5), LIVE: Tally(2)})
    first.intend(Intent(7, 9))
    first.close()
    second = SqliteProgress(tmp_path / "progress.db")
    assert (second.checkpoint(), second.intent()) == (Checkpoint(7, 1_000), Intent(7, 9))
    assert dict(second.applied()) == {TENANT: Tally(5), LIVE: Tally(2)}
    second.close()


def test_another_process_sees_the_checkpoint_at_once(tmp_path: Path) -> None:
    engine, edge = SqliteProgress(tmp_path / "progress.db"), SqliteProgress(tmp_path / "progress.db")
    engine.advance(Checkpoint(7, 1_000), {TENANT: Tally(7)})
    assert edge.checkpoint() == Checkpoint(7, 1_000)
    engine.close()
    edge.close()


def test_a_file_of_the_first_format_is_brought_up_to_date_and_keeps_what_it_has(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "progress.db")) as old:
        for statement in sqlite_progress._FIRST:
            old.execute(statement)
        old.execute("UPDATE checkpoint SET next_offset = 7, received_at_ms = 1000")
        old.execute("INSERT INTO applied VALUES (?, ?, 7)", (TENANT.account_id, TENANT.livemode))
        old.execute("PRAGMA user_version = 1")
        old.commit()
    progress = SqliteProgress(tmp_path / "progress.db")
    progress.advance(Checkpoint(8, 2_000), {TENANT: Tally(0, 1)})
    assert progress.applied() == {TENANT: Tally(7, 1)}
    progress.close()
