"""`python -m tests.soak [NAMES]`: the soaks, two at a time, and at the end a summary for docs/guarantees.md.

Exit status 0 when nothing was found and every count was reached. Names are those of the files, without `test_`.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
# Overload alone, since it is about times; then what counts kills beside what counts cuts and executions.
ALONE: Final = ("overload",)
LANES: Final = (("kills",), ("lost_writes", "fuzzing", "service_model", "generated_requests"))


def main() -> int:
    wanted = sys.argv[1:] or [*ALONE, *(name for lane in LANES for name in lane)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary"
        failed = [name for name in ALONE if name in wanted and not run(name, summary)]
        with ThreadPoolExecutor(len(LANES)) as lanes:
            for missed in lanes.map(lambda lane: [n for n in lane if n in wanted and not run(n, summary)], LANES):
                failed += missed
        told = [json.loads(line) for line in summary.read_text().splitlines()] if summary.exists() else []
    short = [each["soak"] for each in told if each["is_short"]]
    print("\n" + "\n".join(table(told, time.monotonic() - began)))  # noqa: T201  # what this is for
    for what, names in (("failed", failed), ("did not reach its count in time", short)):
        if names:
            print(f"{what}: {', '.join(names)}")  # noqa: T201  # the same
    return 1 if failed or short else 0


def run(name: str, summary: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-s", "-q", f"tests/soak/test_{name}.py"]
    environment = {**os.environ, "STREAMGAUGE_SOAK_SUMMARY": str(summary)}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def table(told: list[dict[str, object]], seconds: float) -> list[str]:
    at = datetime.now(UTC).strftime("%Y-%m-%d")
    version = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    commit = version.stdout.strip() or "unknown"
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    rows = [f"| {each['soak']} | {each['seed'] or ''} | {each['came_to']} |" for each in told]
    return [
        f"`make soak` on {at}, commit {commit}, {where}, {seconds / 60:.0f} minutes:",
        "",
        "| soak | seed | came to |",
        "| --- | --- | --- |",
        *rows,
    ]


if __name__ == "__main__":
    sys.exit(main())
