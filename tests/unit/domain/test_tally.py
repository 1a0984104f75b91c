from streamgauge.domain.tally import NOTHING, Tally


def test_tallies_add_and_subtract_each_kind_apart() -> None:
    assert Tally(3, 1) + Tally(2, 5) == Tally(5, 6)
    assert Tally(5, 6) - Tally(2, 5) == Tally(3, 1)
    assert sum([Tally(1, 0), Tally(0, 2)], NOTHING).entries == 3
