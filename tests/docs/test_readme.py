"""The README's first event, sent by the README's own lines."""

import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from tests.docs.pages import page
from tests.support.server import SECRET_KEY, Client, Server

EXAMPLE_URL = "http://127.0.0.1:8420"
EXAMPLE_KEY = "sk_test_your_key"


def _run(script: str) -> list[str]:
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip().split("\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's lines need curl")
def test_the_lines_of_the_readme_send_an_event_that_counts_once(tmp_path: Path) -> None:
    lines = page("README.md").block("Send your first event", "sh")
    assert EXAMPLE_URL in lines
    assert EXAMPLE_KEY in lines
    with Server(tmp_path / "data") as server:
        lines = lines.replace(EXAMPLE_URL, server.url).replace(EXAMPLE_KEY, SECRET_KEY)
        # The page says that the fifth line may be sent again.
        *before, streaming, reading = lines.strip().split("\n")
        output = "".join(_run("\n".join([*before, streaming, "echo", streaming, "echo", reading])))
        first, second, summaries = _values(output)
        assert first == second == {}
        (summary,) = summaries["data"]
        assert summary["aggregated_value"] == Decimal("0.3")
        with Client(server.url) as client:
            receipt = client.receipt("first")
            assert (receipt["status"], receipt["repeats"]) == ("counted", 1)


def _values(text: str) -> list[dict[str, list[dict[str, object]]]]:
    """The JSON values that stand one behind the other."""
    decoder = json.JSONDecoder(parse_float=Decimal)
    values, at = [], 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        values.append(value)
    return values
