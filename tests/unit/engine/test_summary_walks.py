"""A walk over the pages of a list asks the store once, and never shows less than what is reported as visible."""

from decimal import Decimal

import pytest

from streamgauge.domain.summary import Range, SummaryRow
from streamgauge.engine import summary_walks
from streamgauge.engine.ports.usage_store import WindowTotal
from streamgauge.engine.summary_walks import KEPT_SECONDS, SummaryWalks, Walk


class Bench:
    """A store whose list can change, and how often it was read."""

    def __init__(self) -> None:
        self.applied = 5
        self.now = 100.0
        self.reads = self.rows_made = 0
        self.total = Decimal(1)
        self.walks = SummaryWalks(lambda: self.applied, lambda: self.now)

    def totals(self, count: int = 3) -> list[WindowTotal]:
        self.reads += 1
        return [WindowTotal(Range(at, at + 1), self.total) for at in range(count)]

    def row(self, total: WindowTotal) -> SummaryRow:
        self.rows_made += 1
        start_s, end_s = total.window.start_s, total.window.end_s
        return SummaryRow(id=f"mtrusg_{start_s}", meter_id="mtr_1", start_s=start_s, end_s=end_s, value=total.value)

    def read(self, key: str = "a", count: int = 3) -> Walk:
        return self.walks.read(key, lambda: self.totals(count), self.row)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_pages_after_the_first_are_of_the_list_as_it_was_read(bench: Bench) -> None:
    read = bench.read()
    assert [read.place_of(row.id) for row in read.rows(0, 3)] == [0, 1, 2]
    for _ in range(3):
        assert bench.walks.continued("a") is read
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
    assert [row.value for row in kept.rows(0, 1)] == [2]


def test_rows_are_made_as_far_as_the_list_is_walked(bench: Bench) -> None:
    walk = bench.read(count=1_000)
    assert len(walk) == 1_000
    assert [row.start_s for row in walk.rows(0, 100)] == list(range(100))
    assert walk.place_of("mtrusg_99") == 99
    assert bench.rows_made == 100
    assert [row.start_s for row in walk.rows(50, 120)] == list(range(50, 120))
    assert bench.rows_made == 120


def test_a_row_that_was_not_made_yet_is_found_and_one_that_is_not_there_is_not(bench: Bench) -> None:
    walk = bench.read(count=250)
    assert walk.place_of("mtrusg_130") == 130
    assert bench.rows_made < 250
    assert walk.place_of("mtrusg_249") == 249
    assert walk.place_of("mtrusg_250") is None
    assert bench.rows_made == 250
    assert walk.rows(240, 300) == walk.rows(240, 250)
    assert walk.rows(250, 260) == ()


def test_what_is_applied_while_the_list_is_read_is_in_the_next_page(bench: Bench) -> None:
    def totals() -> list[WindowTotal]:
        found = bench.totals()
        bench.applied = 6
        return found

    bench.walks.read("a", totals, bench.row)
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
    assert len(bench.read("b", 4)) == 4
    assert bench.walks.continued("a") is not None
    assert bench.walks.continued("b") is None
