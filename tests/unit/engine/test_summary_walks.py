"""A walk over the pages of a list asks the store once, and never shows less than what is reported as visible."""

from decimal import Decimal

import pytest

from streamgauge.domain.summary import SummaryRow
from streamgauge.engine import summary_walks
from streamgauge.engine.summary_walks import KEPT_SECONDS, SummaryWalks, Walk


class Bench:
    """A store whose list can change, and how often it was read."""

    def __init__(self) -> None:
        self.applied = 5
        self.now = 100.0
        self.reads = 0
        self.total = Decimal(1)
        self.walks = SummaryWalks(lambda: self.applied, lambda: self.now)

    def rows(self, count: int = 3) -> tuple[SummaryRow, ...]:
        self.reads += 1
        return tuple(
            SummaryRow(id=f"mtrusg_{at}", meter_id="mtr_1", start_s=at, end_s=at + 1, value=self.total)
            for at in range(count)
        )

    def read(self, key: str = "a", count: int = 3) -> Walk:
        return self.walks.read(key, lambda: self.rows(count))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_pages_after_the_first_are_of_the_list_as_it_was_read(bench: Bench) -> None:
    read = bench.read()
    assert [read.places[row.id] for row in read.rows] == [0, 1, 2]
    for _ in range(3):
        assert bench.walks.continued("a") == read
    assert bench.reads == 1
    assert bench.walks.continued("b") is None


def test_what_was_applied_since_is_in_the_next_page(bench: Bench) -> None:
    bench.read()
    bench.applied = 6
    assert bench.walks.continued("a") is None
    bench.total = Decimal(2)
    bench.read()
    kept = bench.walks.continued("a")
    assert kept is not None
    assert kept.rows[0].value == 2


def test_what_is_applied_while_the_list_is_read_is_in_the_next_page(bench: Bench) -> None:
    def rows() -> tuple[SummaryRow, ...]:
        found = bench.rows()
        bench.applied = 6
        return found

    bench.walks.read("a", rows)
    assert bench.walks.continued("a") is None


def test_a_list_is_kept_for_seconds(bench: Bench) -> None:
    bench.read()
    bench.now += KEPT_SECONDS
    assert bench.walks.continued("a") is not None
    bench.now += 0.1
    assert bench.walks.continued("a") is None


def test_the_lists_read_last_are_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_walks, "WALKS_MAX", 2)
    for key in ("a", "b", "a", "c"):
        bench.read(key)
    assert [bench.walks.continued(key) is not None for key in "abc"] == [True, False, True]


def test_long_lists_are_not_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_walks, "ROWS_MAX", 3)
    bench.read("a", 3)
    assert len(bench.read("b", 4).rows) == 4
    assert bench.walks.continued("a") is not None
    assert bench.walks.continued("b") is None
