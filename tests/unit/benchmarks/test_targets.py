"""The table of what was asked for, and the model for other machines, from raw results."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import targets
from benchmarks.failure import BenchmarkFailed
from benchmarks.paper_model import Costs, estimate

COSTS = Costs(
    process_seconds={"1. engine": 1.0, "2. edge": 1.0},
    busiest_thread_seconds={"1. engine": 0.5, "2. edge": 0.9},
    disk_bytes_per_event=100,
    disk_bytes_per_second=1e9,
)


def write(folder: Path, part: str, **content: object) -> None:
    (folder / f"{part}.json").write_text(json.dumps(content))


def figure(name: str, median: float) -> dict[str, object]:
    return {"name": name, "unit": "", "spread": {"median": median, "minimum": median, "maximum": median}}


def step(events_stored: int, rate: float) -> dict[str, object]:
    return {
        "events_stored": events_stored,
        "events_per_second": [rate],
        "storm_events_per_second": rate / 2 if events_stored else None,
        "rss_peak_bytes": 1.5e9,
        "disk_bytes": {"store": events_stored * 80},
        "ready_seconds": [1.0, 9.0, 3.0],
        "month_ms_p99": 40.0 if events_stored else None,
        "receipt_ms_p99": 5.0 if events_stored else None,
        "lists": {},
    }


def verdicts(folder: Path) -> dict[str, tuple[str, str]]:
    return {row[0]: (row[3], row[4]) for row in targets.rows(folder)}


def test_what_was_not_run_is_not_measured(tmp_path: Path) -> None:
    assert set(verdicts(tmp_path).values()) == {("not measured", "")}


def test_a_figure_reaches_its_goal_or_its_must_or_misses_both(tmp_path: Path) -> None:
    write(tmp_path, "throughput", figures=[figure("acknowledged and visible", 600_000)])
    write(tmp_path, "latency-100k", figures=[figure("due → acknowledged p99", 9.5)])
    write(tmp_path, "latency-200k", figures=[figure("acknowledged → visible p99", 1_200)])
    found = verdicts(tmp_path)
    assert found["end to end, acknowledged durably and visible"] == ("600,000 events/s", "must")
    assert found["ack p99 at 100,000 events/s, open loop"] == ("9.50 ms", "goal")
    assert found["visible p99 at 200,000 events/s"] == ("1,200 ms", "missed")


def test_figures_of_a_full_folder_are_those_of_the_fullest(tmp_path: Path) -> None:
    write(tmp_path, "scale", runs=[step(0, 100.0), step(1_000_000, 95.0), step(100_000_000, 91.0)])
    found = verdicts(tmp_path)
    assert found["throughput with 100M stored / empty"] == ("0.910 (100,000,000 stored)", "must")
    assert found["ready after a start with 100M events"] == ("3 s (100,000,000 stored)", "must")
    assert found["bytes on disk per event, log included"] == ("80 bytes (100,000,000 stored)", "must")
    assert found["all repeats of old events / new events"] == ("0.500 (100,000,000 stored)", "goal")


def test_what_was_seen_with_less_stored_than_asked_for_reaches_nothing(tmp_path: Path) -> None:
    write(tmp_path, "scale", runs=[step(0, 100.0), step(1_000_000, 100.0)])
    assert verdicts(tmp_path)["throughput with 100M stored / empty"][1] == "asked for at 100,000,000"


def test_tables_are_written_between_their_marks_and_nothing_else_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin figures -->\nstale\n<!-- end figures -->\nafter\n")
    targets.write(page, tmp_path)
    text = page.read_text()
    assert text.startswith("before\n<!-- begin figures -->\n| figure | must |")
    assert text.endswith("<!-- end figures -->\nafter\n")
    assert "stale" not in text
    page.write_text("no marks")
    with pytest.raises(BenchmarkFailed, match="marks"):
        targets.write(page, tmp_path)


@pytest.mark.parametrize(
    ("cores", "rate", "saturates", "edges"),
    [(2, 1e6, "all cores", 1), (8, 2e6, "one thread of 1. engine", 2), (32, 2e6, "one thread of 1. engine", 2)],
    ids=["2", "8", "32"],
)
def test_more_cores_help_until_one_thread_is_full(cores: int, rate: float, saturates: str, edges: int) -> None:
    found = estimate(COSTS, cores)
    assert (found.events_per_second, found.saturates, found.edges) == (rate, saturates, edges)


def test_a_slow_disk_saturates_before_the_cores() -> None:
    slow = Costs(
        process_seconds=COSTS.process_seconds,
        busiest_thread_seconds=COSTS.busiest_thread_seconds,
        disk_bytes_per_event=100,
        disk_bytes_per_second=50e6,
    )
    assert (estimate(slow, 8).events_per_second, estimate(slow, 8).saturates) == (500_000, "the disk")
    appending = replace(COSTS, append_seconds=1.0)
    assert (estimate(appending, 8).events_per_second, estimate(appending, 8).saturates) == (
        1_000_000,
        "appending to the log",
    )
