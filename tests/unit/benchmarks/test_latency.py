"""When a request is visible, from acknowledgements and from readings of how far events have come."""

from benchmarks.latency import Reading, visible_ms

MS = 1_000_000


def test_a_request_is_visible_at_the_first_reading_that_covers_it() -> None:
    readings = [Reading(0, 0), Reading(10 * MS, 100), Reading(20 * MS, 300)]
    assert visible_ms([1 * MS, 2 * MS, 12 * MS], readings, 0) == [8.0, 9.0, 18.0]


def test_what_was_applied_before_covers_nothing_of_the_run() -> None:
    readings = [Reading(0, 500), Reading(5 * MS, 599), Reading(9 * MS, 600)]
    assert visible_ms([1 * MS], readings, 500) == [8.0]


def test_a_request_that_is_applied_before_its_answer_arrives_is_visible_at_once() -> None:
    assert visible_ms([7 * MS], [Reading(5 * MS, 100)], 0) == [0.0]
