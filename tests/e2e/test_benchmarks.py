"""The benchmarks work: their smoke runs end in order, with exact totals and a table. The figures mean nothing."""

import json
from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.compare import Kind
from tests.support.program import Ended, run_module

SECONDS = 250


def smoke(*arguments: str) -> Ended:
    done = run_module("benchmarks", *arguments, "--smoke", seconds=SECONDS)
    assert done.code == 0, done.out + done.err
    assert done.out.count("│") > 4
    return done


def test_the_main_set_measures_throughput_ceilings_latencies_idle_and_single_events(tmp_path: Path) -> None:
    done = smoke("suite", "--results", str(tmp_path))
    assert "all exact" in done.out
    assert "end to end, acknowledged durably and visible" in done.out
    content = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert set(content) == {"throughput", "latency-100k", "latency-200k", "idle", "single"}
    for part in content.values():
        assert part["command"].startswith("python -m benchmarks suite")
        assert part["machine"]["versions"]["streamgauge"]
        assert part["runs"]
    (run,) = content["throughput"]["runs"]
    assert run["events"] == 20_000
    assert [each["kind"] for each in run["ceilings"]] == ["answer", "decode"]
    assert all(each["events"] > 0 for each in run["ceilings"])
    (run,) = content["latency-100k"]["runs"]
    assert run["visible_ms_p50"] > 0


def test_a_smoke_run_does_not_overwrite_real_results() -> None:
    done = run_module("benchmarks", "suite", "--smoke", seconds=SECONDS)
    assert done.code != 0
    assert "--results" in done.err


def test_a_folder_is_looked_at_when_it_is_empty_and_when_it_is_filled(tmp_path: Path) -> None:
    report = tmp_path / "scale.json"
    smoke("scale", "--events", "15k", "30k", "--json", str(report))
    empty, less, more = json.loads(report.read_text())["runs"]
    assert (empty["events_stored"], empty["storm_events_per_second"], empty["receipt_ms_p99"]) == (0, None, None)
    # Beyond the first, a step has also what was sent at the steps before it: that of the storm, and that of the look.
    assert less["events_stored"] == 15_000
    assert more["events_stored"] >= 30_000
    for step in (less, more):
        assert step["storm_events_per_second"] > 0
        assert step["month_summaries"] > 0
        assert step["receipt_ms_p99"] > 0
        newest, none = step["lists"]["all"], step["lists"]["a customer without events"]
        assert (newest["events_min"], newest["requests_max"], none["events_min"]) == (100, 1, 0)
        assert sum(step["disk_bytes"].values()) > 0


def test_the_restart_of_a_filled_folder_is_timed() -> None:
    assert "start to ready" in smoke("restart").out


def test_alerts_are_measured_beside_usage_that_none_watches_and_fire_once_each() -> None:
    done = smoke("alerts")
    assert "visible → fired" in done.out and "all exact" in done.out


@pytest.mark.parametrize("kind", [*Kind])
def test_what_one_would_build_instead_counts_the_same_totals(kind: Kind) -> None:
    if absent := compare.missing(kind):
        pytest.skip(f"{kind}: {', '.join(absent)} not here")
    done = smoke("compare", "--with", kind)
    assert f"streamgauge ÷ {kind}" in done.out
    assert "all exact" in done.out
