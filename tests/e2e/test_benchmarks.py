"""The benchmarks work: their smoke run ends in order and with a table."""

from tests.support.program import run_module


def test_the_smoke_run_ends_with_a_table() -> None:
    done = run_module("benchmarks", "--smoke", seconds=120)
    assert done.code == 0, done.out + done.err
    assert "events/s" in done.out
    assert done.out.count("│") > 4
