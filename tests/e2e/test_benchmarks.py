"""The benchmarks work: their smoke run ends in order and with a table."""

import pytest

from tests.support.program import run_module


@pytest.mark.parametrize("benchmark", [[], ["single"]], ids=["throughput", "single"])
def test_the_smoke_run_ends_with_a_table(benchmark: list[str]) -> None:
    done = run_module("benchmarks", *benchmark, "--smoke", seconds=120)
    assert done.code == 0, done.out + done.err
    assert "events/s" in done.out
    assert done.out.count("│") > 4
