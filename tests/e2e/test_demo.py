"""`streamgauge demo --once`: real usage through a real server, and totals that are equal to those of its file."""

import re
from pathlib import Path

from tests.support.program import run


def test_the_demo_prints_equal_totals_on_a_fresh_folder_and_again_on_the_same(tmp_path: Path) -> None:
    for _ in range(2):
        done = run("demo", "--once", "--data-dir", str(tmp_path / "data"), "--port", "0", seconds=120)
        assert done.code == 0, done.out + done.err
        assert "All totals are equal" in done.out
        streamed = re.search(r"([\d,]+) events streamed at ([\d,]+) events/s", done.out)
        assert streamed is not None and int(streamed[1].replace(",", "")) > 20_000
        assert "Traceback" not in done.err
