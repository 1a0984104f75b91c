"""Changing what the usage store of a stopped server holds, behind its back."""

import subprocess
import sys
from pathlib import Path
from typing import Final

ONE_MORE: Final = (
    "INSERT INTO streamgauge.sums SELECT * REPLACE (1 AS events, 0.5 AS total) FROM streamgauge.sums LIMIT 1"
)


def in_store(folder: Path, statement: str) -> None:
    """In a process of its own, which is what an engine needs."""
    program = (
        "import sys, clickhouse_connect\n"
        "client = clickhouse_connect.get_client(interface='chdb', path=sys.argv[1])\n"
        "client.command(sys.argv[2]); client.close()"
    )
    subprocess.run([sys.executable, "-c", program, str(folder / "store"), statement], check=True, timeout=60)
