"""The contract of `Progress`, run on every adapter."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgauge.adapters.memory.event_log import MemoryProgress
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
