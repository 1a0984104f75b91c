"""How much memory a running server holds."""

import re
from pathlib import Path

from tests.support.program import children_of


def server_rss_mb(pid: int) -> int:
    """Of the engine with this process id and its edge together, MiB."""
    found = [
        re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{each}/status").read_text()) for each in (pid, *children_of(pid))
    ]
    return sum(int(each[1]) for each in found if each) // 1_024
